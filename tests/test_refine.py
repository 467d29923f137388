"""Refinement: it improves withheld pictures, repeats, and touches only what a view can show."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from true_depth import knowing, street_clip

from jwmtool.artifacts.clip import Clip, Split
from jwmtool.artifacts.scene import Scene
from jwmtool.errors import UsageError
from jwmtool.fitting.refine import Refinement, RefineSettings, refine
from jwmtool.fitting.selective_adam import SelectiveAdam
from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.metrics.protocol import score_scene
from jwmtool.worldrec.stream import reconstruct_clip

STEPS = RefineSettings(max_steps=60)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    whole = street_clip(tmp_path_factory.mktemp("street") / "clip", num_frames=9)
    return replace(whole, split=Split(frames=(2, 6)))


@pytest.fixture(scope="module")
def scene(clip: Clip) -> Scene:
    """Of true depth, with wrong colors."""
    made = reconstruct_clip(clip, knowing(clip))
    tinted = made.gaussians.sh * 0.8 + 0.15
    return replace(made, gaussians=made.gaussians.replace(sh=tinted))


def psnr(scene: Scene, clip: Clip) -> float:
    return float(score_scene(scene, clip, names=("psnr",), depth=False).means["psnr"])


def test_it_improves_pictures_that_it_never_saw(scene: Scene, clip: Clip) -> None:
    before = psnr(scene, clip)
    better = refine(scene, clip, STEPS, started=time.monotonic())
    assert psnr(better, clip) > before + 1.0
    assert len(better.gaussians) == len(scene.gaussians)
    for name in ("velocity", "time_mid", "actor"):
        assert torch.equal(getattr(better.gaussians, name), getattr(scene.gaussians, name))


def test_a_seed_repeats_and_a_budget_ends(scene: Scene, clip: Clip) -> None:
    first, second = (refine(scene, clip, replace(STEPS, max_steps=5), started=0.0) for _ in range(2))
    assert torch.equal(first.gaussians.means, second.gaussians.means)
    started = time.monotonic()
    refine(scene, clip, RefineSettings(budget_s=1.5), started=started)
    assert time.monotonic() - started < 10.0


def test_what_no_view_shows_stays(scene: Scene, clip: Clip) -> None:
    behind = scene.gaussians.select(torch.arange(5))
    means = torch.tensor([[-500.0, 0.0, 0.0]]).repeat(5, 1)
    long = torch.full((5,), STATIC_SIGMA_S)
    lost = behind.replace(means=means, time_sigma=long, velocity=torch.zeros(5, 3))
    both = replace(scene, gaussians=Gaussians.concat([scene.gaussians, lost]), tokens=None)
    after = refine(both, clip, replace(STEPS, max_steps=10), started=0.0).gaussians
    assert torch.equal(after.means[-5:], means)
    assert torch.allclose(after.sh[-5:], lost.sh)


def test_in_left_out_steps_neighbors_in_time_stand_in(scene: Scene, clip: Clip) -> None:
    run = Refinement(scene, clip, STEPS, "cpu")
    looked_at = scene.exposure["front"].times_us.tolist()
    view = [view for view in run.views if view.time_us in looked_at][3]
    time_s = scene.seconds(view.time_us)
    every, others = run._shown(view, False), run._shown(view, True)
    gone = np.setdiff1d(every.numpy(), others.numpy())
    assert len(gone) and len(others)
    times_s = torch.tensor([scene.seconds(view.time_us) for view in run.views])
    nearest = times_s[(scene.gaussians.time_mid[gone, None] - times_s).abs().argmin(1)]
    assert torch.allclose(nearest, torch.tensor(time_s, dtype=torch.float32), atol=1e-3)


@pytest.mark.parametrize("step", ["_step_cpu", "_step_torch"])
def test_selective_adam_is_adam_on_the_rows_it_touches(step: str) -> None:
    torch.manual_seed(0)
    start, rows = torch.randn(6, 3), torch.tensor([1, 4])
    ours, theirs = SelectiveAdam(start.clone()), start[rows].clone().requires_grad_()
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99), eps=1e-15)
    for _ in range(4):
        grad = torch.randn(2, 3)
        theirs.grad = grad
        adam.step()
        getattr(ours, step)(rows, grad, 0.1)
    assert torch.allclose(ours.value[rows], theirs.detach(), atol=1e-6)
    others = torch.tensor([0, 2, 3, 5])
    assert torch.equal(ours.value[others], start[others])


def test_an_empty_scene_is_refused(scene: Scene, clip: Clip) -> None:
    with pytest.raises(UsageError, match="no Gaussians"):
        refine(replace(scene, gaussians=Gaussians.empty(), tokens=None), clip, STEPS, started=0.0)


def test_a_view_is_shown_by_lives_that_grew_into_it(scene: Scene, clip: Clip) -> None:
    run = Refinement(scene, clip, STEPS, "cpu")
    last = max(run.views, key=lambda view: view.time_us)
    before = run._shown(last, False)
    away = (scene.seconds(last.time_us) - scene.gaussians.time_mid).abs() > 3.0 * run.rows["log_life"].value.exp()
    assert int(away.sum()) > 100 and not bool(away[before].any())
    run.rows["log_life"].value[away] += 5.0
    assert int(away[run._shown(last, False)].sum()) > 50


def test_nothing_is_left_out_before_views_were_looked_at(
    scene: Scene, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    shown = Refinement._shown

    def watched(run: Refinement, view: object, leave_out: bool) -> torch.Tensor:
        asked.append(leave_out)
        return shown(run, view, leave_out)  # type: ignore[arg-type]

    monkeypatch.setattr(Refinement, "_shown", watched)
    run = Refinement(scene, clip, replace(STEPS, whole=1, left_out=1.0), "cpu")
    for _ in range(len(run.views) + 2):
        run.take_step(0.5)
    assert asked == [False] * len(run.views) + [True, True]
