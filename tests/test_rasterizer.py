"""The CPU rasterizer against the readable float64 reference; threads, forks and hard cases."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jwmtool.device import resolve_device
from jwmtool.errors import MissingPartError
from jwmtool.gaussians.cpu import rasterize_cpu
from jwmtool.gaussians.model import Gaussians
from jwmtool.gaussians.rasterize import rasterize
from jwmtool.gaussians.reference import rasterize_reference, rasterize_tiled
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.harmonics import color_to_sh

NEAR_M = 0.01
KINDS = ("mixed", "behind", "off screen", "needles", "transparent", "opaque wall", "one tile", "huge", "none")


def scene(kind: str, num: int, seed: int) -> list[Tensor]:
    """Means, quats, scales, opacities, colors as float32."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    num = 0 if kind == "none" else num
    means = torch.cat([8 * uniform(num, 2) - 4, 12 * uniform(num, 1) - 1], 1)
    scales = torch.exp(3 * uniform(num, 3) - 4)
    opacities = uniform(num)
    if kind == "behind":
        means[:, 2] = -12 * uniform(num) + 0.05
    elif kind == "off screen":
        means[:, 0] = 4 + 8 * uniform(num)
        scales *= 4
    elif kind == "needles":
        scales[:, 0] *= 100
        scales[:, 1:] = 1e-4
    elif kind == "transparent":
        opacities *= 0.02
    elif kind == "opaque wall":
        opacities = 0.95 + 0.05 * opacities
    elif kind == "one tile":
        means = torch.cat([0.3 * uniform(num, 2), 3 + 2 * uniform(num, 1)], 1)
        scales *= 0.5
    elif kind == "huge":
        scales *= 30
    return [means, torch.randn(num, 4, generator=generator), scales, opacities, uniform(num, 3)]


def tilted_view() -> Tensor:
    pose = se3.look_at([0.3, -0.2, -0.5], [0.2, 0.1, 6.0], up=(0.1, -1.0, 0.0))
    return torch.from_numpy(se3.inverse(pose))


def check_against_reference(tensors: list[Tensor], width: int, height: int) -> None:
    intrinsics = (60.0, 62.0, 0.51 * width, 0.48 * height)
    exact = [t.double().requires_grad_() for t in tensors]
    fast = [t.clone().requires_grad_() for t in tensors]
    exact_view, fast_view = tilted_view().requires_grad_(), tilted_view().requires_grad_()
    reference, margin = rasterize_reference(*exact, exact_view, intrinsics, width, height, NEAR_M)
    out = rasterize_cpu(*fast, fast_view, intrinsics, width, height, NEAR_M)
    assert torch.isfinite(out).all()

    # Channel 3 is depth in metres: compared relative to the range of the scene.
    difference = (out - reference).abs() / torch.tensor([1, 1, 1, 10, 1])
    wrong = difference.amax(-1) > 1e-4
    decided = margin > 1e-5
    assert not (wrong & decided).any()
    assert (wrong & ~decided).float().mean() <= 1e-3

    weights = torch.randn(height, width, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weights[wrong] = 0.0
    (reference * weights).sum().backward()
    (out * weights.float()).sum().backward()
    names = ("means", "quats", "scales", "opacities", "colors", "viewmat")
    for name, a, b in zip(names, [*fast, fast_view], [*exact, exact_view], strict=True):
        if b.grad is None:
            assert len(b) == 0
            continue
        assert a.grad is not None
        norm = float(b.grad.norm())
        assert float((a.grad - b.grad).norm()) <= 1e-3 * norm + 1e-7, name


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_reference(kind: str) -> None:
    check_against_reference(scene(kind, 400, seed=1), width=101, height=67)


def test_thousands_of_gaussians_in_one_tile() -> None:
    check_against_reference(scene("one tile", 4000, seed=2), width=48, height=33)


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    num=st.integers(1, 120),
    seed=st.integers(0, 2**31),
    width=st.integers(1, 70),
    height=st.integers(1, 50),
)
def test_agrees_with_the_reference_on_any_scene(kind: str, num: int, seed: int, width: int, height: int) -> None:
    check_against_reference(scene(kind, num, seed), width, height)


def test_the_tiled_twin_is_the_reference() -> None:
    tensors = [t.double() for t in scene("mixed", 300, seed=5)]
    view = (tilted_view(), (60.0, 62.0, 40.0, 30.0), 83, 61, NEAR_M)
    assert torch.allclose(rasterize_tiled(*tensors, *view), rasterize_reference(*tensors, *view)[0])


def render_and_grads(tensors: list[Tensor]) -> list[np.ndarray]:
    inputs = [t.clone().requires_grad_() for t in tensors]
    out = rasterize_cpu(*inputs, tilted_view(), (80.0, 80.0, 60.0, 40.0), 120, 80, NEAR_M)
    out.square().sum().backward()
    return [out.detach().numpy(), *(t.grad.numpy() for t in inputs if t.grad is not None)]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = scene("mixed", 20_000, seed=7)
    monkeypatch.setenv("JWM_THREADS", "1")
    one = render_and_grads(tensors)
    for threads in ("2", "5"):
        monkeypatch.setenv("JWM_THREADS", threads)
        assert same(one, render_and_grads(tensors))


def _child(tensors: list[Tensor], connection) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)  # torch's own threads do not survive a fork
    connection.send(render_and_grads(tensors))


def test_works_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWM_THREADS", "2")
    tensors = scene("mixed", 20_000, seed=8)
    expected = render_and_grads(tensors)  # the parent's pool exists before the fork
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(tensors, theirs))
    child.start()
    assert ours.poll(120), "the forked child hangs"
    assert same(expected, ours.recv())
    child.join(10)


def test_works_from_two_python_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWM_THREADS", "2")
    scenes = [scene("mixed", 5000, seed=s) for s in range(4)]
    expected = [render_and_grads(s) for s in scenes]
    with ThreadPoolExecutor(2) as pool:
        for a, b in zip(expected, pool.map(render_and_grads, scenes), strict=True):
            assert same(a, b)


def camera() -> Camera:
    K = np.array([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    return Camera(K, 64, 48, np.eye(4))


def one_gaussian(**changes: Tensor) -> Gaussians:
    color = color_to_sh(torch.tensor([[[0.9, 0.5, 0.1]]]))
    g = Gaussians.static(
        torch.tensor([[0.0, 0.0, 5.0]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), 0.2),
        torch.tensor([0.8]),
        color,
    )
    return g.replace(**changes)


def test_a_gaussian_shows_its_color_and_depth_where_it_projects() -> None:
    view = rasterize(one_gaussian(), camera(), 0.0)
    assert view.alpha.argmax() in (23 * 64 + 31, 23 * 64 + 32, 24 * 64 + 31, 24 * 64 + 32)
    at = view.alpha > 0.5
    assert torch.allclose(view.depth[at], torch.tensor(5.0), atol=1e-5)
    color = view.color / view.alpha[..., None].clamp(min=1e-6)
    assert torch.allclose(color[at], torch.tensor([0.9, 0.5, 0.1]), atol=1e-4)
    assert view.depth[view.alpha == 0].abs().max() == 0


def test_time_moves_and_fades() -> None:
    moving = one_gaussian(velocity=torch.tensor([[1.0, 0.0, 0.0]]), time_sigma=torch.tensor([2.0]))
    now, later = rasterize(moving, camera(), 0.0), rasterize(moving, camera(), 1.0)
    center = [float((v.alpha.sum(0) * (torch.arange(64) + 0.5)).sum() / v.alpha.sum()) for v in (now, later)]
    assert center[1] - center[0] == pytest.approx(100.0 / 5.0, abs=0.1)  # 1 m at 5 m with a focal length of 100 px
    assert float(later.alpha.max() / now.alpha.max()) == pytest.approx(float(np.exp(-0.125)), abs=0.02)


def test_gradients_reach_time() -> None:
    moving = one_gaussian(velocity=torch.tensor([[0.3, 0.0, 0.0]]).requires_grad_())
    rasterize(moving, camera(), 1.0).color[:, :36].sum().backward()
    assert moving.velocity.grad is not None and moving.velocity.grad[0, 0] < 0


def test_higher_harmonics_change_with_the_view() -> None:
    sh = torch.zeros(1, 4, 3)
    sh[0, 3, 0] = 0.5
    g = one_gaussian(sh=sh)
    left = rasterize(g, camera().moved(se3.translation([-1.0, 0.0, 0.0])), 0.0)
    right = rasterize(g, camera().moved(se3.translation([1.0, 0.0, 0.0])), 0.0)
    assert abs(float(left.color[..., 0].max() - right.color[..., 0].max())) > 0.05


def test_cuda_without_cuda_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingPartError, match="--device cuda"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"


def test_gsplat_is_not_imported_on_a_cpu() -> None:
    rasterize(one_gaussian(), camera(), 0.0)
    assert torch.cuda.is_available() or "gsplat" not in sys.modules


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_gsplat_agrees_with_the_cpu(kind: str) -> None:
    from jwmtool.gaussians.gsplat_backend import rasterize_gsplat

    tensors = scene(kind, 2000, seed=11)
    rest = ((60.0, 62.0, 51.0, 33.0), 101, 67, NEAR_M)
    ours = [t.clone().requires_grad_() for t in tensors]
    theirs = [t.cuda().requires_grad_() for t in tensors]
    a = rasterize_cpu(*ours, tilted_view(), *rest)
    b = rasterize_gsplat(*theirs, tilted_view(), *rest)
    assert ((a - b.cpu()).abs().amax(-1) > 1e-3).float().mean() < 1e-3
    a.square().sum().backward()
    b.square().sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        if x.grad is not None and y.grad is not None:
            assert float((x.grad - y.grad.cpu()).norm()) <= 5e-3 * float(x.grad.norm()) + 1e-6
