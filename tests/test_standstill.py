"""A standing ego: what did not change is left as it is, what did is taken from the new pictures, and from then on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_fusion import fused, views_of
from torch import Tensor
from true_depth import knowing, standing_clip, street_clip

from jwmtool.artifacts.clip import Clip
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.standstill import standstill, stood_s
from jwmtool.worldrec.state import State
from jwmtool.worldrec.views import Views

BOX = (slice(24, 44), slice(32, 64))  # rows and columns, of 64 x 112
RED = torch.tensor([0.9, 0.1, 0.1])[:, None, None]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return standing_clip(street_clip(tmp_path_factory.mktemp("street") / "clip", 24))


@pytest.fixture(scope="module")
def model(clip: Clip) -> WorldRec:
    return knowing(clip)


def with_red_box(views: Views) -> Views:
    images = views.images.clone()
    images[:, :, BOX[0], BOX[1]] = RED
    return replace(views, images=images)


def shown(state: State, model: WorldRec, views: Views, number: int) -> Tensor:  # [3, H, W]
    with torch.no_grad():
        scene = replace(model(views), gaussians=state.gaussians)
        return scene.render(views.camera(number), float(views.times_s[number]))[0].permute(2, 0, 1)


def test_who_stands(clip: Clip) -> None:
    before, views = views_of(clip, 0, 3, 6), views_of(clip, 9, 12)
    assert torch.equal(stood_s(before, views), before.times_s[-1:].repeat(2))
    assert bool(stood_s(before, replace(views, cameras=views.cameras + 1)).isinf().all()), "another camera"
    poses = views.scene_from_cam.clone()
    poses[0, 0, 3] += 0.2
    assert stood_s(before, replace(views, scene_from_cam=poses)).isinf().tolist() == [True, False]
    drives = replace(before, scene_from_cam=before.scene_from_cam + 0.0)
    drives.scene_from_cam[:2, 0, 3] -= 0.5
    again = replace(views, times_s=before.times_s[-1:].repeat(2))
    assert bool(stood_s(drives, again).isinf().all()), "the same picture, in both windows"


def test_nothing_is_asked_of_an_ego_that_drives(tmp_path: Path) -> None:
    driven = street_clip(tmp_path / "clip", 16)
    knows = knowing(driven)
    first, second = views_of(driven, 8, 10), views_of(driven, 12, 14)
    state = fused(knows, first)
    assert state.memory is not None
    with torch.no_grad():
        assert standstill(state.gaussians, state.memory, knows(second), second) is None


def test_only_what_changed_is_added_and_what_was_there_ends(clip: Clip, model: WorldRec) -> None:
    first, second = views_of(clip, 0, 3, 6), with_red_box(views_of(clip, 12, 15, 18))
    before, after = fused(model, first), fused(model, first, second)
    area = (BOX[0].stop - BOX[0].start) * (BOX[1].stop - BOX[1].start) / (64 * 112)
    grown = len(after.gaussians) / len(before.gaussians) - 1.0
    assert 0.02 < grown < 3.0 * area, "patches of the box, and those about its rim"
    early, late = shown(after, model, first, 0), shown(after, model, second, 1)
    inside = torch.zeros(64, 112, dtype=torch.bool)
    inside[BOX] = True
    assert float((late - second.images[1]).abs()[:, inside].mean()) < 0.1
    assert float((early - first.images[0]).abs()[:, inside].mean()) < 0.1
    alone = shown(before, model, first, 0)
    same = (early - alone).abs()[:, ~inside].mean(), (late - alone).abs()[:, ~inside].mean()
    assert float(max(same)) < 0.03, "what did not change is shown as before, at both times"


def test_in_one_window_each_picture_has_its_own(clip: Clip, model: WorldRec) -> None:
    views = views_of(clip, 0, 3, 6, 9, 12, 15)
    images = torch.cat([views.images[:3], with_red_box(views).images[3:]])
    views = replace(views, images=images)
    with torch.no_grad():
        found = model(views)
        quiet = model(views_of(clip, 0, 3, 6)).queries
    assert found.queries is not None
    changed = found.queries.evidence.changed.any(1)
    place = found.queries.pixels.xy
    inside = (place[:, 0] >= BOX[1].start) & (place[:, 0] < BOX[1].stop)
    inside &= (place[:, 1] >= BOX[0].start) & (place[:, 1] < BOX[0].stop)
    assert bool(changed[inside].all()) and not bool(changed[~inside].any())
    assert quiet is not None and not bool(quiet.evidence.changed.any())
    state = fused(model, views)
    for number in (1, 4):
        shows = shown(state, model, views, number)
        error = (shows - views.images[number]).abs()[:, BOX[0], BOX[1]].mean()
        assert float(error) < 0.1, number


def test_what_comes_later_was_not_there_before(clip: Clip, model: WorldRec) -> None:
    first, second = views_of(clip, 0, 3, 6), views_of(clip, 8, 10, 12)
    after = fused(model, first, second, with_red_box(views_of(clip, 15, 18, 20)))
    for views in (first, second):
        error = (shown(after, model, views, 2) - views.images[2]).abs()[:, BOX[0], BOX[1]].mean()
        assert float(error) < 0.1, "neither does the box reach back nor do others fade before it comes"
    red = (after.tokens.color - RED[:, 0, 0]).abs().mean(1) < 0.05
    since = after.tokens.since_s[red] >= float(second.times_s[-1])
    assert bool(red.any()) and float(since.float().mean()) > 0.9


def test_who_is_shown_rightly_was_seen(clip: Clip, model: WorldRec) -> None:
    windows = [views_of(clip, 0, 3, 6), views_of(clip, 8, 10, 12)]
    once, twice = fused(model, windows[0]), fused(model, *windows)
    assert len(twice.gaussians) < 1.1 * len(once.gaussians)
    seen = float((twice.tokens.last_s > windows[1].times_s[0]).float().mean())
    assert seen > 0.5, "the others are hidden, or their outlines differ from what 2 x 2 px show"
