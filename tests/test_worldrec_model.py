"""The whole network, untrained: it paints, it has no favorites among views, and nothing makes it stumble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic_views import Box, Street, given, look, pose, true_maps
from fake_world import fake_world
from torch import Tensor, nn

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.errors import InputError, UsageError
from jwmtool.gaussians.sky import sample_sky
from jwmtool.geometry import se3
from jwmtool.imaging.similarity import psnr
from jwmtool.training.worldrec.loss import LossWeights, reconstruction_loss
from jwmtool.training.worldrec.sample import Sample
from jwmtool.worldrec.aggregation import STEP
from jwmtool.worldrec.config import CONFIGS, METHODS, WorldRecConfig
from jwmtool.worldrec.model import WorldRec, build_model
from jwmtool.worldrec.queries import lifted_queries
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.sky import fill, paint_sky, splat_sky
from jwmtool.worldrec.views import Views, load_views, working_size
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec

STREET = Street((Box((12.0, 2.0, 0.0), (5.0, 3.0, 3.0)), Box((16.0, -4.0, 0.0), (3.0, 2.0, 1.6), (4.0, 0.0, 0.0))))
TINY = WorldRecConfig(widths=(8, 12, 16, 16), blocks=(1, 1, 1, 1), planes=12, channels=16, sky_size=16)


def drive(count: int = 3, size: tuple[int, int] = (96, 64)) -> Views:
    return look(STREET, [pose(1.0 * i, 0.05 * i, yaw_rad=0.01 * i) for i in range(count)], size=size)


def network(config: WorldRecConfig = TINY, *, trained: bool = False) -> WorldRec:
    """First weights; `trained`: with those that start at zero moved a little, so that every part has a say."""
    torch.manual_seed(0)
    model = build_model(config)
    if trained:
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if not bool(parameter.any()):
                    parameter.copy_(0.02 * torch.randn(parameter.shape, generator=rng))
    return model


def knowing(model: WorldRec, views: Views) -> WorldRec:
    """The network with a perfect coarse depth."""
    maps = true_maps(views)
    model.depth.forward = lambda *_: maps  # type: ignore[method-assign]
    return model


def pictures(made: Reconstruction, views: Views) -> Tensor:
    """[V, H, W, 3] rendered for the views themselves."""
    with torch.no_grad():
        shown = [made.render(views.camera(v), float(views.times_s[v]))[0] for v in range(len(views))]
    return torch.stack(shown).clamp(0.0, 1.0)


def test_configs_round_trip_through_json_and_unknown_keys_fail() -> None:
    import json

    for config in (*CONFIGS.values(), TINY, WorldRecConfig(method="pixel", visibility=False, motion=False)):
        told = json.loads(json.dumps(config.to_dict()))
        assert WorldRecConfig.from_dict(told) == config
    with pytest.raises(InputError, match="'width'"):
        WorldRecConfig.from_dict({"width": 3}, "weights.safetensors")
    for wrong, expected in (({"method": "voxel"}, "sparse or pixel"), ({"queries": "all"}, "finest or random"),
                            ({"pixel_step": 3}, "1 or 2")):  # fmt: skip
        with pytest.raises(UsageError, match=expected):
            WorldRecConfig(**wrong)  # type: ignore[arg-type]


def test_configs_differ_by_numbers_only() -> None:
    mini = CONFIGS["mini"].to_dict()
    for config in CONFIGS.values():
        told = config.to_dict()
        assert {key: type(value) for key, value in told.items()} == {key: type(value) for key, value in mini.items()}
        assert all(told[key] == mini[key] for key in told if isinstance(mini[key], bool | str))


def test_a_painted_sky_shows_the_pictures_of_it() -> None:
    """Cameras that look up all around; in between and above, the sky goes on smoothly."""
    empty = Street(ground=False)
    poses = [pose(0.0, yaw_rad=0.7 * k) for k in range(9)]
    views = look(empty, poses, [0.1 * k for k in range(9)])
    maps = true_maps(views)
    sky = paint_sky(given(views), maps, 32)
    assert sky.shape == (6, 32, 32, 3)
    for view in range(9):
        rays = torch.from_numpy(views.camera(view).rays()).float()
        shown = sample_sky(sky, rays)
        assert float(psnr(shown, views.images[view].permute(1, 2, 0))) > 35.0
    above = sample_sky(sky, torch.tensor([[0.1, 0.1, 1.0]]))
    assert float((above - views.images.mean((0, 2, 3))).abs().max()) < 0.3 and bool(torch.isfinite(sky).all())


def test_a_sky_is_painted_with_sky() -> None:
    views = look(STREET, [pose(0.0), pose(1.0)])
    maps = true_maps(views)
    views.images[:, :, 40:] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]  # a red road
    sky = paint_sky(given(views), maps, 32)
    shown = sample_sky(sky, torch.from_numpy(views.camera(0).rays()).float())
    free = (maps.sky[0] > 0) & (torch.arange(64)[:, None] < 16)
    assert float((shown - views.images[0].permute(1, 2, 0)).abs()[free].mean()) < 0.05
    # Where nothing is sky, holes in the scene show what was seen there, not blue.
    assert float(shown[60, 48, 0]) > 0.7


def test_skies_of_several_windows_add() -> None:
    views = look(Street(ground=False), [pose(0.0, yaw_rad=0.7 * k) for k in range(4)])
    logits = true_maps(views).sky
    parts = [splat_sky(views.select([2 * k, 2 * k + 1]), logits[2 * k : 2 * k + 2], 16) for k in range(2)]
    assert torch.allclose(fill(parts[0] + parts[1]), fill(splat_sky(views, logits, 16)), atol=1e-4)


@pytest.mark.parametrize(("method", "step", "least"), [("sparse", 1, 28.0), ("pixel", 1, 27.5), ("pixel", 2, 23.0)])
def test_untrained_it_shows_a_picture_again_from_true_depth(method: str, step: int, least: float) -> None:
    """Every context view rendered from the Gaussians of all of them; 28.4 and 29.5 dB, with margin."""
    views = look(STREET, [pose(1.0 * i) for i in range(3)], [0.0, 0.5, 1.0], size=(192, 128), focal_px=140.0)
    made = knowing(network(replace(CONFIGS["mini"], method=method, pixel_step=step)), views)(given(views))
    shown = pictures(made, views)
    scores = [float(psnr(shown[v], views.images[v].permute(1, 2, 0))) for v in range(3)]
    assert min(scores) > least, scores
    seen = int((true_maps(views).sky < 0).sum())  # pixels
    if method == "pixel":
        assert len(made.gaussians) == pytest.approx(seen / step**2, rel=0.01)
    else:
        assert len(made.gaussians) < 0.25 * seen


def test_random_queries_are_as_many_and_worse() -> None:
    views = look(STREET, [pose(1.0 * i) for i in range(4)], size=(192, 128), focal_px=140.0)
    scores, counts = [], []
    for queries in ("finest", "random"):
        made = knowing(network(replace(TINY, queries=queries)), views)(given(views))
        scores.append(float(psnr(pictures(made, views)[2], views.images[2].permute(1, 2, 0))))
        counts.append(len(made.queries or ()))
    assert counts[0] == counts[1] and scores[1] < scores[0] - 1.0


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_views_changes_nothing(method: str) -> None:
    views = given(look(STREET, [pose(0.8 * i, y) for i in range(3) for y in (0.3, -0.3)],
                       [0.2 * (i // 2) for i in range(6)], [i % 2 for i in range(6)], size=(64, 32)))  # fmt: skip
    model = network(replace(TINY, method=method), trained=True)
    order = torch.tensor([3, 0, 5, 2, 4, 1])
    with torch.no_grad():
        made, other = model(views), model(views.select(order))
    assert len(made.gaussians) == len(other.gaussians) > 100
    assert torch.allclose(made.depth.inverse[order], other.depth.inverse, atol=1e-4)
    assert torch.allclose(made.exposure[order], other.exposure, atol=1e-5)
    assert torch.allclose(made.sky, other.sky, atol=1e-4)
    assert float((pictures(made, views) - pictures(other, views)).abs().max()) < 1e-4


def moved(clip: Clip, world: np.ndarray) -> Clip:
    """The same recording, elsewhere."""
    frames = [
        replace(
            frame,
            world_from_rig=world @ frame.world_from_rig,
            images={k: replace(i, world_from_cam=world @ i.world_from_cam) for k, i in frame.images.items()},
        )
        for frame in clip.frames
    ]
    sweeps = [replace(sweep, world_from_lidar=world @ sweep.world_from_lidar) for sweep in clip.lidar]
    return replace(clip, frames=frames, lidar=sweeps)


def test_a_hundred_kilometers_away_everything_looks_the_same(tmp_path: Path) -> None:
    world = fake_world(WorldSpec("city", 0, 0.7, 10.0, 64, 32), "front3", "32")
    here = read_clip(write_world(world, tmp_path / "clip"))
    assert here.lidar
    there = moved(here, se3.translation([100_000.0, -80_000.0, 300.0]))
    keys = [(frame, name) for frame in (0, 3, 6) for name in list(here.cameras)[:2]]
    made, seen = [], []
    for clip in (here, there):
        middle = clip.frames[3]
        scene_from_world = se3.inverse(middle.world_from_rig)
        seen.append(load_views(clip, keys, scene_from_world, middle.time_us, working_size(clip, 64_000)))
        with torch.no_grad():
            made.append(network(trained=True)(seen[-1]))
    assert float((seen[0].scene_from_cam - seen[1].scene_from_cam).abs().max()) < 1e-5
    near, far = (pictures(m, s) for m, s in zip(made, seen, strict=True))
    truth = seen[0].images.permute(0, 2, 3, 1)
    assert abs(float(psnr(near, truth)) - float(psnr(far, truth))) < 0.01
    assert float(psnr(far, near)) > 50.0


def black(views: Views) -> Views:
    return replace(views, images=torch.zeros_like(views.images))


def night(views: Views) -> Views:
    noise = torch.randn(views.images.shape, generator=torch.Generator().manual_seed(0))
    return replace(views, images=(0.04 * views.images + 0.03 * noise).clamp(0.0, 1.0))


def fog(views: Views) -> Views:
    return replace(views, images=0.75 + 0.01 * (views.images - 0.5))


def nothing_usable(views: Views) -> Views:
    return replace(views, usable=torch.zeros_like(views.usable))


HARD: dict[str, Callable[[], Views]] = {
    "sky only": lambda: look(Street(ground=False), [pose(1.0 * i) for i in range(3)]),
    "black": lambda: black(drive()),
    "standing": lambda: look(STREET, [pose(0.0)] * 3),
    "one view": lambda: drive(1),
    "the same view twice": lambda: look(STREET, [pose(0.0)] * 2, [0.0, 0.0]),
    "night": lambda: night(drive()),
    "fog": lambda: fog(drive()),
    "all masked": lambda: nothing_usable(drive()),
    "turning on the spot": lambda: look(STREET, [pose(0.0, yaw_rad=0.3 * i) for i in range(3)]),
    "no movers": lambda: look(Street((Box((6.0, -30.0, -9.0), (1.0, 60.0, 30.0)),)), [pose(0.0), pose(0.0, 0.5)]),
    "a wall at the lens": lambda: look(Street((Box((0.4, -9.0, -9.0), (1.0, 18.0, 18.0)),)), [pose(0.0), pose(0.2)]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", HARD)
def test_nothing_makes_it_stumble(name: str, method: str) -> None:
    """Finite values and gradients of everything, whatever the pictures."""
    views = HARD[name]()
    model = network(replace(TINY, method=method), trained=True)
    made = model(given(views))
    for field in ("means", "quats", "scales", "opacities", "sh", "velocity", "time_mid", "time_sigma"):
        assert bool(torch.isfinite(getattr(made.gaussians, field)).all()), field
    if len(made.gaussians):
        assert torch.allclose(made.gaussians.quats.norm(dim=1), torch.ones(()), atol=1e-4)
        assert bool((made.gaussians.scales > 0.0).all()) and bool((made.gaussians.time_sigma > 0.0).all())
        assert bool(((made.gaussians.opacities >= 0.0) & (made.gaussians.opacities <= 1.0)).all())
    assert all(bool(torch.isfinite(t).all()) for t in (made.sky, made.exposure, made.depth.inverse, made.depth.sky))
    sample = Sample(views, views, tuple(range(len(views))), True, name)
    loss, terms = reconstruction_loss(made, sample, LossWeights(), TINY.nearest_m)
    assert bool(torch.isfinite(loss)) and all(bool(torch.isfinite(t)) for t in terms.values())
    loss.backward()
    for where, parameter in model.named_parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), where
    assert parameter_norm(model) > 0.0
    color, bare = made.render(views.camera(0), 7.0)  # long after
    assert bool(torch.isfinite(color).all()) and bool(torch.isfinite(bare.depth).all())


def parameter_norm(model: nn.Module) -> float:
    return sum(float(p.grad.norm()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_has_a_gradient(method: str) -> None:
    """But for fusion's gate, which is asked from window to window."""
    views = drive()
    model = network(replace(TINY, method=method), trained=True)
    made = model(given(views))
    sample = Sample(views, views, (0, 1, 2), True, "street")
    reconstruction_loss(made, sample, LossWeights(), TINY.nearest_m)[0].backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert [n for n in silent if not n.startswith("gate.")] == []


def test_a_view_counts_only_where_it_sees() -> None:
    """Weights of the views are shares; one that a query is not inside of has none, one that shows it has most."""
    views = look(STREET, [pose(0.0), pose(1.0), pose(0.0, yaw_rad=3.0), pose(0.0, yaw_rad=0.6)])
    model, maps = network(), true_maps(views)
    queries = lifted_queries(given(views), maps, 12)
    with torch.no_grad():
        pyramid = model.encoder(given(views))
        x, after, share = model.aggregation(given(views), pyramid[1], maps.inverse, queries)
    inside = after.evidence.inside
    assert x.shape == (len(queries), TINY.channels) and share.shape == inside.shape
    assert float(share.sum(1).max()) <= 1.0 + 1e-5 and float(share[~inside].max()) == 0.0
    away_from_edges = queries.evidence.residual[:, 0].abs() < 0.02
    assert bool((~inside).any()) and bool((share[away_from_edges, 0] > 0.1).all())  # the own view
    # A step is bounded, and with perfect depth there is nothing to step for.
    ratio = (after.inverse / queries.inverse).log().abs()
    assert float(ratio.max()) <= 2 * 2 * STEP and float(ratio.median()) < 0.01


def test_layers_look_into_the_same_views() -> None:
    """Each query keeps its own companions where it does not look into all views."""
    views = drive(5)
    model, maps = network(), true_maps(views)
    queries = lifted_queries(given(views), maps, 2)
    with torch.no_grad():
        pyramid = model.encoder(given(views))
        _, after, _ = model.aggregation(given(views), pyramid[1], maps.inverse, queries)
    assert torch.equal(after.evidence.view, queries.evidence.view)
    assert torch.equal(after.evidence.view[:, 0], queries.pixels.view)
    assert len(queries.evidence.view[:, 1].unique()) > 2


def test_depth_alone_is_the_same_depth() -> None:
    views = given(drive())
    model = network(trained=True)
    with torch.no_grad():
        whole, bare = model(views), model(views, depth_only=True)
    assert torch.equal(whole.depth.inverse, bare.depth.inverse) and len(bare.gaussians) == 0


def test_ablations_change_what_they_name() -> None:
    views = given(drive())
    with torch.no_grad():
        usual = network(trained=True)(views)
        plain = network(replace(TINY, visibility=False), trained=True)(views)
        still = network(replace(TINY, motion=False), trained=True)(views)
    assert usual.queries is not None and plain.queries is not None
    assert not torch.equal(usual.queries.inverse, plain.queries.inverse)
    assert len(usual.gaussians) == len(plain.gaussians) == len(still.gaussians)
    assert not bool(still.gaussians.velocity.any()) and bool(usual.gaussians.velocity.any())


@pytest.mark.slow
def test_untrained_it_renders_a_street(data_dir: Path, tmp_path: Path) -> None:
    """20 frames of a real drive, every fourth withheld: depth from the sweep and colors from the pictures suffice."""
    from jwmtool.readers import read_recording
    from jwmtool.readers.ingest import ingest
    from jwmtool.readers.select import Selection

    source = data_dir / "kitti_raw_0095_color" / "transforms_206-267.json"
    selection = Selection(duration_s=2.0, withhold=("every=4",))
    clip = read_clip(ingest(read_recording(source), tmp_path / "clip", selection=selection, size=(416, 128)))
    assert len(clip.frames) == 20
    given_keys, withheld = clip.images(withheld=False), clip.images(withheld=True)
    middle = clip.frames[10]
    scene_from_world = se3.inverse(se3.orthonormalized(middle.world_from_rig))
    size = working_size(clip, 64_000)
    assert size == (416, 128)
    context, scored = (
        load_views(clip, keys, scene_from_world, middle.time_us, size) for keys in (given_keys, withheld)
    )
    with torch.no_grad():
        made = network(CONFIGS["mini"])(context)
    shown = pictures(made, scored)
    scores = [float(psnr(shown[v], scored.images[v].permute(1, 2, 0))) for v in range(len(scored))]
    assert np.mean(scores) >= 14.0, scores
