"""What a generation is asked for, resolved to facts: cameras, path, tags, layout, first frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import random_scene
from street_scene import lifted_scene, street_clip

from jwmtool.artifacts.clip import Clip, Track
from jwmtool.artifacts.images import write_png
from jwmtool.artifacts.scene import Scene
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.trajectory import Offset, Trajectory
from jwmtool.joint.drive import DriveRequest, nearest_size, resolve_drive
from jwmtool.joint.first_frames import first_pictures
from jwmtool.joint.path import actions_of, drive_path, driven, parse_actions
from jwmtool.joint.prior import PriorRenderer
from jwmtool.worldgen.drawing import VEHICLES

SMALL = (64, 32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return street_clip(tmp_path_factory.mktemp("street") / "clip", stereo=True)


@pytest.fixture(scope="module")
def scene(clip: Clip) -> Scene:
    return lifted_scene(clip)


def test_nothing_given_is_a_straight_drive_of_a_camera_ahead() -> None:
    drive = resolve_drive(DriveRequest(25))
    assert drive.size == (224, 128)
    assert drive.rate_hz == 10.0
    steps = np.diff(drive.path.world_from_rig[:, :3, 3], axis=0)
    assert np.allclose(steps, [0.8, 0.0, 0.0])
    assert np.allclose(drive.actions, [8.0, 0.0])
    camera = drive.camera_at(0, 0)
    pixels, depths = camera.project(np.array([[10.0, 0.0, 1.5], [10.0, 10 * np.tan(np.radians(30)), 1.5]]))
    assert depths == pytest.approx([10.0, 10.0])
    assert pixels == pytest.approx(np.array([[112.0, 64.0], [0.0, 64.0]]))  # 60 degrees from side to side
    assert nearest_size(1242, 375) == (416, 128)
    assert nearest_size(1600, 900) == (224, 128)


def test_a_recorded_path_is_resampled_and_then_goes_on(
    scene: Scene, clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = Trajectory(clip.times_us, clip.world_from_rig)
    drive = resolve_drive(DriveRequest(7), scene)
    assert np.allclose(drive.path.world_from_rig, clip.world_from_rig)
    assert "goes on" not in capsys.readouterr().err
    faster = resolve_drive(DriveRequest(30, rate_hz=20.0, size=SMALL), scene)
    assert "goes on" in capsys.readouterr().err
    assert np.diff(faster.path.times_us).tolist() == [50_000] * 29
    assert np.allclose(faster.path.world_from_rig[:13], recorded.at(faster.path.times_us[:13]))
    speed, yaw_rate = recorded.motion_at_end()
    assert np.allclose(faster.actions[14:], [speed, yaw_rate], atol=1e-6)
    assert len(faster.actions) == len(faster) == 30
    camera, original = faster.camera_at(0, 0), clip.camera_at(0, "front").resized(*SMALL)
    assert np.allclose(camera.K, original.K)
    assert (camera.width, camera.height) == SMALL


def test_words_and_offsets(scene: Scene) -> None:
    drive = resolve_drive(DriveRequest(20, trajectory="left 90deg radius 8m", offset=Offset(y_m=1.0)), scene)
    plain = resolve_drive(DriveRequest(20, trajectory="left 90deg radius 8m"), scene)
    apart = se3.inverse(plain.path.world_from_rig) @ drive.path.world_from_rig
    assert np.allclose(apart, se3.translation([0.0, 1.0, 0.0]))
    assert drive.actions[3, 1] == pytest.approx(plain.actions[3, 0] / 8.0, rel=1e-6)
    free = resolve_drive(DriveRequest(5, trajectory="straight 3m"))  # words need no recording
    assert np.allclose(free.actions, [8.0, 0.0])


def test_actions_drive_and_are_told_again(scene: Scene) -> None:
    told = parse_actions(["8 0.0", "", "# a comment", '{"speed_mps": 6, "yaw_rate_radps": 0.5}', "-2, -0.25"])
    assert told.tolist() == [[8.0, 0.0], [6.0, 0.5], [-2.0, -0.25]]
    drive = resolve_drive(DriveRequest(6, actions=told), scene)
    assert np.allclose(drive.actions[:5], [told[0], told[1], told[2], told[2], told[2]], atol=1e-9)
    again = driven(drive.actions, 6, drive.rate_hz, drive.path.world_from_rig[0], int(drive.path.times_us[0]))
    assert np.allclose(again.world_from_rig, drive.path.world_from_rig, atol=1e-9)
    assert actions_of(Trajectory(np.zeros(1, np.int64), np.eye(4)[None])).tolist() == [[0.0, 0.0]]
    lines = [json.dumps({"time_us": 0, "action": row.tolist()}) for row in drive.actions]
    assert np.allclose(parse_actions(lines), drive.actions)
    for bad in (["fast"], ["1"], ["1 nan"], ["{"], ['{"action": 3}'], [], ["90 0"], ["5 4"]):
        with pytest.raises(UsageError, match="actions"):
            parse_actions(bad)
    with pytest.raises(UsageError, match="one of them"):
        resolve_drive(DriveRequest(6, actions=told, trajectory="straight 2m"), scene)


def test_a_path_that_jumps_is_refused(tmp_path: Path, scene: Scene) -> None:
    file = tmp_path / "path.csv"
    file.write_text("time_s,x,y,z,yaw_deg\n0,0,0,0,0\n0.1,0.8,0,0,0\n0.2,9,0,0,0\n0.3,9.8,0,0,0\n")
    with pytest.raises(InputError, match=r"82 m/s .* from pose 1 to 2"):
        resolve_drive(DriveRequest(4, trajectory=str(file)))
    assert len(resolve_drive(DriveRequest(2, trajectory=str(file)))) == 2  # the jump comes later
    file.write_text("time_s,x,y,z,yaw_deg\n0,0,0,0,0\n0.1,0.8,0,0,30\n")
    with pytest.raises(InputError, match=r"5\.2 rad/s"):
        resolve_drive(DriveRequest(4, trajectory=str(file)))
    jumping = replace(scene, ego_world_from_rig=scene.ego_world_from_rig * np.where(np.eye(4) == 0, 50.0, 1.0))
    with pytest.raises(UsageError, match="recorded path"):
        resolve_drive(DriveRequest(4), jumping)
    with pytest.raises(UsageError, match="trajectory"):
        resolve_drive(DriveRequest(4, trajectory="speed 300km/h, straight 90m"), scene)
    with pytest.raises(UsageError, match="rate"):
        drive_path(4, 0.0)


def test_cameras_sizes_and_tags_that_cannot_be(clip: Clip, scene: Scene) -> None:
    both = resolve_drive(DriveRequest(3, cameras=tuple(clip.cameras)[::-1], size=SMALL), scene)
    assert [camera.name for camera in both.cameras] == list(clip.cameras)[::-1]
    for request, message in (
        (DriveRequest(3, cameras=("rear",)), "front"),
        (DriveRequest(3, cameras=("front", "front")), "twice"),
        (DriveRequest(3, size=(100, 64)), "multiples of 16"),
        (DriveRequest(3, tags={"weather": "hail"}), "--weather"),
    ):
        with pytest.raises(UsageError, match=message):
            resolve_drive(request, scene)
    bare = replace(random_scene(10), cameras={})
    with pytest.raises(UsageError, match="--clip CLIP lends"):
        resolve_drive(DriveRequest(3), bare)
    assert resolve_drive(DriveRequest(3), bare, clip).cameras[0].name == "front"
    tagged = replace(clip, tags={"weather": "rain", "kind": "city", "event": "none", "seed": 3})
    tags = resolve_drive(DriveRequest(3, tags={"weather": "snow"}), None, tagged).tags
    assert tags == {"weather": "snow", "kind": "city", "event": "none"}


def test_a_layout_begins_where_the_drive_does(clip: Clip, scene: Scene) -> None:
    with pytest.raises(InputError, match="tracks"):
        resolve_drive(DriveRequest(3), scene, layout=clip)
    ahead = clip.world_from_rig[0] @ se3.translation([12.0, 0.0, 0.8])
    times_us = clip.times_us[[0, -1]]
    track = Track("1", "car", (4.0, 1.8, 1.6), times_us, np.stack([ahead, ahead]))
    lane = se3.apply(clip.world_from_rig[0], np.array([[2.0, 0.0, 0.0], [30.0, 0.0, 0.0]]))
    layout = replace(clip, tracks=[track], extras={"lanes": [{"points": lane.tolist()}, {"id": 3}]})
    drive = resolve_drive(DriveRequest(3, size=SMALL), scene, layout=layout)
    assert drive.layout is not None
    maps = drive.layout.draw(drive.camera_at(0, 0), int(drive.path.times_us[0]))
    assert maps[VEHICLES, 3:5, 7:9].min() > 0.3
    assert maps[2].sum() > 0
    alone = resolve_drive(DriveRequest(3, size=SMALL), layout=layout)  # cameras and path of the layout's clip
    assert np.allclose(alone.path.world_from_rig, drive.path.world_from_rig)
    elsewhere = se3.translation([300.0, -80.0, 2.0]) @ se3.rotation_z(2.0)
    moved = [replace(frame, world_from_rig=elsewhere @ frame.world_from_rig, time_us=frame.time_us + 5_000_000)
             for frame in layout.frames]  # fmt: skip
    away = replace(track, times_us=times_us + 5_000_000, world_from_box=elsewhere @ track.world_from_box)
    other = resolve_drive(
        DriveRequest(3, size=SMALL), scene, layout=replace(layout, frames=moved, tracks=[away], extras={})
    )
    assert other.layout is not None
    again = other.layout.draw(other.camera_at(0, 0), int(other.path.times_us[0]))
    assert np.array_equal(again[VEHICLES], maps[VEHICLES])


def test_the_prior_is_what_the_scene_shows(clip: Clip, scene: Scene) -> None:
    drive = resolve_drive(DriveRequest(7, cameras=tuple(clip.cameras), size=(160, 96)), scene)
    prior = PriorRenderer(scene).render(drive, range(2, 5))
    assert prior.color.shape == (2, 3, 3, 96, 160)
    assert prior.coverage.shape == (2, 3, 1, 96, 160)
    recorded = torch.tensor(clip.load_image(3, "front")).permute(2, 0, 1) / 255.0
    assert (prior.color[0, 1] - recorded).square().mean() < 0.02
    assert 0.5 < float(prior.coverage.mean()) <= 1.0
    changed = (prior.color - prior.bare).abs().sum(2, keepdim=True) > 1e-3
    assert changed.any()
    assert float(prior.coverage[changed].max()) < 1.0


def test_first_frames_are_given_recorded_or_rendered(
    clip: Clip, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = resolve_drive(DriveRequest(3, size=SMALL), scene)
    both = resolve_drive(DriveRequest(3, size=SMALL, cameras=tuple(clip.cameras)), scene)
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, 100:] = 255
    write_png(tmp_path / "a.png", image)
    given = first_pictures(drive, [tmp_path / "a.png"], clip, PriorRenderer(scene))
    assert given is not None and given.shape == (1, 1, 3, 32, 64)
    assert float(given[..., :30].max()) == 0.0 and float(given[..., 34:].min()) == 1.0
    with pytest.raises(UsageError, match="each of"):
        first_pictures(both, [tmp_path / "a.png"])
    recorded = first_pictures(both, (), clip, PriorRenderer(scene))
    assert recorded is not None and recorded.shape == (2, 1, 3, 32, 64)
    rendered = first_pictures(both, (), None, PriorRenderer(scene))
    assert rendered is not None and rendered.shape == recorded.shape
    assert 0.0 < float((rendered - recorded).square().mean()) < 0.03
    assert capsys.readouterr().err == ""
    beside = resolve_drive(DriveRequest(3, size=SMALL, offset=Offset(y_m=1.0)), scene)
    found = first_pictures(beside, (), clip, PriorRenderer(scene))
    assert found is not None and torch.equal(found, PriorRenderer(scene).render(beside, range(1)).color)
    assert "elsewhere" in capsys.readouterr().err
    empty = replace(scene, gaussians=scene.gaussians.select(torch.zeros(len(scene.gaussians), dtype=torch.bool)))
    assert first_pictures(drive, (), None, PriorRenderer(replace(empty, sky=None))) is None
    assert "too little" in capsys.readouterr().err
    assert first_pictures(resolve_drive(DriveRequest(3))) is None


def test_words_shorter_than_a_frame_go_on_as_they_end() -> None:
    drive = resolve_drive(DriveRequest(5, rate_hz=2.0, trajectory="left 5deg radius 20m"))  # 0.2 s
    assert np.allclose(drive.actions, [8.0, 0.4], atol=1e-3)
