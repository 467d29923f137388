"""The Waymo reader: conventions by hand on a little drive in both layouts, and on the numbers of Waymo's own tests."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_waymo as small
from one_line import told_in_one_line
from scipy.spatial.transform import Rotation

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.cli.main import run
from jwmtool.errors import InputError, MissingPartError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.readers import detect, list_scenes, read_recording, waymo_parquet
from jwmtool.readers.recording import Recording
from jwmtool.readers.waymo_range_image import LidarCalibration, range_image_points
from jwmtool.readers.waymo_segment import poses_at
from jwmtool.readers.waymo_wire import Message, WireError, masked_crc32c


@pytest.fixture(scope="module")
def tfrecord(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_v1(tmp_path_factory.mktemp("v1"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    return small.write_v2(tmp_path_factory.mktemp("v2"))


@pytest.fixture(params=["tfrecord", "root"])
def recording(request: pytest.FixtureRequest) -> Recording:
    return read_recording(request.getfixturevalue(request.param))


def camera(recording: Recording, frame: int, name: str) -> Camera:
    source = recording.cameras[name]
    return Camera(source.K, source.width, source.height, recording.frames[frame].images[name].world_from_cam)


# What there is


def test_detection_names_and_splits(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    other = "10017090168044687777_6380_000_6400_000"
    file = small.write_v1(tmp_path / "v1" / "training", small.Drive(frames=1))
    small.write_v1(tmp_path / "v1" / "validation", small.Drive(frames=1), other)
    for name in (small.NAME, other):
        small.write_v2(tmp_path / "v2" / "training", small.Drive(frames=1), name)
    for path in (file, file.parent, tmp_path / "v1", tmp_path / "v2", tmp_path / "v2" / "training"):
        assert detect(path) == "waymo"
    assert list_scenes(file) == list_scenes(file.parent) == list_scenes(tmp_path / "v1", split="train") == [small.NAME]
    assert list_scenes(tmp_path / "v1", split="validation") == list_scenes(tmp_path / "v1", split="val") == [other]
    assert list_scenes(tmp_path / "v1") == list_scenes(tmp_path / "v2") == [other, small.NAME]
    with pytest.raises(UsageError, match=r"--split: expected one of all, training, validation, found 'test'"):
        list_scenes(tmp_path / "v1", split="test")
    (tmp_path / "v1" / "mine.txt").write_text(
        f"# wanted\nsegment-{other}_with_camera_labels.tfrecord\n\n{small.NAME}\n"
    )
    assert list_scenes(tmp_path / "v1", split="mine") == [other, small.NAME]
    (tmp_path / "v1" / "mine.txt").write_text("123_4\n")
    with pytest.raises(InputError, match=r"mine\.txt: .*123_4, which is not there"):
        list_scenes(tmp_path / "v1", split="mine")


def test_a_scene_is_chosen_by_name_or_part(tmp_path: Path) -> None:
    names = ["10017090168044687777_6380_000_6400_000", "10023947602400723454_1120_000_1140_000"]
    for name in names:
        small.write_v1(tmp_path, small.Drive(frames=1), name)
    for scene in (names[1], "10023947602400723454", f"segment-{names[1]}_with_camera_labels.tfrecord"):
        assert read_recording(tmp_path, scene=scene).name == names[1]
    for scene, message in (
        (None, "--scene chooses"),
        ("100", f"--scene 100, found {names[0]}, "),
        ("9_9", "--scene 9_9"),
    ):
        with pytest.raises(InputError, match=message):
            read_recording(tmp_path, scene=scene)


def test_other_files_are_not_taken_for_segments(tmp_path: Path) -> None:
    # tf.train.Example: features = 1 { feature = 1 { key = 1 ...
    example = b"\x0a\x09\x0a\x07\x0a\x05image\x12\x00"
    (tmp_path / "train.tfrecord").write_bytes(small.record(example))
    (tmp_path / "notes.tfrecord").write_text("hello")
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    with pytest.raises(InputError, match="none of them"):
        detect(tmp_path)
    with pytest.raises(InputError, match=r"waymo_is_elsewhere: .*, found no such file or folder"):
        list_scenes(tmp_path.parent / "waymo_is_elsewhere", "waymo")


def test_both_versions_tell_the_same(tfrecord: Path, root: Path) -> None:
    one, two = read_recording(tfrecord), read_recording(root)
    assert (one.name, one.tags, one.licence, one.extras) == (two.name, two.tags, two.licence, two.extras)
    assert list(one.cameras) == list(two.cameras) == list(small.CAMERAS)
    for name in one.cameras:
        a, b = one.cameras[name], two.cameras[name]
        np.testing.assert_array_equal(a.K, b.K)
        np.testing.assert_array_equal(a.rig_from_cam, b.rig_from_cam)
        assert (a.width, a.height, a.distortion) == (b.width, b.height, b.distortion)
    for f, g in zip(one.frames, two.frames, strict=True):
        assert f.time_us == g.time_us and list(f.images) == list(g.images)
        np.testing.assert_array_equal(f.world_from_rig, g.world_from_rig)
        for name in f.images:
            assert f.images[name].time_us == g.images[name].time_us
            np.testing.assert_array_equal(f.images[name].world_from_cam, g.images[name].world_from_cam)
            np.testing.assert_array_equal(f.images[name].source(), g.images[name].source())
    for s, t in zip(one.lidar, two.lidar, strict=True):
        np.testing.assert_array_equal(s.load(), t.load())
        assert s.time_us == t.time_us and (s.world_from_lidar == t.world_from_lidar).all()
    for p, q in zip(one.tracks, two.tracks, strict=True):
        assert (p.id, p.category, p.size) == (q.id, q.category, q.size)
        np.testing.assert_array_equal(p.times_us, q.times_us)
        np.testing.assert_array_equal(p.world_from_box, q.world_from_box)


# Cameras


def test_axes_centers_and_the_pose_in_the_middle_of_the_readout(recording: Recording) -> None:
    # Frame 1: the front camera's pose is told for 0.15 s, the middle of its readout is at 0.16 s. By then the car, at
    # 10 m/s north from (1000, 2000, 5), is at y = 2001.6, and the camera 1.5 m ahead and 2 m up at (1000, 2003.1, 7).
    image = recording.frames[1].images["FRONT"]
    assert image.time_us == small.START_US + 160_000
    np.testing.assert_allclose(image.world_from_cam[:3, 3], [1000, 2003.1, 7], atol=1e-6)
    # 20 m ahead, 2 m to the right (east) and 1 m up, with f 50 and 51 px about (31, 17): c_u and c_v as they are.
    pixel, depth = camera(recording, 1, "FRONT").project(np.array([[1002.0, 2023.1, 8.0]]))
    np.testing.assert_allclose(pixel[0], [31 + 50 * 2 / 20, 17 - 51 * 1 / 20], atol=1e-6)
    assert depth[0] == pytest.approx(20)
    # The left camera looks west; its picture is 12 ms later: y = 2001.72. What is north of it is on its right.
    left = recording.frames[1].images["SIDE_LEFT"]
    assert left.time_us == small.START_US + 172_000
    pixel, depth = camera(recording, 1, "SIDE_LEFT").project(np.array([[990.0, 2001.72 + 1.5 + 4.0, 7.0]]))
    np.testing.assert_allclose(pixel[0], [31 + 50 * 4 / 10, 17], atol=1e-6)
    assert depth[0] == pytest.approx(10)
    assert recording.cameras["SIDE_LEFT"].height == 32 and recording.cameras["FRONT"].height == 48


def test_frames_and_readout_times(recording: Recording) -> None:
    assert [f.time_us - small.START_US for f in recording.frames] == [50_000, 150_000, 250_000]
    np.testing.assert_allclose(recording.frames[2].world_from_rig, small.ego(0.25), atol=1e-9)
    told = recording.extras["waymo"]
    assert told["time_and_timestamp_us"][1] == [small.START_US + 150_000, small.START_US + 100_000]
    shutter = told["rolling_shutter"]["SIDE_RIGHT"]
    assert shutter["direction"] == "left_to_right"
    times = [t - small.START_US for t in shutter["time_trigger_done_shutter_us"][0][:3]]
    assert times == [76_000, 56_000, 96_000] and shutter["time_trigger_done_shutter_us"][0][3] == 2000


def test_numbers_of_waymos_own_camera_test(tmp_path: Path) -> None:
    # camera_model_test.cc, GlobalShutter: pixel (100, 1000) at depth 20 is (-4091.97180, 11527.48092, 84.46586).
    intrinsic = (
        2055.55614936, 2055.55614936, 939.657469886, 641.072182194,
        0.032316008498, -0.321412482553, 0.000793258395371, -0.000625749354133, 0.0,
    )  # fmt: skip
    extrinsic = np.array([
        [0.999892684989, -0.00599320840002, 0.0133678704017, 1.53891424471],
        [0.00604223652133, 0.999975156055, -0.0036302411765, -0.0236339408393],
        [-0.0133457814992, 0.00371062343188, 0.999904056092, 2.11527057298],
        [0.0, 0.0, 0.0, 1.0],
    ])  # fmt: skip
    pose = np.array([
        [-0.913574384152, -0.406212760482, -0.0193141875914, -4069.03497872],
        [0.406637479491, -0.913082565675, -0.0304333457449, 11526.3118079],
        [-0.00527303457417, -0.0356569976572, 0.999350175676, 86.504],
        [0.0, 0.0, 0.0, 1.0],
    ])  # fmt: skip
    drive = small.Drive(cameras={"FRONT": small.Camera(extrinsic, intrinsic, 1920, 1280)})
    at = small.transform(pose)
    image = small.message("CameraImage", name=1, image=b"", pose=at, pose_timestamp=1553640277.26)
    frame = small.message("Frame", context=small.context(drive), timestamp_micros=1, pose=at, images=[image])
    (tmp_path / "one.tfrecord").write_bytes(small.record(frame))
    recording = read_recording(tmp_path / "one.tfrecord")
    assert recording.frames[0].images["FRONT"].time_us == 1553640277_260000  # no readout told: the time of the pose
    source = recording.cameras["FRONT"]
    in_cam = se3.apply(camera(recording, 0, "FRONT").cam_from_world, np.array([[-4091.97180, 11527.48092, 84.46586]]))
    pixel = cv2.projectPoints(in_cam, np.zeros(3), np.zeros(3), source.K, np.array(source.distortion))[0].ravel()
    np.testing.assert_allclose(pixel, [100, 1000], atol=0.05)
    np.testing.assert_allclose(in_cam[0, 2], 20, atol=1e-3)


def test_poses_beyond_the_known_ones_go_on_turning() -> None:
    def turning(time_us: float) -> np.ndarray:
        return small.matrix(1e-6 * time_us, 2e-6 * time_us, -1e-6 * time_us, 0.0)

    known = {t: turning(t) for t in (0, 4_000, 100_000, 104_000)}
    wanted = [-20_000, 52_000, 110_000, 150_000]
    found = poses_at(known, wanted)
    for time_us, pose in zip(wanted, found, strict=True):
        np.testing.assert_allclose(pose, turning(time_us), atol=1e-9)
    np.testing.assert_array_equal(poses_at({7: turning(7)}, [0, 9_000]), np.stack([turning(7)] * 2))


def test_pictures_are_read_one_by_one_and_from_several_threads(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waymo_parquet, "_KEPT_BYTES", 1000)  # rows get lost and are read again
    jobs = [(k, name) for k in range(3) for name in small.CAMERAS] * 3
    np.random.default_rng(0).shuffle(jobs)

    def off(job: tuple[str, str]) -> float:
        k, name = int(job[0]), job[1]
        pixels = recording.frames[k].images[name].source()
        assert pixels.shape == (recording.cameras[name].height, 64, 3) and pixels.dtype == np.uint8
        return float(np.abs(pixels.astype(float) - small.color(k, name)).max())

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(off, jobs)) < 4  # JPEG


def test_the_index_does_not_hold_pictures(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1_000_000)
    file = small.write_v1(tmp_path, small.Drive(frames=4, picture=lambda *_: noise))
    assert file.stat().st_size > 20_000_000
    tracemalloc.start()
    recording = read_recording(file)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000 and peak < 2_000_000
    with pytest.raises(InputError, match=r"a JPEG as the picture of FRONT at \d+ us, found no picture"):
        recording.frames[0].images["FRONT"].source()


# Lidar and boxes


def test_points_of_the_range_images(recording: Recording) -> None:
    # Columns of 4 look 135, 45, -45, -135 degrees; the top lidar, at (1.4, 0, 2.1), is itself turned by 148 degrees.
    # Its rows look 10, 0, -30 degrees up, the others' 30 and -30.
    slant, down = np.cos(np.radians(30)) / np.sqrt(2), -0.5
    expected = [
        [1.4 + 10 - 0.2, 10, 2.1, np.sqrt(2)],  # row 1, column 1; the car was 0.2 m behind the frame's pose
        [1.4 + 4 * slant + 0.3, -4 * slant, 2.1 + 4 * down, 0.4],  # row 2, column 2; 0.3 m before it
        [1.4 + 20 - 0.2, 20, 2.1, 2 * np.sqrt(2)],  # the second return goes by the first one's poses
        [4 + 2 * slant, 2 * slant, 1 - 2 * down, 0.2],  # the front lidar has one return
        *[[1 + slant, -slant, 0.5 + down, 0.1]] * 3,  # side and rear: their own yaw makes no difference
    ]
    sweep = recording.lidar[1]
    points = sweep.load()
    assert points.dtype == np.float32 and sweep.time_us == recording.frames[1].time_us
    np.testing.assert_allclose(points, expected, atol=2e-4)  # pixels' poses are float32, 2000 m from the origin
    # North is ahead: a point 11.2 m ahead and 10 m to the left of the car, which is at (1000, 2001.5, 5).
    world = se3.apply(sweep.world_from_lidar, points[:1, :3].astype(float))
    np.testing.assert_allclose(world, [[990, 2001.5 + 11.2, 7.1]], atol=2e-4)


def test_poses_of_pixels_turn_by_yaw_pitch_and_roll() -> None:
    roll, pitch, yaw = 0.1, -0.2, 2.5
    image = np.array([[[5.0, 0.25]]], np.float32)  # one pixel: straight ahead of the lidar
    calibration = LidarCalibration(se3.translation([1.0, 2.0, 3.0]), (0.0,))
    world_from_vehicle = small.matrix(0.7, 30.0, 40.0, 1.0)
    pose = np.array([[[roll, pitch, yaw, 31.0, 42.0, 2.0]]], np.float32)
    found = range_image_points(image, calibration, world_from_vehicle, pose)
    turn = Rotation.from_euler("ZYX", [yaw, pitch, roll])  # about z, then the turned y, then the turned x
    world = turn.apply([6.0, 2.0, 3.0]) + np.array([31.0, 42.0, 2.0])
    expected = np.linalg.inv(world_from_vehicle) @ [*world, 1.0]
    np.testing.assert_allclose(found[0], [*expected[:3], 0.25], atol=1e-5)
    with pytest.raises(ValueError, match="2 beam inclinations for 1 rows"):
        range_image_points(image, replace(calibration, inclinations_rad=(0.0, 0.1)), world_from_vehicle, None)


def test_boxes(recording: Recording) -> None:
    tracks = {t.id: t for t in recording.tracks}
    assert {t.category for t in tracks.values()} == {"vehicle", "pedestrian", "sign"}
    car = tracks["car"]
    assert car.size == (4.5, 2.0, 1.6) and car.sizes is None
    assert car.times_us.tolist() == [f.time_us for f in recording.frames]
    # 20 m ahead of where the car is at 0.05 s and 3 m to its left, heading back: parked at (997, 2020.5, 5.8).
    for pose in car.world_from_box:
        np.testing.assert_allclose(pose[:3, 3], [997, 2020.5, 5.8], atol=1e-9)
        np.testing.assert_allclose(pose[:3, 0], [0, -1, 0], atol=1e-9)  # its length points south
    walker = tracks["walker"]
    assert walker.size == pytest.approx((0.8, 0.7, 1.8)) and walker.sizes is not None
    np.testing.assert_allclose(walker.sizes[:, 0], [0.6, 0.7, 0.8])
    np.testing.assert_allclose(walker.world_from_box[0, :3, 0], [-1, 0, 0], atol=1e-9)  # to our left, west
    np.testing.assert_allclose(walker.world_from_box[2, :3, 3], [1002, 2002.5 + 9, 5.9], atol=1e-9)
    assert tracks["sign"].times_us.tolist() == [f.time_us for f in recording.frames[1:]]


@pytest.mark.parametrize(
    ("told", "tags"),
    [
        (("Day", "location_phx", "rain"), {"time_of_day": "day", "location": "location_phx", "weather": "rain"}),
        (("Night", "location_sf", "Sunny"), {"time_of_day": "night", "location": "location_sf", "weather": "clear"}),
        (("Dawn/Dusk", "", ""), {"time_of_day": "dusk"}),
    ],
)
def test_tags(told: tuple[str, str, str], tags: dict[str, str], tmp_path: Path) -> None:
    recording = read_recording(small.write_v1(tmp_path, small.Drive(frames=1, stats=told)))
    assert recording.tags == tags and "Non-Commercial" in recording.licence


# What goes wrong


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def flip(file: Path, byte: int) -> None:
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)


def add(file: Path, data: bytes) -> None:
    file.write_bytes(file.read_bytes() + data)


SCENARIO = b"\x09" + bytes(8) + b"\x2a\x03abc"  # motion data: timestamps_seconds = 1, scenario_id = 5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: cut(f, f.stat().st_size - 5), r"the file ends within record 2, 5 bytes short: download it again"),
        (lambda f: add(f, b"\1\2\3"), r"the file ends within the header of record 3"),
        (lambda f: flip(f, 3), r"a wrong checksum in the header of record 0 at byte 0"),
        (lambda f: cut(f, 0), r"an empty file"),
        (lambda f: f.write_bytes(small.record(SCENARIO)), r"in record 0: field 1 has wire type 1"),
        (
            lambda f: add(f, small.record(small.frame_v1(small.Drive(), 3, "other_1"))),
            r"in record 3: .* segment, other_1",
        ),
        (
            lambda f: add(f, small.record(b"\x0a\x7f")),
            r"in record 3: field 1 of 127 bytes at byte \d+ beyond its message",
        ),
    ],
)
def test_damaged_tfrecords(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    file = small.write_v1(tmp_path)
    damage(file)
    assert detect(file) == "waymo"  # by its name, so that the user is told what is wrong with it
    with pytest.raises(InputError, match=message) as caught:
        read_recording(file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_damaged_range_image_and_a_file_that_shrinks(tmp_path: Path) -> None:
    file = small.write_v1(tmp_path)
    recording = read_recording(file)
    data = file.read_bytes()
    images = data.index(small.compressed(small.range_image(small.lidars()["TOP"].returns[0])))
    flip(file, images + 20)
    with pytest.raises(InputError, match=r"a range image of lidar 1 at \d+ us"):
        recording.lidar[0].load()
    cut(file, 5000)
    with pytest.raises(InputError, match="the file ends before it"):
        recording.frames[2].images["FRONT"].source()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (f"camera_calibration/{small.NAME}.parquet", r"camera_calibration/\S+\.parquet: .*, found no such file"),
        ("vehicle_pose", r"vehicle_pose: expected \S+\.parquet, found no such folder"),
        ("lidar_pose", r"lidar_pose: expected the folder that lidar/ needs, found no such folder"),
        (f"lidar_box/{small.NAME}.parquet", r"lidar_box/\S+\.parquet: .*, found no such file"),
    ],
)
def test_half_downloaded_tables(lost: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = small.write_v2(tmp_path)
    for file in (root / lost).glob("*") if (root / lost).is_dir() else [root / lost]:
        file.unlink()
    if (root / lost).is_dir():
        (root / lost).rmdir()
    with pytest.raises(InputError, match=message):
        read_recording(root)


def test_truncated_and_foreign_tables(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = small.write_v2(tmp_path)
    file = root / "camera_image" / f"{small.NAME}.parquet"
    whole = file.read_bytes()
    cut(file, len(whole) // 2)
    with pytest.raises(
        InputError, match=r"camera_image/\S+: expected a sound parquet table, found .*download it again"
    ):
        read_recording(root)
    file.write_bytes((root / "stats" / file.name).read_bytes())
    with pytest.raises(InputError, match=r"camera_image/\S+: expected a column key\.camera_name, found key\."):
        read_recording(root)


def test_without_lidar_boxes_and_stats_there_is_still_a_recording(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    root = small.write_v2(tmp_path)
    for folder in ("lidar", "lidar_pose", "lidar_calibration", "lidar_box", "stats"):
        (root / folder / f"{small.NAME}.parquet").unlink()
        (root / folder).rmdir()
    recording = read_recording(root)
    assert len(recording.frames) == 3 and not recording.lidar and not recording.tracks and not recording.tags


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path, tfrecord: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPartError, match=r"needs pyarrow: .*; pip install 'jwmtool\[waymo\]'"):
        read_recording(root)
    assert read_recording(tfrecord).frames  # version 1 needs nothing
    assert list_scenes(root) == [small.NAME]
    with pytest.raises(InputError):
        read_recording(tmp_path, "waymo")
    (tmp_path / "camera_image").mkdir()
    (tmp_path / "camera_image" / "1_2.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"camera_calibration: expected 1_2\.parquet, found no such folder"):
        read_recording(tmp_path)  # the layout is told before the missing part


def test_times_and_calibrations_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "shutter", lambda *_: {"camera_trigger_time": 5.0, "camera_readout_done_time": 5.1})
    with pytest.raises(InputError, match=r"trigger and readout of camera FRONT about its pose's time"):
        read_recording(small.write_v1(tmp_path / "a"))
    monkeypatch.undo()
    rig = small.cameras()
    drive = small.Drive(cameras={**rig, "FRONT": replace(rig["FRONT"], intrinsic=(50.0, 50.0, 32.0, 16.0))})
    with pytest.raises(InputError, match=r"f_u, f_v, c_u, .* of camera FRONT, found 4 numbers"):
        read_recording(small.write_v1(tmp_path / "b", drive))
    drive = small.Drive(cameras={**rig, "FRONT": replace(rig["FRONT"], extrinsic=2 * np.eye(4))})
    with pytest.raises(InputError, match="a rigid 4x4 transform as extrinsic of camera FRONT"):
        read_recording(small.write_v1(tmp_path / "c", drive))


# The wire


def test_checksums() -> None:
    assert small.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    rotated = 0xE3069283 >> 15 | 0xE3069283 << 17 & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_messages() -> None:
    # The examples of the protobuf encoding guide: a = 150 in field 1; "testing" in field 2; packed 3, 270, 86942 in 6.
    assert Message(b"\x08\x96\x01", (0, 3)).integer(1) == 150
    assert Message(b"\x12\x07testing", (0, 9)).text(2) == "testing"
    assert Message(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05", (0, 8)).integers(6) == [3, 270, 86942]
    assert Message(b"\x08" + b"\xfe" + b"\xff" * 8 + b"\x01", (0, 11)).integer(1) == -2
    packed = b"\x12\x10" + np.array([1.5, -2.0]).tobytes()  # a repeated double, packed where proto2 does not pack
    assert Message(packed, (0, len(packed))).doubles(2).tolist() == [1.5, -2.0]
    assert Message(b"", (0, 0)).double(3) is None and Message(b"", (0, 0)).message(4).text(1) == ""
    for bad in (b"\x08", b"\x0b", b"\x12\x05abc", b"\x02\x01a", b"\x08" + b"\xff" * 10):
        with pytest.raises(WireError):
            Message(bad, (0, len(bad)))


# All the way


def test_a_clip_of_it(tfrecord: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source, name in ((tfrecord, "one"), (root, "two")):
        assert run(["ingest", str(source), "-o", str(tmp_path / name), "--cameras", "FRONT,SIDE_LEFT"]) == 0
    one, two = read_clip(tmp_path / "one"), read_clip(tmp_path / "two")
    assert one.extras["waymo"] == two.extras["waymo"] and [t.id for t in one.tracks] == ["car", "walker", "sign"]
    np.testing.assert_array_equal(one.load_image(1, "FRONT"), two.load_image(1, "FRONT"))
    np.testing.assert_array_equal(one.load_lidar(2), two.load_lidar(2))
    told_in_one_line(capsys, ["ingest", str(tmp_path), "--format", "waymo", "-o", "x"], 3, "found none of that")
