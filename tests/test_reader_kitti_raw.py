"""KITTI raw: frames, pixel centers and boxes on a small drive; lidar against the edges of a real picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_kitti_raw import (
    ALTITUDE_M,
    CAM0_FROM_VELO,
    DAY,
    LAT_DEG,
    LIDAR_POINT,
    LON_DEG,
    RECTIFICATION,
    STEP_M,
    VELO_FROM_IMU,
    bare_extract,
    calibration,
    kitti_raw,
    packet,
    projection,
    tracklets,
)
from small_recordings import save

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.images import read_image
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.earth import mercator
from jwmtool.readers import detect, list_scenes, read_recording
from jwmtool.readers.ingest import ingest
from jwmtool.readers.recording import Recording
from jwmtool.readers.select import Selection


def camera(recording: Recording, frame: int, name: str) -> Camera:
    source = recording.cameras[name]
    return Camera(source.K, source.width, source.height, recording.frames[frame].images[name].world_from_cam)


def kitti_pixel(point_velo: np.ndarray, number: str) -> np.ndarray:
    """P_rect @ R_rect_00 @ (R X + T), as KITTI's readme has it; counted from pixel centers."""
    rectified = RECTIFICATION @ (CAM0_FROM_VELO[0] @ point_velo + CAM0_FROM_VELO[1])
    x, y, z = projection(number) @ np.append(rectified, 1.0)
    return np.array([x / z, y / z])


# Where a drive is found


def test_drive_day_and_root_are_known_and_scenes_chosen(tmp_path: Path) -> None:
    drive = kitti_raw(tmp_path / "raw", "0095", frames=2)
    kitti_raw(tmp_path / "raw", "0001", frames=2)
    for place in (drive, drive.parent, tmp_path / "raw"):
        assert detect(place) == "kitti-raw"
    names = [f"{DAY}_drive_0001_sync", f"{DAY}_drive_0095_sync"]
    assert list_scenes(tmp_path / "raw") == list_scenes(drive.parent) == names
    with pytest.raises(UsageError, match="no splits"):
        list_scenes(drive, split="train")
    for scene in ("0095", "95", f"{DAY}_drive_0095", names[1]):
        assert read_recording(tmp_path / "raw", scene=scene).name == names[1]
    assert read_recording(drive).name == names[1]
    with pytest.raises(InputError, match=r"one drive \(--scene chooses\), found 2011_09_26_drive_0001_sync, "):
        read_recording(tmp_path / "raw")
    with pytest.raises(InputError, match="a drive '0002', found 2011_09_26_drive_0001_sync"):
        read_recording(tmp_path / "raw", scene="0002")


# Conventions


def test_cameras_are_chained_from_the_imu_and_pixel_centers_are_at_integers(tmp_path: Path) -> None:
    recording = read_recording(kitti_raw(tmp_path))
    assert list(recording.cameras) == ["image_00", "image_01", "image_02", "image_03"]
    point = np.array(LIDAR_POINT)
    world = se3.apply(recording.lidar[2].world_from_lidar, point[None])
    for name in recording.cameras:
        source = recording.cameras[name]
        assert (source.K[0, 2], source.K[1, 2], source.distortion) == (33.5, 15.5, ())  # 33, 15 in the file
        pixel, _ = camera(recording, 2, name).project(world)
        np.testing.assert_allclose(pixel[0] - 0.5, kitti_pixel(point, name[-2:]), atol=1e-6)
    # Camera 1 is 0.54 m to the right of camera 0, in the rectified axes.
    cam0, cam1 = (recording.cameras[n].rig_from_cam for n in ("image_00", "image_01"))
    np.testing.assert_allclose((se3.inverse(cam0) @ cam1)[:3, 3], [0.54, 0, 0], atol=1e-9)


def test_world_is_east_north_up_at_the_first_packet(tmp_path: Path) -> None:
    recording = read_recording(kitti_raw(tmp_path))
    for i, frame in enumerate(recording.frames):
        np.testing.assert_allclose(frame.world_from_rig[:3, 3], [0, STEP_M * i, 0.1 * i], atol=1e-6)
        np.testing.assert_allclose(frame.world_from_rig[:3, 0], [0, 1, 0], atol=1e-9)  # yaw pi/2: north
    assert recording.extras["origin"]["latitude_deg"] == LAT_DEG
    # 14 m ahead of the velodyne, which is 0.81 m ahead of the IMU, 0.32 m to its right and 0.8 m above.
    ahead = se3.apply(recording.lidar[1].world_from_lidar, np.array([[14.0, 0, 0]]))
    np.testing.assert_allclose(ahead, [[0.32, STEP_M + 14 + 0.81, 0.1 + 0.8]], atol=1e-6)
    assert VELO_FROM_IMU[1].tolist() == [-0.81, 0.32, -0.80]


@pytest.mark.parametrize(
    ("angles", "axis", "expected"),
    [
        ((0.0, 0.0, 0.3), 0, [np.cos(0.3), np.sin(0.3), 0]),  # yaw: x from east to the left
        ((0.0, 0.1, 0.0), 0, [np.cos(0.1), 0, -np.sin(0.1)]),  # pitch: the front goes down
        ((0.2, 0.0, 0.0), 1, [0, np.cos(0.2), np.sin(0.2)]),  # roll: the left side goes up
        # All three: forward is pitched first, then turned.
        ((0.2, 0.1, 0.3), 0, [np.cos(0.3) * np.cos(0.1), np.sin(0.3) * np.cos(0.1), -np.sin(0.1)]),
    ],
)
def test_angles_of_a_packet(
    tmp_path: Path, angles: tuple[float, float, float], axis: int, expected: list[float]
) -> None:
    drive = kitti_raw(tmp_path, frames=2)
    packet(drive, 1, LAT_DEG, LON_DEG, ALTITUDE_M, *angles)
    pose = read_recording(drive).frames[1].world_from_rig
    np.testing.assert_allclose(pose[:3, axis], expected, atol=1e-9)


def test_mercator_is_true_to_scale_at_its_latitude() -> None:
    """Against arcs on the sphere: a hundredth of a degree each way."""
    step_deg = 0.01
    origin, east, north = (mercator(49.0 + dy, 8.4 + dx, 49.0) for dx, dy in ((0, 0), (step_deg, 0), (0, step_deg)))
    arc_m = np.radians(step_deg) * 6378137.0
    np.testing.assert_allclose(east - origin, [arc_m * np.cos(np.radians(49.0)), 0], atol=1e-6)
    np.testing.assert_allclose(north - origin, [0, arc_m], rtol=2e-4, atol=1e-6)


def test_times_keep_microseconds_and_a_sweep_has_its_middle(tmp_path: Path) -> None:
    recording = read_recording(kitti_raw(tmp_path))
    assert recording.frames[0].time_us == 1_317_042_145_964_389  # 2011-09-26 13:02:25.964389445
    assert recording.frames[1].time_us - recording.frames[0].time_us == 100_000
    assert recording.lidar[1].time_us - recording.frames[1].time_us == 6_000 - 4_389
    assert recording.lidar[0].load().tolist()[0] == [np.float32(v) for v in (*LIDAR_POINT, 0.5)]


def test_boxes_stand_on_their_bottom_and_lie_along_their_length(tmp_path: Path) -> None:
    drive = kitti_raw(tmp_path)
    tracklets(drive)
    recording = read_recording(drive)
    [track] = recording.tracks
    assert (track.category, track.size) == ("Van", (4.2, 1.7, 1.5))
    assert track.times_us.tolist() == [frame.time_us for frame in recording.frames[1:]]  # the last pose is past the end
    velo_from_box = se3.inverse(recording.lidar[2].world_from_lidar) @ track.world_from_box[1]
    np.testing.assert_allclose(velo_from_box[:3, 3], [19, 3, -1.73 + 0.75], atol=1e-6)
    np.testing.assert_allclose(velo_from_box[:3, 0], [0, 1, 0], atol=1e-6)  # x, its length, to the left


def test_it_becomes_a_clip_with_sweeps_and_boxes(tmp_path: Path) -> None:
    drive = kitti_raw(tmp_path)
    tracklets(drive)
    selection = Selection(start_s=0.1, duration_s=0.2, cameras=("image_02", "image_00"))
    clip = read_clip(ingest(read_recording(drive), tmp_path / "clip", selection=selection))
    assert len(clip.frames) == len(clip.lidar) == 2 and list(clip.cameras) == ["image_02", "image_00"]
    assert clip.load_image(0, "image_00").shape[2] == 3  # grey as RGB
    assert clip.licence.startswith("CC BY-NC-SA 3.0") and len(clip.tracks[0].times_us) == 2


# Without poses


def test_a_drive_without_oxts_gives_single_frames(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    drive = kitti_raw(tmp_path, oxts=False)
    recording = read_recording(drive)
    assert not recording.posed and "no oxts/data" in capfd.readouterr().err
    with pytest.raises(InputError, match="poses of the car, or one frame"):
        ingest(recording, tmp_path / "clip")
    clip = read_clip(ingest(recording, tmp_path / "clip", selection=Selection(start_s=0.2, duration_s=0.05)))
    assert len(clip.frames) == len(clip.lidar) == 1
    (drive.parent / "calib_imu_to_velo.txt").unlink()  # then the rig stands at the velodyne
    np.testing.assert_allclose(read_recording(drive).lidar[0].world_from_lidar, np.eye(4))


def test_a_bare_extract_gives_single_frames(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = bare_extract(tmp_path / "extract")
    assert detect(folder) == "kitti-raw" and list_scenes(folder) == ["extract"]
    recording = read_recording(folder)
    assert not recording.posed and "10 Hz" in capfd.readouterr().err
    pixel, _ = camera(recording, 3, "image_02").project(np.array([LIDAR_POINT]))
    np.testing.assert_allclose(pixel[0] - 0.5, kitti_pixel(np.array(LIDAR_POINT), "02"), atol=1e-6)
    clip = read_clip(ingest(recording, tmp_path / "clip", selection=Selection(start_s=0.3, duration_s=0.05)))
    assert len(clip.frames) == len(clip.lidar) == 1
    clip = read_clip(ingest(recording, tmp_path / "other", selection=Selection(start_s=0.1, duration_s=0.05)))
    assert not clip.lidar
    (folder / "calibration.json").write_text("{}")
    with pytest.raises(InputError, match="R_rect_00 of shape"):
        read_recording(folder)


# What is refused


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def row_of(file: Path, key: str) -> str:
    return next(line for line in file.read_text().splitlines() if line.startswith(f"{key}:"))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "picture missing": (
        lambda d: (d / "image_02/data/0000000002.png").unlink(),
        r"image_02/data: .*0000000003.png where number 2 should be",
    ),
    "pictures cut short": (
        lambda d: (d / "image_02/data/0000000003.png").unlink(),
        r"4 .png or .jpg files, one for each row of image_02/timestamps.txt, found 3",
    ),
    "packets cut short": (
        lambda d: (d / "oxts/data/0000000003.txt").unlink(),
        r"oxts/data: expected 4 .txt files, one for each picture, found 3",
    ),
    "packet cut": (lambda d: (d / "oxts/data/0000000001.txt").write_text("49.0 8.4"), "0000000001.txt: .*30 numbers"),
    "packet NaN": (lambda d: packet(d, 1, 49.0, 8.4, np.nan, 0, 0, 0), "0000000001.txt: .*found NaN"),
    "no calibration": (
        lambda d: (d.parent / "calib_cam_to_cam.txt").unlink(),
        r"calib_cam_to_cam.txt: .*calib.zip\), found no such file",
    ),
    "no imu calibration": (
        lambda d: (d.parent / "calib_imu_to_velo.txt").unlink(),
        r"calib_imu_to_velo.txt: .*found no such file",
    ),
    "row missing": (
        lambda d: edit(d.parent / "calib_cam_to_cam.txt", "P_rect_02", "P_02"),
        "P_rect_02 for image_02, found no such row",
    ),
    "row cut": (
        lambda d: edit(
            d.parent / "calib_cam_to_cam.txt", row_of(d.parent / "calib_cam_to_cam.txt", "R_rect_00"), "R_rect_00: 1 0"
        ),
        "9 numbers in row R_rect_00, found 2",
    ),
    "no rotation": (
        lambda d: edit(d.parent / "calib_velo_to_cam.txt", "R: 0.0", "R: 0.9"),
        "calib_velo_to_cam.txt: .*not a rotation",
    ),
    "no times": (lambda d: (d / "image_00/timestamps.txt").unlink(), "image_00/timestamps.txt: .*no such file"),
    "fewer times": (
        lambda d: (d / "image_03/timestamps.txt").write_text("2011-09-26 13:02:25.964389445\n"),
        "image_03/timestamps.txt: expected 4 times, as in image_00, found 1",
    ),
    "strange time": (
        lambda d: edit(d / "image_00/timestamps.txt", "2011-09-26", "26.9.2011"),
        "a time like 2011-09-26 13:02:25.964389445 in row 1",
    ),
    "times backward": (
        lambda d: edit(d / "image_00/timestamps.txt", "13:02:26.064", "13:02:25.064"),
        "frames in order of time",
    ),
    "unrectified": (
        lambda d: [save(f, 0, (80, 40)) for f in (d / "image_02/data").iterdir()],
        r"rectified pictures of 64x32 px \(S_rect_02, ..._sync\), found 80x40",
    ),
    "boxes cut": (
        lambda d: tracklets(d).write_text(tracklets(d).read_text()[:300]),
        "tracklet_labels.xml: expected XML",
    ),
    "boxes without length": (
        lambda d: edit(tracklets(d), "<l>4.2</l>", ""),
        "tracklet_labels.xml: expected a number <l> in tracklet 0, found None",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    drive = kitti_raw(tmp_path)
    damage(drive)
    with pytest.raises(InputError, match=message) as raised:
        read_recording(drive)
    assert "\n" not in str(raised.value)


def test_unsynced_drives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"synced and rectified drive .*found an unsynced"):
        read_recording(kitti_raw(tmp_path, kind="extract"))


def test_missing_sweeps_are_left_out_with_a_notice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As in drive 0009 of the first day, which lacks four."""
    drive = kitti_raw(tmp_path)
    (drive / "velodyne_points" / "data" / "0000000001.bin").unlink()
    recording = read_recording(drive)
    assert "1 of 4 sweeps missing, first 0000000001.bin" in capfd.readouterr().err
    assert [s.time_us - f.time_us for s, f in zip(recording.lidar, np.delete(recording.frames, 1), strict=True)] == [
        1611
    ] * 3
    (drive / "velodyne_points" / "data" / "0000000000.bin").write_bytes(b"12345")
    with pytest.raises(InputError, match="float32 x, y, z, reflectance"):
        recording.lidar[0].load()


def test_other_folders_are_not_taken_for_it(tmp_path: Path) -> None:
    from jwmtool.readers import kitti_raw as reader

    calibration(tmp_path / DAY)
    save(tmp_path / "image_02" / "0000.png")
    (tmp_path / "2013_05_28_drive_0000_sync" / "image_00" / "data_rect").mkdir(parents=True)  # KITTI-360
    assert not reader.detects(tmp_path) and not reader.detects(tmp_path / "none")
    with pytest.raises(InputError, match=r"KITTI raw drives .*found none"):
        read_recording(tmp_path, "kitti-raw")


# A real scan on a real picture


def edge_agreement(recording: Recording, turn: np.ndarray, shift_px: tuple[float, float] = (0.0, 0.0)) -> float:
    """Mean picture gradient where the scan of frame 30 jumps in depth: halfway from the near point to its neighbor."""
    image, sweep = recording.frames[30].images["image_02"], recording.lidar[1]
    assert sweep.time_us == image.time_us and isinstance(image.source, Path)
    grey = cv2.GaussianBlur(read_image(image.source).astype(np.float32).mean(2), (0, 0), 1)
    gradient = np.minimum(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)), 100)
    points = sweep.load()[:, :3].astype(np.float64)
    ranges_m = np.linalg.norm(points, axis=1)
    rays = points / ranges_m[:, None]
    close = (rays[1:] * rays[:-1]).sum(1) > np.cos(np.radians(0.5))  # neighbors of one beam
    middle = (rays[1:] + rays[:-1]) / 2
    jump_m = np.diff(ranges_m)
    edges = np.concatenate(
        [
            (ranges_m[:-1, None] * middle)[close & (jump_m > 1.5)],
            (ranges_m[1:, None] * middle)[close & (jump_m < -1.5)],
        ]
    )
    view = camera(recording, 30, "image_02")
    pixels, depth_m = view.moved(view.world_from_cam @ turn).project(se3.apply(sweep.world_from_lidar, edges))
    pixels = pixels + shift_px
    seen = (depth_m > 2) & (depth_m < 40) & (pixels > 3).all(1) & (pixels < [1238, 371]).all(1)
    assert seen.sum() > 200
    x, y = (pixels[seen] - 0.5).astype(np.float32).T  # OpenCV counts from pixel centers
    return float(cv2.remap(gradient, x[:, None], y[:, None], cv2.INTER_LINEAR).mean())


def test_depth_edges_of_a_real_scan_lie_on_picture_edges(data_dir: Path) -> None:
    """Measured: 64 as read; 57 and 52 four pixels aside, 57 and 54 pitched, 44 and 50 turned by a degree."""
    recording = read_recording(data_dir / "kitti_raw_0052_color_lidar")
    assert len(recording.frames) == 40 and len(recording.lidar) == 2 and not recording.posed
    straight = edge_agreement(recording, np.eye(4))
    for shift_px in ((-4.0, 0.0), (4.0, 0.0)):
        assert edge_agreement(recording, np.eye(4), shift_px) < straight - 4
    for axis in ([1.0, 0, 0], [0, 1.0, 0]):
        for angle_deg in (-1.0, 1.0):
            turn = np.eye(4)
            turn[:3, :3] = cv2.Rodrigues(np.radians(angle_deg) * np.array(axis))[0]
            assert edge_agreement(recording, turn) < straight - 4


def test_a_real_frame_becomes_a_clip_with_its_scan(data_dir: Path, tmp_path: Path) -> None:
    recording = read_recording(data_dir / "kitti_raw_0052_color_lidar")
    clip = read_clip(ingest(recording, tmp_path / "clip", selection=Selection(start_s=3.0, duration_s=0.05)))
    assert len(clip.frames) == len(clip.lidar) == 1 and clip.source["first_time_s"] == 3.0
