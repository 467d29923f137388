"""Readers: conventions proven on small recordings in the true layouts, and on real ones by projection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from small_recordings import K, dgp, edit_json, kitti, nerfstudio, opengl_pose, save

from jwmtool.artifacts.images import read_image
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.readers import FORMATS, detect, read_recording
from jwmtool.readers.recording import Recording


def camera(recording: Recording, frame: int, name: str) -> Camera:
    source = recording.cameras[name]
    return Camera(source.K, source.width, source.height, recording.frames[frame].images[name].world_from_cam)


def test_detection(tmp_path: Path) -> None:
    assert detect(nerfstudio(tmp_path / "a").parent) == detect(tmp_path / "a" / "transforms.json") == "nerfstudio"
    assert detect(kitti(tmp_path / "b")) == detect(tmp_path / "b" / "sequences" / "00") == "kitti-odometry"
    assert detect(kitti(tmp_path / "c", official=False)) == "kitti-odometry"
    assert detect(dgp(tmp_path / "d" / "scene_02")) == detect(tmp_path / "d") == "dgp"
    (tmp_path / "e").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        detect(tmp_path / "e")
    (tmp_path / "e" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"nerfstudio .*kitti-odometry .*dgp"):
        detect(tmp_path / "e")
    with pytest.raises(InputError, match="no such file"):
        detect(tmp_path / "none")
    with pytest.raises(UsageError, match="--format"):
        read_recording(tmp_path, "rosbag")


@pytest.mark.parametrize("name", FORMATS)
def test_a_named_format_on_the_wrong_folder_is_an_input_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError):
        read_recording(tmp_path, name)


# nerfstudio


def test_nerfstudio_axes_and_pixel_centers_at_halves(tmp_path: Path) -> None:
    recording = read_recording(nerfstudio(tmp_path))
    source = recording.cameras["camera_0"]
    assert (source.K[0, 2], source.K[1, 2]) == (K["cx"], K["cy"])  # halves already: nothing added
    # 10 m ahead, 1 m to the left and 1 m up of the car: left of and above the principal point.
    pixel, depth = camera(recording, 0, "camera_0").project(np.array([[10.0, 1.0, 1.0]]))
    np.testing.assert_allclose(pixel[0], [K["cx"] - K["fl_x"] / 10, K["cy"] - K["fl_y"] / 10], atol=1e-9)
    assert depth[0] == pytest.approx(10.0)
    np.testing.assert_allclose(recording.frames[2].world_from_rig, se3.translation([1.0, 0, 0]), atol=1e-9)
    assert [f.time_us for f in recording.frames] == [0, 100_000, 200_000, 300_000, 400_000, 500_000]


def test_nerfstudio_without_times_takes_fps_or_10_hz(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def strip(document: dict[str, Any]) -> None:
        document["frames"] = [{k: v for k, v in f.items() if k != "time"} for f in document["frames"]][::-1]

    file = edit_json(nerfstudio(tmp_path), strip)
    recording = read_recording(file)
    assert "10 Hz" in capfd.readouterr().err
    assert recording.frames[1].time_us == 100_000
    assert str(recording.frames[1].images["camera_0"].source).endswith("0001.jpg")  # by name, not as listed
    assert read_recording(edit_json(file, lambda d: d.update(fps=25))).frames[1].time_us == 40_000


def test_nerfstudio_multi_camera_groups_by_time(tmp_path: Path) -> None:
    file = nerfstudio(tmp_path, frames=3)

    def add(document: dict[str, Any]) -> None:
        for i in range(3):
            save(tmp_path / "right" / f"{i}.png", i, (40, 20))
            pose = opengl_pose(0.5 * i)
            pose[1][3] = -0.5
            own = {"fl_x": 30.0, "fl_y": 30.0, "cx": 20.0, "cy": 10.0, "w": 40, "h": 20}
            entry = {"file_path": f"right/{i}", "time": i / 10, "transform_matrix": pose, "camera": "right", **own}
            document["frames"].append(entry)

    recording = read_recording(edit_json(file, add))
    assert list(recording.cameras) == ["camera_0", "right"] and len(recording.frames) == 3
    assert set(recording.frames[1].images) == {"camera_0", "right"}
    np.testing.assert_allclose(recording.cameras["right"].rig_from_cam[:3, 3], [0, -0.5, 0], atol=1e-9)
    assert recording.cameras["right"].width == 40
    assert Path(str(recording.frames[0].images["right"].source)).name == "0.png"  # extension found


def test_nerfstudio_scale_points_fisheye_and_masks(tmp_path: Path) -> None:
    columns = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    ply = "ply\nformat ascii 1.0\nelement vertex 2\n" + "".join(f"property {column}\n" for column in columns)
    (tmp_path / "sparse.ply").write_text(ply + "end_header\n2 0 0 255 0 0\n0 4 0 0 255 0\n")
    file = nerfstudio(
        tmp_path, ply_file_path="sparse.ply", applied_scale=2.0, camera_model="OPENCV_FISHEYE", k1=0.1, k4=-0.01
    )
    save(tmp_path / "mask.png", mode="L")
    edit_json(file, lambda d: d["frames"][1].update(mask_path="mask.png"))
    recording = read_recording(file)
    assert recording.points is not None
    xyz, rgb = recording.points()
    np.testing.assert_array_equal(xyz, [[1, 0, 0], [0, 2, 0]])
    np.testing.assert_array_equal(rgb, [[255, 0, 0], [0, 255, 0]])
    assert recording.frames[1].world_from_rig[0, 3] == pytest.approx(0.25)
    source = recording.cameras["camera_0"]
    assert source.model == "fisheye" and source.distortion == (0.1, 0.0, 0.0, -0.01) and source.distorted
    assert recording.frames[0].images["camera_0"].mask is None
    assert recording.frames[1].images["camera_0"].mask == tmp_path / "mask.png"


# KITTI odometry


def test_kitti_pixel_centers_at_integers_axes_and_baseline(tmp_path: Path) -> None:
    recording = read_recording(kitti(tmp_path), scene="00")
    assert list(recording.cameras) == ["image_0", "image_1", "image_2"]
    left, right = recording.cameras["image_0"], recording.cameras["image_1"]
    assert (left.K[0, 2], left.K[1, 2]) == (33.5, 15.5)  # KITTI's 33, 15 count from pixel centers
    np.testing.assert_allclose(right.rig_from_cam[:3, 3], [0, -0.54, 0], atol=1e-9)  # to the right of camera 0
    np.testing.assert_allclose(recording.cameras["image_2"].rig_from_cam[:3, 3], [0, 0.06, 0], atol=1e-9)
    # P1 of KITTI and our camera agree on a point of camera 0, but for the half pixel.
    point = np.array([1.0, 0.5, 8.0])
    pixel = camera(recording, 0, "image_1").project(se3.apply(se3.RIG_FROM_CAM_AXES, point[None]))[0][0]
    np.testing.assert_allclose(pixel - 0.5, [33 + 50 * (1.0 - 0.54) / 8, 15 + 50 * 0.5 / 8], atol=1e-6)
    np.testing.assert_allclose(recording.frames[2].world_from_rig, se3.translation([2.4, 0, 0]), atol=1e-9)
    assert recording.frames[1].time_us == 103_700
    ahead = se3.apply(recording.lidar[1].world_from_lidar, recording.lidar[1].load()[:1, :3].astype(float))
    np.testing.assert_allclose(ahead, [[1.2 + 10 - 0.27, 0, 0.08]], atol=1e-6)


def test_kitti_bare_extract(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recording = read_recording(kitti(tmp_path, official=False))
    assert list(recording.cameras) == ["image_l", "image_r"] and recording.licence.startswith("CC BY-NC-SA 3.0")
    assert recording.frames[1].time_us == 100_000 and "10 Hz" in capfd.readouterr().err


def test_kitti_refuses(tmp_path: Path) -> None:
    folder = kitti(tmp_path, official=False)
    (folder / "image_r" / "000002.png").unlink()
    with pytest.raises(InputError, match=r"000003.png where number 2 should be"):
        read_recording(folder)
    (folder / "image_r" / "000003.png").unlink()
    with pytest.raises(InputError, match=r"expected 4 images, one for each row of poses.txt, found 2"):
        read_recording(folder)
    poses = folder / "poses.txt"
    text = poses.read_text()
    for damaged, message in (
        (text.replace("1.2", "nan"), "row 2, found NaN"),
        (text.replace("1 0 0 0 0 1", "1 0.5 0 0 0 1"), "not a rotation"),
        (text + " 7", "12 numbers in row 4, found 13"),
        (text.replace("1.2", "far"), "numbers in row 2"),
        ("", "an empty file"),
    ):
        poses.write_text(damaged)
        with pytest.raises(InputError, match=message):
            read_recording(folder)


# DGP


@pytest.mark.parametrize("tenfold", [True, False])
def test_dgp_times_pixel_centers_and_boxes(tmp_path: Path, tenfold: bool) -> None:
    recording = read_recording(dgp(tmp_path / "scene_02", tenfold=tenfold))
    assert recording.frames[1].time_us - recording.frames[0].time_us == 100_000
    assert abs(recording.frames[0].time_us * 1e-6 / 31_557_600 + 1970 - 2019.49) < 0.01
    source = recording.cameras["CAMERA_01"]
    assert (source.K[0, 2], source.K[1, 2]) == (32.5, 15.5)  # integers in the file
    pixel, _ = camera(recording, 1, "CAMERA_01").project(np.array([[1.2 + 1.5 + 10.0, 1.0, 1.6]]))
    np.testing.assert_allclose(pixel[0], [32.5 - 5.0, 15.5], atol=1e-9)  # 1 m to the left
    assert camera(recording, 1, "CAMERA_09").project(np.array([[-5.0, 0, 1.5]]))[1][0] > 0  # looks back
    track = recording.tracks[0]
    assert (track.id, track.category, track.size) == ("42", "Car", (4.0, 2.0, 1.5))
    np.testing.assert_allclose(track.world_from_box[2][:3, 3], [12 + 2.4, 0, 0.8])
    assert recording.lidar[0].load().shape == (1, 4) and recording.lidar[0].load()[0, 3] == 9.0


def test_dgp_masks_of_the_folder_come_first(tmp_path: Path) -> None:
    folder = dgp(tmp_path / "scene_02")
    assert read_recording(folder).cameras["CAMERA_09"].mask is None  # another rig than DDAD's: no drawn mask
    mask = save(folder / "ego_mask" / "CAMERA_09.png", mode="L")
    assert read_recording(folder).cameras["CAMERA_09"].mask == mask


def test_dgp_refuses(tmp_path: Path) -> None:
    folder = dgp(tmp_path / "scene_02")
    file = folder / "scene_123.json"
    text = file.read_text()
    for change, message in (
        (lambda d: d["data"].pop(), "no such datum"),
        (lambda d: d["data"][1]["datum"]["image"].pop("pose"), "no key 'pose'"),
        (lambda d: d["data"][1]["datum"]["image"]["pose"]["rotation"].update(qw=float("nan")), "CAMERA_01, found NaN"),
        (lambda d: d["samples"].reverse(), "frames in order of time"),
        (lambda d: d.update(samples=[]), "at least one frame"),
        (lambda d: d["samples"][0].update(calibration_key="none"), "none.json: expected a JSON file"),
    ):
        file.write_text(text)
        edit_json(file, change)
        with pytest.raises(InputError, match=message):
            read_recording(folder)


# Real recordings: conventions by projection


def test_ddad_drawn_masks_cover_the_own_car(data_dir: Path) -> None:
    recording = read_recording(data_dir / "dgp_ddad_scene_02")
    masked = {n: 1 - float(np.mean(c.mask)) for n, c in recording.cameras.items() if isinstance(c.mask, np.ndarray)}
    assert set(masked) == {"CAMERA_05", "CAMERA_06", "CAMERA_07", "CAMERA_08", "CAMERA_09"}
    assert all(0.05 < share < 0.45 for share in masked.values())


def test_ddad_boxes_hold_lidar_points_along_their_length(data_dir: Path) -> None:
    recording = read_recording(data_dir / "dgp_ddad_scene_02")
    points = se3.apply(recording.lidar[0].world_from_lidar, recording.lidar[0].load()[:, :3].astype(np.float64))
    near = [t for t in recording.tracks if np.linalg.norm(t.world_from_box[0][:3, 3] - points.mean(0)) < 40]
    counts = []
    for track in near:
        local = np.abs(se3.apply(se3.inverse(track.world_from_box[0]), points))
        length, width, height = track.size
        along = (local <= np.array([length, width, height]) / 2).all(1).sum()
        across = (local <= np.array([width, length, height]) / 2).all(1).sum()
        counts.append((along, across))
    assert max(along for along, _ in counts) > 400
    assert all(along > 2 * across for along, across in counts if along > 50)


def _lidar_agreement(recording: Recording, first: str, second: str, turn: np.ndarray) -> float:
    """Correlation of brightness at lidar points that two cameras see at one time; `turn` is put onto the second."""
    values: list[np.ndarray] = []
    for index, sweep in enumerate(recording.lidar):
        points = se3.apply(sweep.world_from_lidar, sweep.load()[:, :3].astype(np.float64))
        columns = []
        for name, extra in ((first, np.eye(4)), (second, turn)):
            view = camera(recording, index, name)
            pixels, depth_m = view.moved(view.world_from_cam @ extra).project(points)
            inside = (depth_m > 1) & (pixels >= 2).all(1) & (pixels < np.array([view.width, view.height]) - 2.0).all(1)
            place = np.where(inside[:, None], pixels, 5.0)
            mask = recording.cameras[name].mask
            if isinstance(mask, np.ndarray):
                inside &= mask[place[:, 1].astype(int), place[:, 0].astype(int)]
            source = recording.frames[index].images[name].source
            assert isinstance(source, Path)
            grey = cv2.GaussianBlur(read_image(source).astype(np.float32).mean(2), (0, 0), 2)
            columns.append((map_coordinates(grey, [place[:, 1] - 0.5, place[:, 0] - 0.5], order=1), inside))
        both = columns[0][1] & columns[1][1]
        values.append(np.stack([column[both] for column, _ in columns]))
    joined = np.concatenate(values, 1)
    assert joined.shape[1] > 1000
    return float(np.corrcoef(joined)[0, 1])


@pytest.mark.parametrize("pair", [("CAMERA_01", "CAMERA_05"), ("CAMERA_06", "CAMERA_08"), ("CAMERA_07", "CAMERA_09")])
def test_ddad_cameras_agree_on_lidar_points(data_dir: Path, pair: tuple[str, str]) -> None:
    """Measured: 0.96, 0.80, 0.92 as read; at most 0.62, 0.67, 0.61 with the second camera pitched by 1 degree."""
    first, second = pair
    recording = read_recording(data_dir / "dgp_ddad_scene_02")
    straight = _lidar_agreement(recording, first, second, np.eye(4))
    assert straight > 0.75
    for angle_deg in (-1.0, 1.0):
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([np.radians(angle_deg), 0, 0]))[0]
        assert _lidar_agreement(recording, first, second, turn) < straight - 0.1


def _features(path: Any) -> tuple[np.ndarray, np.ndarray]:
    """SIFT in our pixels (OpenCV's count from pixel centers) and descriptors."""
    keypoints, descriptors = cv2.SIFT_create(2000).detectAndCompute(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), None)
    return np.array([k.pt for k in keypoints]) + 0.5, descriptors


def _matches(a: np.ndarray, b: np.ndarray) -> dict[int, int]:
    pairs = cv2.BFMatcher().knnMatch(a, b, k=2)
    return {m.queryIdx: m.trainIdx for m, n in pairs if m.distance < 0.7 * n.distance}


def test_kitti_stereo_points_land_in_the_next_frame(data_dir: Path) -> None:
    """Triangulated left-right, projected with the next pose. Measured: 0.38 px median; 9 px if the car stood still."""
    recording = read_recording(data_dir / "kitti_odometry_stereo_A")
    names = [(20, "image_l"), (20, "image_r"), (21, "image_l")]
    left, right, following = (_features(recording.frames[f].images[n].source) for f, n in names)
    stereo, temporal = _matches(left[1], right[1]), _matches(left[1], following[1])
    ids = [i for i in stereo if i in temporal and abs(left[0][i, 1] - right[0][stereo[i], 1]) < 1.5]
    ids = [i for i in ids if left[0][i, 0] - right[0][stereo[i], 0] > 3]
    views = [camera(recording, f, n) for f, n in names]
    projections = [v.K @ v.cam_from_world[:3] for v in views]
    seen = left[0][ids].T, right[0][[stereo[i] for i in ids]].T
    homogeneous = cv2.triangulatePoints(projections[0], projections[1], *seen).T
    points = homogeneous[:, :3] / homogeneous[:, 3:]
    target = following[0][[temporal[i] for i in ids]]
    assert len(ids) > 100
    assert np.median(np.linalg.norm(views[2].project(points)[0] - target, axis=1)) < 0.7
    assert np.median(np.linalg.norm(views[0].project(points)[0] - target, axis=1)) > 5


def test_kitti_raw_nerfstudio_epipolar_lines_and_points(data_dir: Path) -> None:
    """Measured: 0.19 px median distance to epipolar lines (15 px, poses swapped); SfM colors 24 off."""
    recording = read_recording(data_dir / "kitti_raw_0095_color" / "transforms_000-169.json")
    assert len(recording.frames) == 170 and recording.frames[99].time_us == 9_900_000
    views = [camera(recording, f, "camera_0") for f in (50, 55)]
    features = [_features(recording.frames[f].images["camera_0"].source) for f in (50, 55)]
    matched = _matches(features[0][1], features[1][1])
    a, b = features[0][0][list(matched)], features[1][0][list(matched.values())]
    assert np.median(_epipolar_px(views[0], views[1], a, b)) < 0.3
    assert (
        np.median(_epipolar_px(*(v.moved(w.world_from_cam) for v, w in zip(views, views[::-1], strict=True)), a, b)) > 3
    )
    with np.load(data_dir / "kitti_raw_0095_color" / "sfm_points_frames000-169.npz") as archive:
        xyz, rgb = archive["xyz"] @ se3.RIG_FROM_CAM_AXES[:3, :3].T, archive["rgb"].astype(float)
    pixels, depth_m = views[0].project(xyz)
    near = (depth_m > 2) & (depth_m < 25) & (pixels > 0).all(1) & (pixels < [1241, 374]).all(1)
    source = recording.frames[50].images["camera_0"].source
    assert isinstance(source, Path)
    image = read_image(source).astype(float)
    x, y = pixels[near].astype(int).T
    off = np.abs(image[y, x] - rgb[near]).mean()
    assert near.sum() > 500 and off < 40 < np.abs(image[y, np.roll(x, 7)] - rgb[near]).mean()


def _epipolar_px(first: Camera, second: Camera, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Symmetric distance [M] of matches a, b [M, 2] to each other's epipolar lines."""
    second_from_first = second.cam_from_world @ first.world_from_cam
    x, y, z = second_from_first[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ second_from_first[:3, :3]
    fundamental = np.linalg.inv(second.K).T @ essential @ np.linalg.inv(first.K)
    ha, hb = np.c_[a, np.ones(len(a))], np.c_[b, np.ones(len(b))]
    lines_b, lines_a = ha @ fundamental.T, hb @ fundamental
    norm = np.sqrt((lines_b[:, :2] ** 2).sum(1) + (lines_a[:, :2] ** 2).sum(1))
    return np.abs((hb * lines_b).sum(1)) / norm


def test_checks_name_camera_and_problem(tmp_path: Path) -> None:
    from jwmtool.readers.recording import checked

    good = read_recording(nerfstudio(tmp_path))
    for change, message in (
        ({"K": good.cameras["camera_0"].K * [[1], [-1], [1]]}, "focal lengths"),
        ({"distortion": (0.1, 0.2)}, "2 distortion coefficients"),
        ({"distortion": (float("nan"),) * 5}, "NaN or infinity in the distortion"),
    ):
        broken = replace(good, cameras={"camera_0": replace(good.cameras["camera_0"], **change)})
        with pytest.raises(InputError, match=f"camera camera_0 .*{message}"):
            checked(broken)
    with pytest.raises(InputError, match="camera names"):
        checked(replace(good, cameras={"a/b": good.cameras["camera_0"]}))
