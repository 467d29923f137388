"""A look back: what pictures show longer lives longer, what they show no more ends, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.worldrec.look_back import agreement, looked_back
from jwmtool.worldrec.reconstruction import DepthMaps, Reconstruction
from jwmtool.worldrec.views import Views

HEIGHT, WIDTH, FOCAL = 32, 64, 40.0
TIMES_S = [-0.8, -0.4, 0.0, 0.4, 0.8]
WALL, GHOST, LAMP, BEHIND = range(4)  # a wall; what is gone after 0 s; what stays; what no picture can show


def things(sigma_s: float, ghost_sigma_s: float) -> Gaussians:
    """Seen along +z from the origin."""
    colors = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.1, 0.1], [0.1, 0.8, 0.2], [1.0, 1.0, 1.0]])
    plain = Gaussians.static(
        means=torch.tensor([[0.0, 0.0, 10.0], [-1.5, 0.0, 5.0], [1.5, 0.0, 5.0], [0.0, 0.0, -5.0]]),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(4, 1),
        scales=torch.tensor([[6.0, 6.0, 0.1], [0.5, 0.5, 0.1], [0.5, 0.5, 0.1], [0.5, 0.5, 0.1]]),
        opacities=torch.full((4,), 0.95),
        sh=((colors - 0.5) / 0.28209479)[:, None],
    )
    return plain.replace(time_sigma=torch.tensor([STATIC_SIGMA_S, ghost_sigma_s, sigma_s, sigma_s]))


def seen(gaussians: Gaussians, views: Views) -> Reconstruction:
    count = len(views)
    exposure = torch.eye(3, 4).repeat(count, 1, 1)
    nothing = torch.zeros(count, HEIGHT, WIDTH)
    depth = DepthMaps(nothing, nothing, nothing, nothing[:0])
    return Reconstruction(gaussians, torch.full((6, 2, 2, 3), 0.5), exposure, depth)


def pictures(shown: Reconstruction, views: Views) -> Tensor:  # [V, 3, H, W]
    made = [shown.render(views.camera(v), float(views.times_s[v]))[0] for v in range(len(views))]
    return torch.stack(made).permute(0, 3, 1, 2).clamp(0.0, 1.0)


@pytest.fixture
def views() -> Views:
    """The ghost is there until 0 s, and gone from then on; the lamp is there all the time."""
    count = len(TIMES_S)
    K = torch.tensor([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    blank = Views(
        images=torch.zeros(count, 3, HEIGHT, WIDTH),
        Ks=K.repeat(count, 1, 1),
        scene_from_cam=torch.eye(4).repeat(count, 1, 1),
        times_s=torch.tensor(TIMES_S),
        cameras=torch.zeros(count, dtype=torch.int64),
        usable=torch.ones(count, HEIGHT, WIDTH, dtype=torch.bool),
        lidar_m=torch.zeros(count, HEIGHT, WIDTH),
    )
    always = things(STATIC_SIGMA_S, STATIC_SIGMA_S)
    gone = always.select(torch.tensor([WALL, LAMP, BEHIND]))
    with_it, without = (pictures(seen(g, blank), blank) for g in (always, gone))
    late = blank.times_s > 0.0
    return replace(blank, images=torch.where(late[:, None, None, None], without, with_it))


def ends(gaussians: Gaussians, which: int) -> tuple[float, float]:
    """When it is at half."""
    mid, half = gaussians.time_mid[which], 1.18 * gaussians.time_sigma[which]
    return float(mid - half), float(mid + half)


def test_what_is_gone_ends_and_what_stays_goes_on(views: Views) -> None:
    before = things(0.3, 0.5)
    after = looked_back(before, seen(before, views), views)
    (ghost_began, ghost_ended), (ghost_begins, ghost_ends) = ends(before, GHOST), ends(after, GHOST)
    assert ghost_ends < ghost_ended - 0.05, "it shows through the pictures after 0 s"
    assert ghost_begins < ghost_began + 0.1
    (lamp_began, lamp_ended), (lamp_begins, lamp_ends) = ends(before, LAMP), ends(after, LAMP)
    assert lamp_begins < lamp_began - 0.1 and lamp_ends > lamp_ended + 0.1
    errors = [(pictures(seen(g, views), views) - views.images).abs().mean() for g in (before, after)]
    assert errors[1] < 0.8 * errors[0]


def test_what_no_picture_can_show_stays_as_it_is(views: Views) -> None:
    before = things(0.3, 0.5)
    early, late = agreement(before, seen(before, views), views)
    assert early[BEHIND] == 0.0 and late[BEHIND] == 0.0
    assert bool((early.abs() + late.abs() <= 1.0 + 1e-5).all())
    after = looked_back(before, seen(before, views), views)
    assert torch.equal(after.time_sigma[BEHIND], before.time_sigma[BEHIND])
    covered = replace(views, usable=torch.zeros_like(views.usable))
    assert torch.equal(looked_back(before, seen(before, views), covered).time_sigma, before.time_sigma), "masked"


def test_what_is_there_for_all_time_stays(views: Views) -> None:
    before = things(0.3, 0.5)
    early, late = agreement(before, seen(before, views), views)
    assert float(early[WALL].abs() + late[WALL].abs()) > 0.1, "pictures would have a say"
    after = looked_back(before, seen(before, views), views)
    assert after.time_sigma[WALL] == STATIC_SIGMA_S and after.time_mid[WALL] == 0.0


def test_what_earlier_windows_left_follows_slowly(views: Views) -> None:
    before = things(0.5, 0.5)
    later = replace(views.select([3, 4]), times_s=views.times_s[3:])
    young = looked_back(before.replace(time_mid=torch.full((4,), 0.4)), seen(before, later), later)
    old = looked_back(before, seen(before, later), later)
    grown = torch.log(young.time_sigma / before.time_sigma)[GHOST], torch.log(old.time_sigma / before.time_sigma)[GHOST]
    assert grown[0] < 0.0 and grown[1] < 0.0, "it is not there any more"
    assert abs(float(grown[1])) < 0.3 * abs(float(grown[0]))


def test_what_moves_keeps_to_its_way(views: Views) -> None:
    before = things(0.3, 0.5).replace(velocity=torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.2]] * 2))
    after = looked_back(before, seen(before, views), views)
    assert float((after.time_mid - before.time_mid).abs()[GHOST]) > 0.01
    for time_s in (-0.5, 0.0, 0.7):
        assert torch.allclose(after.at(time_s)[0], before.at(time_s)[0], atol=1e-5)


def test_an_empty_scene_has_no_lives(views: Views) -> None:
    assert len(looked_back(Gaussians.empty(), seen(Gaussians.empty(), views), views)) == 0
