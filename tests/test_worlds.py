"""Whole worlds: the same everywhere, valid for many seeds, and their truth holds."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jwmtool.artifacts.tracks import corners
from jwmtool.geometry.camera import Camera
from jwmtool.worlds.describe import describe
from jwmtool.worlds.light.render import View
from jwmtool.worlds.spec import EVENTS, KINDS, WorldSpec
from jwmtool.worlds.world import ActorTrack, World, make_world

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from world_seeds import check_seed

# When the worlds are meant to change, `pytest tests/test_worlds.py -k description_hash` prints the new values.
GOLDEN = {
    "city": "403817737041eb9adbae8ad62b5aa541bfde9d51cd0c1574cb54cb3d4ea8b990",
    "suburb": "5d8fa21cfe0874fc2293c4b85f4945b361180edff5b1721b17176a326635a04f",
    "motorway": "a26448fe0651c134cfe6653da7ddef4c6d3f545040489fcee85b76bf281a7143",
    "country": "5c02698614817d6d64f8eddac94dc07a24aaba78f6860d8807e1d08ac94d3884",
}


@lru_cache(maxsize=8)
def world(kind: str, seed: int = 5, event: str = "none", rig: str = "front1", duration_s: float = 3.0) -> World:
    return make_world(WorldSpec(kind, seed, duration_s, 10.0, 224, 128, event=event), rig)


@pytest.mark.parametrize("kind", KINDS)
def test_the_description_hash_is_the_same_everywhere(kind: str) -> None:
    spec = WorldSpec(kind, 11, 4.0, 10.0, 224, 128, event="horse")
    first, again = describe(spec).content_sha256(), describe(spec).content_sha256()
    assert first == again
    assert first == GOLDEN[kind], f"{kind}: {first}"


def test_another_seed_event_or_rig_is_another_world() -> None:
    base = WorldSpec("city", 1, 2.0)
    hashes = {
        describe(base).content_sha256(),
        describe(WorldSpec("city", 2, 2.0)).content_sha256(),
        describe(WorldSpec("city", 1, 2.0, event="deer")).content_sha256(),
        describe(WorldSpec("city", 1, 2.0, weather="rain")).content_sha256(),
        describe(base, "stereo").content_sha256(),
    }
    assert len(hashes) == 5


def test_weather_and_rig_leave_streets_and_traffic_as_they_are() -> None:
    base, wet = describe(WorldSpec("city", 1, 2.0)), describe(WorldSpec("city", 1, 2.0, weather="rain"), "front3")
    assert np.array_equal(base.ego, wet.ego)
    assert [t.kind for t in base.things] == [t.kind for t in wet.things]
    assert [a.id for a in base.actors] == [a.id for a in wet.actors]


@pytest.mark.parametrize("seed", range(0, 60, 3))  # every kind and every event
def test_worlds_are_valid(seed: int) -> None:
    row = check_seed((seed, 4.0))
    assert row["problems"] == []


def test_a_broken_world_is_noticed() -> None:
    """The check that the seeds pass does fail on a world with a car inside the ego and one in the air."""
    from dataclasses import replace

    from world_seeds import problems

    description = describe(WorldSpec("city", 3, 1.0, 10.0, 64, 48), "front1")
    actor = next(a for a in description.actors if a.category == "car")
    inside = replace(actor, id="inside", states=description.ego.copy(), phase=np.zeros(len(description.ego)))
    flying = replace(actor, id="flying", states=actor.states + np.array([0, 0, 2.0, 0, 0, 0]))
    others = tuple(a for a in description.actors if a is not actor)
    found = " ".join(problems(World(replace(description, actors=(*others, inside, flying)))))
    assert "inside overlaps the ego" in found
    assert "flying is 2.00 m over the ground" in found


@pytest.mark.parametrize("kind", KINDS)
def test_points_project_onto_the_pixels_that_show_them(kind: str) -> None:
    """A pixel's point, seen by the other camera, is at that camera's depth wherever it is not hidden."""
    w = world(kind, rig="stereo")
    left, right = (c.name for c in w.description.rig.cameras)
    view, other = w.view(8, left), w.view(8, right)
    camera, other_camera = w.camera(8, left), w.camera(8, right)
    seen = np.isfinite(view.depth)
    points = camera.world_from_cam[:3, 3] + camera.rays()[seen] * view.depth[seen][:, None].astype(np.float64)
    pixels, _ = camera.project(points)
    v, u = np.nonzero(seen)
    assert np.median(np.hypot(pixels[:, 0] - u - 0.5, pixels[:, 1] - v - 0.5)) < 0.1
    # In the other camera: cast a ray through the projected place itself, and compare points.
    pixels, depth = other_camera.project(points)
    inside = (depth > 0) & (pixels[:, 0] > 1) & (pixels[:, 0] < 223) & (pixels[:, 1] > 1) & (pixels[:, 1] < 127)
    i, j = pixels[inside, 0].astype(int), pixels[inside, 1].astype(int)
    same = view.instance[seen][inside] == other.instance[j, i]
    close = np.abs(other.depth[j, i] - depth[inside]) < 0.05 * depth[inside]
    assert (same & close).mean() > 0.85


@pytest.mark.parametrize(("kind", "event"), [("city", "none"), ("country", "horse"), ("motorway", "wrong-way")])
def test_flow_maps_each_frame_to_the_next(kind: str, event: str) -> None:
    w = world(kind, event=event)
    name = w.description.rig.cameras[0].name
    for frame in (8, 15):
        view, after = w.view(frame, name), w.view(frame + 1, name)
        camera, next_camera = w.camera(frame, name), w.camera(frame + 1, name)
        seen = np.isfinite(view.depth)
        points = camera.world_from_cam[:3, 3] + camera.rays()[seen] * view.depth[seen][:, None].astype(np.float64)
        moved = points + view.scene_flow[seen]
        v, u = np.nonzero(seen)
        target = np.stack([u, v], 1) + 0.5 + view.flow[seen]
        pixels, depth = next_camera.project(moved)
        ahead = depth > 0.5
        assert np.median(np.hypot(*(pixels - target)[ahead].T)) < 0.1
        # What is shown there in the next picture is the same surface, so flow also agrees with what the eye sees.
        inside = ahead & (target[:, 0] > 1) & (target[:, 0] < 223) & (target[:, 1] > 1) & (target[:, 1] < 127)
        i, j = target[inside, 0].astype(int), target[inside, 1].astype(int)
        shown = np.isfinite(after.depth[j, i])
        there = (
            next_camera.world_from_cam[:3, 3]
            + next_camera.rays()[j, i] * np.where(shown, after.depth[j, i], 0)[:, None]
        )
        back, _ = next_camera.project(there)
        same = shown & (after.instance[j, i] == view.instance[seen][inside])
        close = same & (np.linalg.norm(there - moved[inside], axis=1) < 0.03 * depth[inside] + 0.1)
        assert close.mean() > 0.8
        moving = np.linalg.norm(view.scene_flow[seen], axis=1)[inside] > 0.05
        if moving.sum() > 60:
            assert same[moving].mean() > 0.8
        assert np.median(np.hypot(*(back - target[inside])[close].T)) < 0.75  # the center of the pixel it falls in


def test_static_flow_is_the_camera_alone_and_the_ego_stays_put_at_a_stand() -> None:
    w = world("city")
    name = w.description.rig.cameras[0].name
    view = w.view(5, name)
    static = ~np.isin(
        view.instance, [t.instance for t in w.tracks() if np.ptp(t.world_from_box[:, :3, 3], 0).max() > 0]
    )
    assert np.abs(view.scene_flow[static & np.isfinite(view.depth)]).max() == 0


def test_boxes_enclose_their_masks() -> None:
    """The rectangle of a projected box against that of the actor's pixels, for actors that nothing hides."""
    ious: list[float] = []
    for kind in KINDS:
        for seed in (5, 6, 7, 8):
            w = make_world(WorldSpec(kind, seed, 2.1, 10.0, 640, 360), "front1")
            for frame in (5, 20):
                ious += box_ious(w, frame)
    assert len(ious) >= 15
    assert np.median(ious) >= 0.85, sorted(ious)
    assert min(ious) >= 0.78, sorted(ious)[:10]  # cars seen from above their roof, or nearly along the diagonal


def box_ious(w: World, frame: int) -> list[float]:
    """Of vehicles with four wheels, 18 px or more in size; a walker or cyclist is far from filling a box seen askew."""
    name = w.description.rig.cameras[0].name
    view, camera = w.view(frame, name, supersampling=1), w.camera(frame, name)
    found = []
    for track in w.tracks():
        pixels, depth = camera.project(corners_of(track, frame))
        low, high = pixels.min(0), pixels.max(0)
        outside = (low < 2).any() or high[0] > camera.width - 2 or high[1] > camera.height - 2
        if track.category not in ("car", "lorry", "bus") or (depth < 1).any() or outside or (high - low).min() < 18:
            continue
        if not alone(view, camera, track, frame):
            continue
        v, u = np.nonzero(view.instance == track.instance)
        if len(v) == 0:
            continue
        mask_low, mask_high = np.array([u.min(), v.min()]), np.array([u.max(), v.max()]) + 1.0
        assert (mask_low >= low - 1.5).all() and (mask_high <= high + 1.5).all(), track.id
        inner = np.prod(np.clip(np.minimum(high, mask_high) - np.maximum(low, mask_low), 0, None))
        found.append(float(inner / (np.prod(high - low) + np.prod(mask_high - mask_low) - inner)))
    return found


def corners_of(track: ActorTrack, frame: int) -> NDArray[np.float64]:
    return corners(track.world_from_box[frame], track.size if track.sizes is None else tuple(track.sizes[frame]))


def alone(view: View, camera: Camera, track: ActorTrack, frame: int) -> bool:
    """True if nothing stands before the actor: no pixel in its rectangle is nearer than its farthest corner."""
    pixels, depth = camera.project(corners_of(track, frame))
    low, high = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int)
    patch = np.s_[low[1] : high[1], low[0] : high[0]]
    other = (view.instance[patch] != track.instance) & (view.instance[patch] > 0)
    return not bool((view.depth[patch][other] < depth.max()).any())


@pytest.mark.parametrize("event", EVENTS[1:])
def test_events_are_seen(event: str) -> None:
    """For at least a second the event's actors cover enough pixels to be recognized."""
    kind = {"cut-in": "motorway", "wrong-way": "motorway", "child": "suburb", "tiger": "city", "dog": "suburb"}.get(
        event, "country"
    )
    w = make_world(WorldSpec(kind, 3, 8.0, 10.0, 224, 128, event=event), "front1")
    actors = {t.instance for t in w.tracks() if t.id.startswith(event)}
    assert actors, f"no actor's id starts with {event}: {[t.id for t in w.tracks()]}"
    start = int((w.description.event_time_s or 0) * 10)
    name = w.description.rig.cameras[0].name
    shown = [
        int(np.isin(w.view(f, name, supersampling=1).instance, list(actors)).sum())
        for f in range(start, w.num_frames, 3)
    ]
    assert sum(pixels >= 60 for pixels in shown) >= 4, shown
