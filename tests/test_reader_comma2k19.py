"""comma2k19: a car that drives north at a known place, pictures of a bare HEVC stream; and a real segment's figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation
from small_videos import cut_short, number, video

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.images import read_image
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.earth import ecef_from_enu, geodetic
from jwmtool.readers import detect, list_scenes, read_recording
from jwmtool.readers.ingest import ingest
from jwmtool.readers.recording import Recording
from jwmtool.readers.select import Selection

ROUTE = "b0c9d2329ad1606b|2018-08-02--08-34-47"
SIZE = (1164, 874)
LAT_DEG, LON_DEG, HEIGHT_M = 37.7, -122.4, 30.0
STEP_M = 0.75  # each 0.05 s
SPEED_MPS = 15.0


def ecef(lat_deg: float, lon_deg: float, height_m: float) -> np.ndarray:
    """WGS84, forward: the closed form."""
    lat, lon = np.radians([lat_deg, lon_deg])
    a, f = 6378137.0, 1 / 298.257223563
    normal_m = a / np.sqrt(1 - f * (2 - f) * np.sin(lat) ** 2)
    circle_m = (normal_m + height_m) * np.cos(lat)
    z = (normal_m * (1 - f) ** 2 + height_m) * np.sin(lat)
    return np.array([circle_m * np.cos(lon), circle_m * np.sin(lon), z])


def axes(lat_deg: float, lon_deg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """East, north and up in ECEF."""
    lat, lon = np.radians([lat_deg, lon_deg])
    east = np.array([-np.sin(lon), np.cos(lon), 0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    up = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return east, north, up


def array(file: Path, values: object) -> None:
    """.npy without the suffix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        np.save(stream, np.asarray(values, np.float64))


def comma(root: Path, segment: str = "40", frames: int = 12, route: str = ROUTE, with_video: bool = True) -> Path:
    """One segment; the car drives north, level, at 15 m/s; returns the segment's folder."""
    folder = root / route / segment
    east, north, up = axes(LAT_DEG, LON_DEG)
    start = ecef(LAT_DEG, LON_DEG, HEIGHT_M)
    ecef_from_device = np.stack([north, east, -up], 1)  # forward, right, down
    quat = Rotation.from_matrix(ecef_from_device).as_quat(scalar_first=True)
    times_s = 100.0 + 0.05 * np.arange(frames)
    poses = folder / "global_pose"
    array(poses / "frame_times", times_s)
    array(poses / "frame_gps_times", np.stack([np.full(frames, 2012.0), 404_000 + times_s], 1))
    array(poses / "frame_positions", start + STEP_M * np.arange(frames)[:, None] * north)
    array(poses / "frame_velocities", np.tile(SPEED_MPS * north, (frames, 1)))
    array(poses / "frame_orientations", np.tile(quat, (frames, 1)))
    can_s = 99.9 + 0.01 * np.arange(120)
    for name, values in (("speed", (can_s - 100)[:, None]), ("steering_angle", 2 * (can_s - 100))):
        array(folder / "processed_log" / "CAN" / name / "t", can_s)
        array(folder / "processed_log" / "CAN" / name / "value", values)
    Image.new("RGB", SIZE).save(folder / "preview.png")
    if with_video:
        video(folder / "video.hevc", frames, size=SIZE)
    return folder


def camera(recording: Recording, frame: int) -> Camera:
    source = recording.cameras["road"]
    return Camera(source.K, source.width, source.height, recording.frames[frame].images["road"].world_from_cam)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment with its video, which takes a moment; not to be changed."""
    return comma(tmp_path_factory.mktemp("comma"))


# Where a segment is found


def test_segment_route_and_chunk_are_known_and_scenes_chosen(tmp_path: Path) -> None:
    chunk = tmp_path / "Chunk_1"
    segment = comma(chunk, "40", with_video=False)
    comma(chunk, "7", with_video=False)
    comma(chunk, "7", route="b0c9d2329ad1606b|2018-08-03--10-00-00", with_video=False)
    for place in (segment, segment.parent, chunk, tmp_path):
        assert detect(place) == "comma2k19"
    names = [f"{ROUTE}/7", f"{ROUTE}/40", "b0c9d2329ad1606b|2018-08-03--10-00-00/7"]
    assert list_scenes(tmp_path) == names
    with pytest.raises(UsageError, match="no splits"):
        list_scenes(segment, split="val")
    assert read_recording(tmp_path, scene="40").name == "b0c9d2329ad1606b_2018-08-02--08-34-47_40"
    assert read_recording(tmp_path, scene=names[2]).name.endswith("2018-08-03--10-00-00_7")
    assert read_recording(tmp_path, scene="08-03--10").name.endswith("2018-08-03--10-00-00_7")
    assert read_recording(segment.parent, scene="7").name.endswith("08-34-47_7")
    with pytest.raises(InputError, match=r"one segment \(--scene chooses\), found .*/7, .*/7$"):
        read_recording(tmp_path, scene="7")
    with pytest.raises(InputError, match=r"a segment '41', found"):
        read_recording(tmp_path, scene="41")


# Conventions


def test_world_is_east_north_up_and_pixel_centers_are_at_halves(tmp_path: Path) -> None:
    recording = read_recording(comma(tmp_path, with_video=False))
    frame = recording.frames[0]
    np.testing.assert_allclose(frame.world_from_rig, se3.rotation_z(np.pi / 2), atol=1e-7)  # north
    # 10 m ahead, 1 m to the right (east), 2 m down.
    pixel, depth_m = camera(recording, 0).project(np.array([[1.0, 10.0, -2.0]]))
    np.testing.assert_allclose(pixel[0], [582 + 91, 437 + 182], atol=1e-4)
    np.testing.assert_allclose(depth_m, 10, atol=1e-6)
    origin = recording.extras["origin"]
    np.testing.assert_allclose(
        [origin["latitude_deg"], origin["longitude_deg"], origin["height_m"]], [LAT_DEG, LON_DEG, HEIGHT_M], atol=1e-6
    )


def test_pictures_times_and_poses_belong_together(whole: Path) -> None:
    recording = read_recording(whole)
    assert len(recording.frames) == 12
    for index in (5, 3, 11):
        frame = recording.frames[index]
        source = frame.images["road"].source
        assert not isinstance(source, Path) and number(source()) == index
        assert frame.time_us == 100_000_000 + 50_000 * index
        np.testing.assert_allclose(frame.world_from_rig[:3, 3], [0, STEP_M * index, 0], atol=1e-6)


def test_can_is_told_at_the_pictures_times(whole: Path) -> None:
    can = read_recording(whole).extras["can"]
    assert can["times_us"][:2] == [100_000_000, 100_050_000]
    np.testing.assert_allclose(can["speed_mps"], 0.05 * np.arange(12), atol=1e-4)
    np.testing.assert_allclose(can["steering_angle_deg"], 0.1 * np.arange(12), atol=1e-4)


@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9), st.floats(-400, 9000))
def test_places_on_the_earth_go_there_and_back(lat_deg: float, lon_deg: float, height_m: float) -> None:
    lat, lon, height = geodetic(ecef(lat_deg, lon_deg, height_m))
    np.testing.assert_allclose(np.degrees([lat, lon]), [lat_deg, lon_deg], atol=1e-9)
    assert abs(height - height_m) < 1e-6
    frame = ecef_from_enu(ecef(lat_deg, lon_deg, height_m))
    np.testing.assert_allclose(frame[:3, :3], np.stack(axes(lat_deg, lon_deg), 1), atol=1e-9)
    assert np.linalg.det(frame[:3, :3]) > 0


def test_it_becomes_a_clip(whole: Path, tmp_path: Path) -> None:
    assert run(["ingest", str(whole), "-o", str(tmp_path / "clip"), "--start", "0.2s", "--every", "2"]) == 0
    clip = read_clip(tmp_path / "clip")
    assert len(clip.frames) == 4 and clip.name == "b0c9d2329ad1606b_2018-08-02--08-34-47_40"
    assert [number(clip.load_image(i, "road")) for i in range(4)] == [4, 6, 8, 10]
    assert clip.licence.startswith("MIT")


def test_without_the_video_the_preview_is_the_only_picture(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    segment = comma(tmp_path, with_video=False)
    recording = read_recording(segment)
    assert len(recording.frames) == 1 and recording.frames[0].images["road"].source == segment / "preview.png"
    assert "video.hevc is missing" in capfd.readouterr().err and recording.posed
    (segment / "preview.png").unlink()
    with pytest.raises(InputError, match=r"video.hevc: expected the segment's video, found no such file"):
        read_recording(segment)


# What is refused

DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no poses": (
        lambda s: (s / "global_pose/frame_orientations").unlink(),
        r"frame_orientations: expected an array \(.npy without the suffix\), found no such file",
    ),
    "fewer poses": (
        lambda s: array(s / "global_pose/frame_orientations", np.tile([1.0, 0, 0, 0], (5, 1))),
        r"frame_orientations: expected numbers \[12, 4\], found float64 \[5, 4\]",
    ),
    "poses cut short": (
        lambda s: cut_short(s / "global_pose/frame_positions"),
        r"frame_positions: expected an array \(.npy without the suffix\)",
    ),
    "no array": (lambda s: (s / "global_pose/frame_times").write_text("hello"), "frame_times: expected an array"),
    "not on earth": (
        lambda s: array(s / "global_pose/frame_positions", np.zeros((12, 3))),
        "frame_positions: expected ECEF metres of places on the ground, found 0 to 0 m",
    ),
    "NaN": (
        lambda s: array(s / "global_pose/frame_positions", np.full((12, 3), np.nan)),
        "frame_positions: expected finite numbers, found NaN or infinity in row 0",
    ),
    "no unit": (
        lambda s: array(s / "global_pose/frame_orientations", np.full((12, 4), 1.0)),
        "frame_orientations: expected unit quaternions w, x, y, z, found norms 2 to 2",
    ),
    "times backward": (
        lambda s: array(s / "global_pose/frame_times", 100 - 0.05 * np.arange(12)),
        "frames in order of time",
    ),
    "another size": (
        lambda s: video(s / "video.hevc", 12),
        "video.hevc: expected pictures of 1164x874 px, to which K belongs, found 96x64 px",
    ),
    "video cut short": (
        lambda s: comma(s.parent.parent, frames=15, with_video=False),  # the video stays
        "video.hevc: expected 15 pictures, as global_pose has it .*, found 12",
    ),
    "no video": (lambda s: (s / "video.hevc").write_bytes(b"hello" * 100), "video.hevc: expected a"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_one_line(tmp_path: Path, whole: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    segment = Path(shutil.copytree(whole, tmp_path / ROUTE / "40"))
    damage(segment)
    with pytest.raises(InputError, match=message) as raised:
        read_recording(segment)
    assert "\n" not in str(raised.value)


def test_other_folders_are_not_taken_for_it(tmp_path: Path) -> None:
    from jwmtool.readers import comma2k19

    (tmp_path / "global_pose").mkdir()
    assert not comma2k19.detects(tmp_path) and not comma2k19.detects(tmp_path / "none")
    with pytest.raises(InputError, match="comma2k19 segments"):
        read_recording(tmp_path, "comma2k19")


# A real segment (no video, one picture)


@pytest.fixture
def real(data_dir: Path) -> tuple[Recording, Path]:
    recording = read_recording(data_dir / "comma2k19_example1_poses")
    return recording, recording.path


def loaded(segment: Path, name: str) -> np.ndarray:
    return np.asarray(np.load(segment / name))


def real_poses(segment: Path) -> np.ndarray:
    """world_from_rig [1200, 4, 4] of the whole minute, though only one picture is there."""
    from jwmtool.readers.comma2k19 import _world_from_rig

    positions, quats = (loaded(segment, f"global_pose/frame_{n}") for n in ("positions", "orientations"))
    return np.stack(_world_from_rig(segment, positions, quats))


def test_real_velocities_point_along_the_rig_and_fit_the_path(real: tuple[Recording, Path]) -> None:
    """(7.93, 0.09, -0.48) forward, right, down at frame 0, as measured when the folder was made."""
    recording, segment = real
    assert len(recording.frames) == 1
    poses = real_poses(segment)
    np.testing.assert_allclose(recording.frames[0].world_from_rig, poses[0], atol=1e-9)
    enu_from_ecef = se3.inverse(ecef_from_enu(loaded(segment, "global_pose/frame_positions")[0]))[:3, :3]
    velocities = loaded(segment, "global_pose/frame_velocities") @ enu_from_ecef.T
    np.testing.assert_allclose(poses[0, :3, :3].T @ velocities[0], [7.93, -0.09, 0.48], atol=0.01)
    times_s = loaded(segment, "global_pose/frame_times")
    moved = np.gradient(poses[:, :3, 3], times_s, axis=0)
    assert np.linalg.norm(moved - velocities, axis=1).max() < 0.12
    assert np.ptp(poses[:, 2, 3]) < 0.03 * 1012  # a street is flatter than 3 %: up is up


def test_real_can_agrees_with_the_path(real: tuple[Recording, Path]) -> None:
    """Measured: speeds within 0.41 m/s; yaw rate and steering angle times speed correlate by 0.89, left positive."""
    from jwmtool.readers.comma2k19 import _can

    _, segment = real
    poses, times_s = real_poses(segment), loaded(segment, "global_pose/frame_times")
    can = _can(segment, times_s)["can"]
    speed_mps = np.linalg.norm(np.gradient(poses[:, :3, 3], times_s, axis=0), axis=1)
    assert np.abs(speed_mps - can["speed_mps"])[5:-5].max() < 0.6
    yaw_rate = np.gradient(np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0])), times_s)
    smooth = [np.convolve(x, np.ones(20) / 20, "valid") for x in (yaw_rate, speed_mps * can["steering_angle_deg"])]
    assert np.corrcoef(*smooth)[0, 1] > 0.8


def test_real_path_lies_in_its_lane(real: tuple[Recording, Path]) -> None:
    """On the road, 1.2 m below, the path is bare asphalt; 1.8 m aside are marks. Measured: 13; 39 left and 47 right."""
    recording, segment = real
    source = recording.frames[0].images["road"].source
    assert isinstance(source, Path)
    grey = read_image(source).astype(np.float32).mean(2)
    brighter = grey - cv2.GaussianBlur(grey, (0, 0), 25)
    poses = real_poses(segment)[20:90]

    def along(left_m: float) -> np.ndarray:
        points = poses[:, :3, 3] + poses[:, :3, :3] @ np.array([0.0, left_m, 0.0]) - [0, 0, 1.2]
        pixels, depth_m = camera(recording, 0).project(points)
        x, y = (pixels[(depth_m > 8) & (depth_m < 45)] - 0.5).astype(np.float32).T
        return np.asarray(cv2.remap(brighter, x[:, None], y[:, None], cv2.INTER_LINEAR))

    marks = [max(float(along(side * offset).max()) for offset in (1.6, 1.8, 2.0)) for side in (1, -1)]
    assert along(0.0).max() < 25 < min(marks)


def test_a_real_segment_becomes_a_clip_of_its_preview(data_dir: Path, tmp_path: Path) -> None:
    recording = read_recording(data_dir / "comma2k19_example1_poses", scene="40")
    clip = read_clip(ingest(recording, tmp_path / "clip", selection=Selection()))
    assert len(clip.frames) == 1 and clip.load_image(0, "road").shape == (874, 1164, 3)
