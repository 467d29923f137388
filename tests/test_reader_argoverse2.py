"""Argoverse 2: conventions proven on a small log in the true layout, and what is told of broken ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

import small_argoverse2 as small
from small_argoverse2 import LOG, START_NS, STEP_NS, edit, log

from jwmtool import console
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.cli.main import run
from jwmtool.errors import InputError, MissingPartError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.readers import detect, list_scenes, read_recording
from jwmtool.readers.ingest import ingest
from jwmtool.readers.recording import Recording
from jwmtool.readers.select import Selection


def camera(recording: Recording, frame: int, name: str) -> Camera:
    source = recording.cameras[name]
    return Camera(source.K, source.width, source.height, recording.frames[frame].images[name].world_from_cam)


def test_a_point_falls_where_the_authors_api_puts_it_and_centers_are_at_integers(tmp_path: Path) -> None:
    recording = read_recording(log(tmp_path / LOG))
    point = np.array([11.6, 1.0, 0.9])  # ego frame of frame 2: 10 m before the front camera, 1 m left, 0.5 m below
    time_ns = START_NS + 2 * STEP_NS
    world = se3.apply(small.city_from_ego(time_ns), point)
    pixel, depth = camera(recording, 2, "ring_front_center").project(world[None])
    # K times the point over its depth, without k1 ... k3; half a pixel more, since ours counts from the corner.
    cx, cy = small.CENTER["ring_front_center"]
    np.testing.assert_allclose(pixel[0] - 0.5, [cx - 40.0 * 1.0 / 10.0, cy + 40.0 * 0.5 / 10.0], atol=1e-6)
    assert depth[0] == pytest.approx(10.0)
    assert not any(c.distorted for c in recording.cameras.values())
    assert (recording.cameras["ring_front_center"].width, recording.cameras["ring_front_center"].height) == (32, 48)


def test_each_picture_has_the_pose_at_its_own_time(tmp_path: Path) -> None:
    recording = read_recording(log(tmp_path / LOG))
    for index, frame in enumerate(recording.frames):
        time_ns = START_NS + index * STEP_NS
        assert frame.time_us == time_ns // 1000
        np.testing.assert_allclose(frame.world_from_rig, small.city_from_ego(time_ns), atol=1e-6)
        for name, image in frame.images.items():
            own_ns = int(Path(str(image.source)).stem)
            expected = small.city_from_ego(own_ns) @ small.RIG_FROM_CAM[name]
            np.testing.assert_allclose(image.world_from_cam, expected, atol=1e-6)
            assert image.time_us == own_ns // 1000
    late = recording.frames[1].images["ring_rear_left"]
    shift_m = (
        late.world_from_cam[:3, 3] - (recording.frames[1].world_from_rig @ small.RIG_FROM_CAM["ring_rear_left"])[:3, 3]
    )
    np.testing.assert_allclose(shift_m, [0, small.SPEED_MPS * 0.026, 0], atol=1e-6)


def test_a_time_between_poses_is_interpolated(tmp_path: Path) -> None:
    folder = log(tmp_path / LOG)
    own_ns = START_NS + STEP_NS + small.REAR_LATE_NS + 2_000_000

    def thin(columns: dict[str, Any]) -> None:
        keep = columns["timestamp_ns"].to_numpy() != own_ns
        for name in columns:
            columns[name] = columns[name].to_numpy()[keep]

    edit(folder / "city_SE3_egovehicle.feather", thin)
    image = read_recording(folder).frames[1].images["ring_rear_left"]
    expected = small.city_from_ego(own_ns) @ small.RIG_FROM_CAM["ring_rear_left"]
    np.testing.assert_allclose(image.world_from_cam, expected, atol=1e-6)


def test_cameras_stay_with_their_frame_and_stereo_comes_now_and_then(tmp_path: Path) -> None:
    recording = read_recording(log(tmp_path / LOG, frames=9))
    assert list(recording.cameras) == ["ring_front_center", "ring_rear_left", "stereo_front_left"]
    assert len(recording.frames) == 9
    for index, frame in enumerate(recording.frames):
        assert ("stereo_front_left" in frame.images) == (index % 4 == 0)
        late_us = frame.images["ring_rear_left"].time_us - frame.time_us
        assert late_us == 24_000 + 2_000 * (index % 2)  # 26 ms: past the middle, yet of this frame
    assert [frame.key for frame in recording.frames] == [index % 2 == 0 for index in range(9)]


def test_a_picture_that_no_frame_is_near_to_is_left_out(tmp_path: Path) -> None:
    folder = log(tmp_path / LOG)
    cameras = folder / "sensors" / "cameras"
    (cameras / "ring_front_center" / f"{START_NS + 2 * STEP_NS}.jpg").unlink()
    recording = read_recording(folder)
    assert len(recording.frames) == 5
    assert sum("ring_rear_left" in frame.images for frame in recording.frames) == 5


def test_sweeps_and_boxes_meet_in_the_world(tmp_path: Path) -> None:
    recording = read_recording(log(tmp_path / LOG))
    tracks = {track.id: track for track in recording.tracks}
    car, walker = tracks["car"], tracks["walker"]
    assert (car.category, walker.category) == ("REGULAR_VEHICLE", "PEDESTRIAN")
    assert car.size == small.CAR_SIZE and walker.size == (0.6, 0.7, 1.8)
    assert (np.diff(car.times_us) > 0).all() and car.times_us[0] == (START_NS + 7_000_000) // 1000
    expected = small.city_from_ego(START_NS) @ small.CAR_FROM_START
    for pose in car.world_from_box:  # it is parked, and the ego drives by
        np.testing.assert_allclose(pose, expected, atol=1e-6)
    np.testing.assert_allclose(walker.world_from_box[0, :3, 3], small.ORIGIN_M + small.WALKER_M, atol=1e-6)
    assert [s.time_us for s in recording.lidar] == car.times_us.tolist()
    for sweep in recording.lidar:
        points = sweep.load()
        assert points.dtype == np.float32 and points[:, 3].tolist() == [24, 255]
        world = se3.apply(sweep.world_from_lidar, points[:, :3].astype(np.float64))
        in_box = se3.apply(se3.inverse(expected), world)
        np.testing.assert_allclose(in_box, [[0, 0, 0], [2.0, 0.9, 0.7]], atol=0.02)  # the files hold half floats


def test_lanes_are_the_middle_of_their_boundaries(tmp_path: Path) -> None:
    extras = read_recording(log(tmp_path / LOG)).extras
    (lane,) = extras["lanes"]
    assert (lane["id"], lane["kind"], lane["width_m"]) == ("42", "driving", 3.6)
    x, y, z = small.ORIGIN_M
    np.testing.assert_allclose(lane["points"], [[x, y, z - 0.3], [x, y + 20, z - 0.3], [x, y + 40, z - 0.3]], atol=1e-3)
    assert extras["argoverse2"] == {"log": LOG, "split": None, "city": "PIT"}


def test_without_boxes_lidar_and_map_there_are_pictures(tmp_path: Path) -> None:
    folder = log(tmp_path / LOG, boxes=False)
    for file in [*(folder / "sensors" / "lidar").iterdir(), *(folder / "map").iterdir()]:
        file.unlink()
    recording = read_recording(folder)
    assert recording.tracks == [] and recording.lidar == [] and "lanes" not in recording.extras
    assert not any(frame.key for frame in recording.frames) and recording.licence.startswith("CC BY-NC-SA 4.0")


# Folders


def test_logs_are_found_by_split_and_id(tmp_path: Path) -> None:
    for split, name in (("train", "aaa1"), ("train", "abc2"), ("val", "abd3")):
        log(tmp_path / "av2" / "sensor" / split / name, frames=2)
    root = tmp_path / "av2"
    assert detect(root) == detect(root / "sensor") == detect(root / "sensor" / "val") == "argoverse2"
    assert list_scenes(root, split="all") == ["aaa1", "abc2", "abd3"]
    assert list_scenes(root / "sensor", split="train") == ["aaa1", "abc2"]
    assert list_scenes(root / "sensor" / "val", split="val") == ["abd3"]
    assert read_recording(root, scene="abd").name == "abd3"
    assert read_recording(root, scene="abd").extras["argoverse2"]["split"] == "val"
    assert read_recording(root / "sensor" / "val").name == "abd3"
    with pytest.raises(UsageError, match="--split: expected one of all, train, val, test, found 'mini'"):
        list_scenes(root, split="mini")
    with pytest.raises(InputError, match="a folder test/ with logs, found logs in train, val"):
        list_scenes(root, split="test")
    with pytest.raises(InputError, match=r"--scene chooses among several.*aaa1, abc2, abd3"):
        read_recording(root)
    with pytest.raises(InputError, match="found abc2, abd3"):
        read_recording(root, scene="ab")
    with pytest.raises(InputError, match="no xyz among aaa1"):
        read_recording(root, scene="xyz")


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])


def _nan(columns: dict[str, Any]) -> None:
    columns["qw"] = np.full(len(columns["qw"]), np.nan)


def _first_three(columns: dict[str, Any]) -> None:
    for name in columns:
        columns[name] = columns[name][:3]


POSES, BOXES = "city_SE3_egovehicle.feather", "annotations.feather"
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no intrinsics": (lambda f: (f / "calibration/intrinsics.feather").unlink(), "intrinsics.feather: expected a tab"),
    "cut poses": (lambda f: _truncate(f / POSES), f"{POSES}: expected a readable feather file"),
    "cut boxes": (lambda f: _truncate(f / BOXES), f"{BOXES}: expected a readable feather file"),
    "NaN pose": (lambda f: edit(f / POSES, _nan), f"{POSES}: expected a unit quaternion and a place in row 0"),
    "poses end": (lambda f: edit(f / POSES, _first_three), f"{POSES}: expected an ego pose within 0.05 s of the"),
    "no column": (lambda f: edit(f / BOXES, lambda c: c.pop("track_uuid")), "expected the column track_uuid, found"),
    "text": (lambda f: edit(f / POSES, lambda c: c.update(tx_m=["a"] * len(c["qw"]))), "numbers in the column tx_m"),
    "no mount": (
        lambda f: edit(f / "calibration/egovehicle_SE3_sensor.feather", _first_three),
        "expected a row for the camera other_camera",
    ),
    "odd name": (
        lambda f: (f / "sensors/cameras/ring_rear_left/first.jpg").write_bytes(b""),
        "expected a file named by its time",
    ),
    "no pictures": (lambda f: [p.unlink() for p in f.glob("sensors/cameras/*/*.jpg")], "sensors/cameras: expected pic"),
    "cut map": (lambda f: next((f / "map").iterdir()).write_text("{}"), "expected a vector map of Argoverse 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_broken_log_is_one_clear_line(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = log(tmp_path / LOG)
    change, expected = BAD[name]
    if name == "no mount":
        source = folder / "sensors/cameras"
        (source / "ring_rear_left").rename(source / "other_camera")
    change(folder)
    assert run(["ingest", str(folder), "-o", str(tmp_path / "clip"), "-q"]) == 3
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and expected in err, err
    assert not (tmp_path / "clip").exists()


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = log(tmp_path / LOG)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPartError, match=r"pip install 'jwmtool\[argoverse2\]'"):
        read_recording(folder)
    with pytest.raises(InputError):  # a wrong folder is told as such
        read_recording(tmp_path / LOG / "map", "argoverse2")


def test_a_log_becomes_a_clip(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    console.set_verbosity(0)
    recording = read_recording(log(tmp_path / LOG))
    assert "no pictures of ring_side_left" in capfd.readouterr().err
    selection = Selection(key_frames=True, withhold=("camera=stereo_front_left",))
    clip = read_clip(ingest(recording, tmp_path / "clip", selection=selection))
    assert len(clip.frames) == 3 and len(clip.lidar) == 3 and len(clip.tracks) == 2
    image = clip.frames[0].images["ring_front_center"]
    assert (clip.root / image.file).samefile(str(recording.frames[0].images["ring_front_center"].source))
    assert len(recording.index_files) == 5
