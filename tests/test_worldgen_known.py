"""What is known of a video, as numbers: motion, rays, tags, layout, coverage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.trajectory import arc
from jwmtool.worldgen.config import CONFIGS
from jwmtool.worldgen.drawing import BODIES, LANES, VEHICLES, Box, draw_layout, is_vehicle
from jwmtool.worldgen.ego_motion import NUMBERS, ego_motion
from jwmtool.worldgen.known import LAYOUT_MAPS, SUBCELL, Known, cells, channel_counts
from jwmtool.worldgen.rays import camera_rays
from jwmtool.worldgen.start import GaussianStart
from jwmtool.worldgen.tags import NUM_TAGS, TAGS, known_tags, read_prompt, tag_numbers
from jwmtool.worldgen.transformer import build_model

K = np.array([[100.0, 0.0, 32.0], [0.0, 100.0, 16.0], [0.0, 0.0, 1.0]])
# Camera axes (right, down, forward) in the rig's (forward, left, up), 1.5 m above the road.
RIG_FROM_CAM = np.array([[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.5], [0.0, 0.0, 0.0, 1.0]])


def test_motion_of_an_arc() -> None:
    """Speed and yaw rate of a circle driven anywhere in the world, with uneven time steps."""
    times_s = np.array([0.0, 0.1, 0.3, 0.4])
    start = np.eye(4)
    start[:3, 3] = (1e5, -2e5, 40.0)
    poses = np.stack([start @ arc(12.0, 0.25, t) for t in times_s])
    rows = ego_motion(poses, times_s)
    assert rows.shape == (4, NUMBERS)
    for row, step_s in zip(rows[1:].tolist(), np.diff(times_s), strict=True):
        chord = 12.0 * math.sin(0.125 * step_s) / (0.125 * step_s)
        speed = math.hypot(row[1] * 10.0, row[2])
        assert row[0] == 1.0
        assert speed == pytest.approx(chord, rel=1e-4)
        assert row[6] * 0.2 == pytest.approx(0.25, rel=1e-4)
        assert row[7] == pytest.approx(step_s / 0.1, rel=1e-4)
    assert torch.equal(rows[0], rows[1])


def test_motion_goes_on_over_chunks() -> None:
    times_s = np.arange(6) * 0.1
    poses = np.stack([arc(8.0, -0.1 * k, t) for k, t in enumerate(times_s)])
    whole = ego_motion(poses, times_s)
    later = ego_motion(poses[3:], times_s[3:], before=(poses[2], float(times_s[2])))
    assert torch.allclose(later, whole[3:])
    assert torch.equal(ego_motion(poses[:1], times_s[:1]), torch.zeros(1, NUMBERS))


def test_rays_pass_through_what_is_seen_there() -> None:
    rays = camera_rays(K, RIG_FROM_CAM, 32, 64, 16)
    assert rays.shape == (6, 2, 4)
    camera = Camera(K, 64, 32, RIG_FROM_CAM)
    origin = RIG_FROM_CAM[:3, 3]
    for row in range(2):
        for column in range(4):
            direction, moment = rays[:3, row, column].double().numpy(), rays[3:, row, column].double().numpy()
            assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-6)
            assert np.allclose(np.cross(origin, direction), moment, atol=1e-6)
            pixel, depth = camera.project((origin + 7.0 * direction)[None])
            assert depth[0] > 0.0
            assert np.allclose(pixel[0], (16 * column + 8, 16 * row + 8), atol=1e-3)


def test_tags_have_numbers_and_words() -> None:
    assert sum(map(len, TAGS.values())) == NUM_TAGS == CONFIGS["mini"].num_tags
    numbers = tag_numbers({"weather": "rain", "event": "horse"})
    assert numbers.shape == (len(TAGS),)
    assert (numbers >= 0).sum() == 2
    assert len({int(tag_numbers({g: v}).max()) for g, values in TAGS.items() for v in values}) == NUM_TAGS
    told = read_prompt("A rainy evening in the city: wrong way driver, then two HORSES; purple.")
    assert told.tags == {"weather": "rain", "time_of_day": "dusk", "kind": "city", "event": "horse"}
    assert told.unknown == ("driver", "then", "two", "purple")
    assert known_tags({"weather": "hail", "time_of_day": "night", "lap": 3}) == {"time_of_day": "night"}
    with pytest.raises(UsageError, match=r"--weather: expected one of clear, .* found 'hail'"):
        tag_numbers({"weather": "hail"})


def test_layout_shows_bodies_where_they_are() -> None:
    camera = Camera(K, 64, 32, RIG_FROM_CAM)
    ahead = np.eye(4)
    ahead[:3, 3] = (20.0, 0.0, 1.5)
    near, behind = se3.inverse(se3.inverse(ahead)), np.eye(4)
    near[:3, 3], behind[:3, 3] = (10.0, 2.0, 1.5), (-5.0, 0.0, 1.5)
    boxes = [Box("car", (2.0, 2.0, 2.0), ahead), Box("horse", (1.0, 1.0, 1.0), near), Box("car", (2.0,) * 3, behind)]
    lane = np.array([[-5.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    maps = draw_layout(camera, boxes, [lane])
    assert maps.shape == (LAYOUT_MAPS, 32 // SUBCELL, 64 // SUBCELL)
    assert maps[VEHICLES, 4, 8] == pytest.approx(10.0 / 30.0)  # the car, 20 m ahead
    assert maps[VEHICLES, :, :5].max() == maps[VEHICLES, :, 12:].max() == 0.0  # the one behind is not seen
    assert maps[BODIES, 4, 3] == pytest.approx(0.5)  # to the left, at 10 m
    assert maps[BODIES, :, 8:].max() == 0.0
    assert maps[LANES, 7, 8] == 1.0 and maps[LANES, :4].max() == 0.0  # on the road, below the horizon


def test_cells_keep_the_mean_and_the_place() -> None:
    maps = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    found = cells(maps, 16)
    assert found.shape == (2, 48, 2, 4)
    assert torch.allclose(found.mean(), maps.mean())
    assert torch.allclose(found[1, 16 + 4 * 1 + 2, 1, 3], maps[1, 1, 20:24, 56:60].mean())
    assert torch.equal(found, cells(torch.nn.functional.avg_pool2d(maps, SUBCELL), 16, reduced=True))


def test_parts_are_left_out_by_group() -> None:
    counts = channel_counts(64, 16)
    assert sum(counts.values()) == CONFIGS["mini"].concat_channels
    shape = (1, 1, 2)
    known = Known(
        times_s=torch.arange(2.0)[None].double(),
        tags=torch.tensor([[1, -1, 5, 9]]),
        ego=torch.ones(1, 2, NUMBERS),
        prior=torch.ones(*shape, counts["prior"], 2, 4),
        coverage=torch.ones(*shape, counts["coverage"], 2, 4),
        rays=torch.ones(*shape, counts["rays"], 2, 4),
    )
    assert known.groups() == ("text", "ego", "prior", "rays")
    whole = known.conditions(64, 16).concat
    assert whole is not None and whole.shape[3] == CONFIGS["mini"].concat_channels
    less = known.without("prior", "text")
    assert less.groups() == ("ego", "rays") and less.tags is None
    concat = less.conditions(64, 16).concat
    assert concat is not None and concat[:, :, :, :80].abs().max() == 0.0 and concat.sum() == 6 * 2 * 2 * 4
    assert Known(known.times_s).conditions(64, 16).concat is None


@pytest.mark.parametrize(("covered", "t"), [(1.0, 0.3), (1.0, 0.8), (0.0, 0.1), (0.0, 0.6), (None, 0.3)])
def test_the_start_is_the_best_guess_of_gaussian_latents(covered: float | None, t: float) -> None:
    """Least squares over many draws of (data, noise) finds the same velocity: covered, only filled, without a prior."""
    draw = torch.Generator().manual_seed(0)
    start = GaussianStart(1, SUBCELL)
    start.measured(torch.tensor([[0.9], [0.5]]), torch.tensor([[0.2], [0.6]]))
    gain, variance = {1.0: (0.9, 0.2), 0.0: (0.5, 0.6), None: (0.0, 1.0)}[covered]
    size = (1, 1, 1, 1, 400, 500)
    prior, noise, spare = (torch.randn(size, generator=draw) for _ in range(3))
    data = gain * prior + variance**0.5 * spare
    x = (1 - t) * data + t * noise
    told = torch.zeros_like(prior) if covered is None else prior
    concat = torch.cat([told, torch.full_like(prior, covered or 0.0)], dim=3)
    found = start(x, torch.tensor([[t]]), concat).detach().flatten()
    basis = torch.stack([x.flatten(), told.flatten()], dim=1)
    best = torch.linalg.lstsq(basis, (noise - data).flatten()[:, None], driver="gelsd").solution
    assert torch.allclose((basis @ best)[:, 0], found, atol=0.05)
    if covered is None:
        assert torch.allclose(start(x, torch.tensor([[t]]), None).flatten(), found)


def test_an_untrained_network_with_a_start_shows_the_prior() -> None:
    config = replace(CONFIGS["mini"], layers=1, cross_view_every=1)
    model = build_model(config).eval()
    counts, shape = channel_counts(64, 16), (1, 1, 2)
    prior = torch.randn(*shape, 64, 2, 4, generator=torch.Generator().manual_seed(1))
    coverage = torch.ones(*shape, counts["coverage"], 2, 4)
    known = Known(torch.arange(2.0)[None].double(), prior=prior, coverage=coverage)
    t, noise = 0.9, torch.randn(prior.shape, generator=torch.Generator().manual_seed(2))
    x = (1 - t) * prior + t * noise
    with torch.no_grad():
        velocity = model(x, torch.full((1, 2), t), known.conditions(64, 16))
    guess = x - t * velocity
    assert (guess - prior).square().mean() < 0.01 < (x - t * (0 * x) - prior).square().mean()


@pytest.mark.parametrize(
    "category", ["car", "lorry", "vehicle.construction", "vehicle.bus.rigid", "BOX_TRUCK", "Bus/RV/Caravan", "Car"]
)
def test_motor_vehicles_of_all_data_sets_are_told(category: str) -> None:
    assert is_vehicle(category)


@pytest.mark.parametrize(
    "category", ["vehicle.bicycle", "human.pedestrian.adult", "BICYCLIST", "sign", "deer", "traffic_cone"]
)
def test_other_bodies_are_no_vehicles(category: str) -> None:
    assert not is_vehicle(category)
