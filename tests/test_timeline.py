"""A scene at any time and from any place: what stands is shown as it was seen when the ego was there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import ClipCamera
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.tokens import NEVER_S, TOKEN_FIELDS, Tokens
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.rendering.timeline import Timeline

HOUR_US = 3_600_000_000


def some(mids_s: list[float], velocities: list[float] | None = None, sigma_s: float = 0.2) -> Gaussians:
    n = len(mids_s)
    places = torch.tensor([[10.0 * mid + 5.0, 1.0, 1.0] for mid in mids_s])
    speed = torch.tensor(velocities or [0.0] * n)
    gaussians = Gaussians.static(
        places, torch.tensor([[1.0, 0.0, 0.0, 0.0]] * n), torch.full((n, 3), 0.2), torch.full((n,), 0.9),
        torch.zeros(n, 1, 3),
    )  # fmt: skip
    return replace(
        gaussians, time_mid=torch.tensor(mids_s), time_sigma=torch.full((n,), sigma_s),
        velocity=torch.stack([speed, 0 * speed, 0 * speed], 1),
    )  # fmt: skip


def along(seconds: float, begin_us: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times and poses of a drive along x at 10 m/s, ten a second."""
    times_us = np.arange(0, round(seconds * 1e6) + 1, 100_000, dtype=np.int64)
    return times_us + begin_us, np.stack([se3.translation([t * 1e-5, 0.0, 0.0]) for t in times_us])


def eye(x: float, y: float = 0.0) -> Camera:
    K = np.array([[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]])
    return Camera(K, 64, 48, se3.translation([x, y, 0.0]))


def drive(gaussians: Gaussians) -> Scene:
    times_us, poses = along(3.0)
    return Scene(gaussians, np.eye(4), ego_times_us=times_us, ego_world_from_rig=poses)


def told_of(count: int, **known: Tensor) -> Tokens:
    """A token for each Gaussian, all 0 but for what is known; nothing was seen through."""
    shapes = {name: (count, 3) if name in ("anchor", "eye", "color") else (count,) for name in TOKEN_FIELDS}
    values = {name: torch.zeros(shape) for name, shape in shapes.items()}
    values |= {"moving": torch.zeros(count, dtype=torch.bool), "since_s": torch.full((count,), -NEVER_S)}
    values |= {"until_s": torch.full((count,), NEVER_S), **known}
    return Tokens(**values, of_gaussian=torch.arange(count, dtype=torch.int32))


def opacities_at(scene: Scene, time_us: int) -> list[float]:
    return [round(v, 3) for v in scene.gaussians.at(scene.seconds(time_us))[1].tolist()]


def test_a_scene_does_not_fade_after_its_recording_ends() -> None:
    """What is there when the recording ends stays, goes on as it moves, and what had gone by then does not return."""
    gaussians = some([0.9, 0.0, 0.9], [0.0, 0.0, 2.0]).replace(time_sigma=torch.tensor([0.2, 0.1, 0.2]))
    poses = np.stack([np.eye(4)] * 2)
    scene = Scene(gaussians, np.eye(4), ego_times_us=np.array([0, 1_000_000]), ego_world_from_rig=poses)
    timeline = Timeline(scene)
    assert timeline.at(500_000) is scene and timeline.at(500_000, eye(0.0)) is scene
    for camera in (None, eye(0.0), eye(0.0, 2.0), eye(500.0)):
        after = timeline.at(4_000_000, camera)
        means, opacities = after.gaussians.at(after.seconds(4_000_000))
        _, at_the_end = gaussians.at(1.0)
        assert torch.allclose(opacities, at_the_end[[0, 2]], atol=1e-4)
        assert torch.allclose(means[0], gaussians.means[0])
        assert torch.allclose(means[1], gaussians.means[2] + torch.tensor([2.0 * 3.1, 0.0, 0.0]), atol=1e-4)
        before = timeline.at(-2_000_000, camera)
        assert len(before.gaussians) == 1 and before.gaussians.at(-2.0)[1].item() == pytest.approx(0.9, abs=1e-4)


def test_what_stands_is_shown_as_from_where_the_ego_was() -> None:
    """Whatever the time: a camera that stays behind, or drives at another speed, sees what the ego saw there."""
    scene = drive(some([0.0, 1.0, 2.0]))
    timeline = Timeline(scene)
    assert timeline.at(1_000_000, eye(10.0)) is scene, "on its way"
    assert timeline.at(1_000_000, eye(10.0, 2.0)) is scene, "and beside it"
    for time_us, x in ((0, 20.0), (1_000_000, 20.0), (3_000_000, 20.0), (9_000_000, 20.0), (HOUR_US, 20.0)):
        shown = timeline.at(time_us, eye(x))
        assert opacities_at(shown, time_us) == [0.9], (time_us, "the last one alone")
        assert shown.gaussians.means[0, 0] == 25.0
    # Half way between two: as it was then, whatever the clock says.
    half = scene.gaussians.at(1.2)[1]
    found = timeline.at(2_500_000, eye(12.0)).gaussians.at(2.5)[1]
    assert torch.allclose(found, half[half > 0.009], atol=1e-4)
    assert timeline.at(2_000_000, eye(400.0)) is scene, "far from the road the clock alone counts"


def test_the_rig_stands_where_its_camera_says() -> None:
    ahead = se3.translation([2.0, 0.0, 1.5])
    scene = drive(some([0.0, 1.0, 2.0]))
    scene = replace(scene, cameras={"front": ClipCamera("front", np.eye(3), 64, 48, ahead)})
    timeline = Timeline(scene)
    assert timeline.at(1_000_000, eye(12.0), "front") is scene
    assert timeline.at(1_000_000, eye(12.0), "other") is not scene


def test_what_moves_keeps_to_the_clock() -> None:
    scene = drive(some([1.0, 1.0], [0.0, 3.0]))
    shown = Timeline(scene).at(1_100_000, eye(20.0))
    means, opacities = shown.gaussians.at(1.1)
    assert len(means) == 1 and means[0, 0].item() == pytest.approx(15.3)
    assert opacities.item() == pytest.approx(scene.gaussians.at(1.1)[1][1].item())


def test_a_second_drive_sees_what_the_first_one_saw_there() -> None:
    """And nothing that was seen through since."""
    gaussians = Gaussians.concat([some([0.0, 1.0, 2.0]), some([1.0]).replace(time_mid=torch.tensor([3601.0]))])
    first, second = along(3.0), along(3.0, HOUR_US)
    times_us, poses = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
    scene = Scene(gaussians, np.eye(4), ego_times_us=times_us, ego_world_from_rig=poses)
    for begin_us in (0, HOUR_US):
        shown = Timeline(scene).at(begin_us + 1_000_000, eye(10.0))
        assert opacities_at(shown, begin_us + 1_000_000) == [0.9, 0.9], "its own, and what the other one saw"
    assert opacities_at(Timeline(scene).at(HOUR_US + 1_000_000), HOUR_US + 1_000_000) == [0.0, 0.0, 0.0, 0.9]
    tokens = told_of(4, until_s=torch.tensor([NEVER_S, 3600.5, NEVER_S, NEVER_S]))
    told = replace(scene, tokens=tokens)
    assert len(Timeline(told).at(1_000_000, eye(10.0)).gaussians) == 2
    assert len(Timeline(told).at(HOUR_US + 1_000_000, eye(10.0)).gaussians) == 1


def test_what_comes_far_nearer_than_it_was_seen_is_unknown() -> None:
    """A patch that was 4 px wide would fill the picture."""
    gaussians = some([3.0, 3.0, 3.0])  # all at x = 35, y = z = 1; the ego's way ends at x = 30
    away = torch.tensor([[3.0, 0.0, 0.0], [7.5, 0.0, 0.0], [30.0, 0.0, 0.0]])
    tokens = told_of(3, anchor=gaussians.means, eye=gaussians.means - away)
    scene = replace(drive(gaussians), tokens=tokens)
    timeline = Timeline(scene)
    assert timeline.at(3_000_000, eye(30.0)) is scene
    shown = timeline.at(3_200_000, eye(35.0, 3.236))  # 2.45 m away: 1.2, 3.06 and 12.2 times as near
    opacities = opacities_at(shown, 3_200_000)
    assert len(opacities) == 2 and opacities[0] == 0.9 and 0.7 < opacities[1] < 0.9
    assert len(timeline.at(3_200_000).gaussians) == 3, "nobody looks from anywhere"
