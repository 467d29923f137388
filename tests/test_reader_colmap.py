"""COLMAP models: text and binary in the true layout, and as COLMAP's own library writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_recordings import SIZE, save

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.images import read_image
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.readers import detect, list_scenes, read_recording
from jwmtool.readers.colmap_files import MODELS
from jwmtool.readers.ingest import ingest
from jwmtool.readers.recording import Hints, Recording

NUMBERS = {name: number for number, (name, _) in MODELS.items()}
HEIGHT = 0.3  # of the camera above the road, in the model's unit
STEP = 0.2
# The model's world stands askew: whatever is read must be turned back.
ASKEW = se3.from_quat([0.8, 0.3, -0.4, 0.2], [5.0, -3.0, 2.0])

Camera_ = tuple[int, str, tuple[float, ...]]  # id, model, parameters


def truth(index: int, left: float = 0.0) -> np.ndarray:
    """world_from_cam in a z-up world whose origin is the first camera, in the model's unit."""
    return se3.translation([STEP * index, left, 0.0]) @ se3.RIG_FROM_CAM_AXES


def road_points() -> np.ndarray:
    """[M, 3]: a road HEIGHT below the cameras, and walls on both sides that reach below nothing."""
    rng = np.random.default_rng(0)
    road = np.stack([rng.uniform(0, 3, 300), rng.uniform(-0.4, 0.4, 300), np.full(300, -HEIGHT)], 1)
    walls = np.stack([rng.uniform(0, 3, 300), rng.choice([-0.8, 0.8], 300), rng.uniform(-HEIGHT, 1, 300)], 1)
    return np.concatenate([road, walls])


def rows(
    names: list[str], cameras: list[int], lefts: list[float] | None = None
) -> list[tuple[str, int, np.ndarray, np.ndarray]]:
    """name, camera, quaternion wxyz and translation of cam_from_model; pictures of one name end stand side by side."""
    result = []
    for index, name in enumerate(names):
        number = int("".join(c for c in Path(name).stem if c.isdigit()) or index) % 100
        pose = se3.inverse(ASKEW @ truth(number, lefts[index] if lefts else 0.0))
        result.append((name, cameras[index], se3.to_quat(pose), pose[:3, 3]))
    return result


def write_text(folder: Path, cameras: list[Camera_], images: list, points: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    lines += [f"# Number of cameras: {len(cameras)}"]
    lines += [f"{n} {model} {SIZE[0]} {SIZE[1]} {' '.join(map(repr, p))}" for n, model, p in cameras]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:", f"# Number of images: {len(images)}, mean 2.0"]
    for i, (name, camera, quat, translation) in enumerate(images):
        values = " ".join(repr(float(v)) for v in (*quat, *translation))
        lines += [f"{i + 1} {values} {camera} {name}", "" if i else "10.5 20.25 -1 7.0 8.0 3"]  # an empty line counts
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list", f"# Number of points: {len(points)}, mean track length: 2"]
    lines += [f"{i + 1} {x!r} {y!r} {z!r} 200 100 {i % 256} 0.5 1 0 2 0" for i, (x, y, z) in enumerate(points.tolist())]
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def write_binary(folder: Path, cameras: list[Camera_], images: list, points: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = struct.pack("<Q", len(cameras))
    for number, model, params in cameras:
        data += struct.pack(f"<iiQQ{len(params)}d", number, NUMBERS[model], *SIZE, *params)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for i, (name, camera, quat, translation) in enumerate(images):
        data += struct.pack("<i7di", i + 1, *quat, *translation, camera) + name.encode() + b"\0"
        data += struct.pack("<Q", 1) + struct.pack("<ddq", 10.5, 20.25, -1)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(points))
    for i, point in enumerate(points.tolist()):
        data += struct.pack("<Q3d3BdQ4i", i + 1, *point, 200, 100, i % 256, 0.5, 2, 1, 0, 2, 0)
    (folder / "points3D.bin").write_bytes(data)


PINHOLE: list[Camera_] = [(1, "PINHOLE", (50.0, 51.0, 33.0, 15.0))]
WRITERS: list[Callable[..., None]] = [write_text, write_binary]


def project(
    root: Path,
    writer: Callable[..., None] = write_binary,
    names: list[str] | None = None,
    model: str = "sparse/0",
    cameras: list[Camera_] | None = None,
) -> Path:
    """A folder with images/ and a model of 6 pictures."""
    names = names or [f"frame_{i:04d}.jpg" for i in range(6)]
    for i, name in enumerate(names):
        save(root / "images" / name, i)
    points = se3.apply(ASKEW, road_points())
    writer(root / model, cameras or PINHOLE, rows(names, [1] * len(names)), points)
    return root


def camera(recording: Recording, frame: int, name: str = "camera") -> Camera:
    source = recording.cameras[name]
    return Camera(source.K, source.width, source.height, recording.frames[frame].images[name].world_from_cam)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("model", ["sparse/0", "sparse", ".", "colmap/sparse/0"])
def test_frame_pixels_and_points(tmp_path: Path, writer: Callable[..., None], model: str) -> None:
    recording = read_recording(project(tmp_path, writer, model=model), hints=Hints(camera_height_m=1.5))
    assert recording.format == "colmap" == detect(tmp_path)
    scale = 1.5 / HEIGHT
    for index, frame in enumerate(recording.frames):  # z up, x ahead, meters
        expected = se3.translation([scale * STEP * index, 0.0, 0.0])
        np.testing.assert_allclose(frame.world_from_rig, expected, atol=0.01 * scale)
        assert frame.time_us == 100_000 * index
    assert recording.frames[5].world_from_rig[0, 3] == pytest.approx(scale * STEP * 5, rel=0.01)
    # 10 m ahead, 1 m left, 1 m up: K as it is, centers at halves.
    pixel, depth = camera(recording, 0).project(np.array([[10.0, 1.0, 1.0]]))
    np.testing.assert_allclose(pixel[0], [33.0 - 5.0, 15.0 - 5.1], atol=1e-5)
    assert depth[0] == pytest.approx(10.0)
    assert recording.points is not None
    xyz, rgb = recording.points()
    np.testing.assert_allclose(xyz, scale * road_points(), atol=0.01 * scale)
    assert rgb[7].tolist() == [200, 100, 7]


def test_the_path_alone_tells_up_where_the_camera_is_pitched(tmp_path: Path) -> None:
    from jwmtool.readers.road_frame import upright

    pitched = np.eye(4)
    pitched[:3, :3] = Rotation.from_euler("x", -12, degrees=True).as_matrix()
    poses = np.stack([ASKEW @ truth(i) @ pitched for i in range(6)])
    frame = upright(poses)
    np.testing.assert_allclose(frame.rotation @ ASKEW[:3, 2], [0.0, 0.0, 1.0], atol=1e-9)
    turned = frame.poses(poses)
    assert np.degrees(np.arcsin(turned[0, 2, 2])) == pytest.approx(-12.0) or turned[0, 2, 2] > 0
    np.testing.assert_allclose(turned[:, 2, 3], 0.0, atol=1e-9)
    still = upright(np.repeat(poses[:1], 3, 0))  # no path: minus the mean y axis
    assert (still.rotation @ poses[0, :3, 1])[2] == pytest.approx(-1.0)


def test_without_a_height_the_scale_is_said_to_be_unknown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recording = read_recording(project(tmp_path))
    errors = capfd.readouterr().err
    assert "the scale is unknown" in errors and "10 Hz" in errors
    assert recording.frames[5].world_from_rig[0, 3] == pytest.approx(STEP * 5)
    with pytest.raises(UsageError, match="--intrinsics"):
        read_recording(tmp_path, hints=Hints(intrinsics=(1.0, 1.0, 1.0, 1.0)))


def test_without_a_road_a_height_is_refused(tmp_path: Path) -> None:
    points = se3.apply(ASKEW, np.array([[1.0, 3.0, 0.5], [2.0, -3.0, 0.7]]))
    folder = project(tmp_path)
    write_binary(folder / "sparse/0", PINHOLE, rows([f"frame_{i:04d}.jpg" for i in range(6)], [1] * 6), points)
    with pytest.raises(InputError, match="points of the road"):
        read_recording(folder, hints=Hints(camera_height_m=1.5))


@pytest.mark.parametrize("suffix", ["text", "binary"])
def test_what_colmaps_own_library_writes(tmp_path: Path, suffix: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction()
    made = pycolmap.Camera(camera_id=1, model="OPENCV", width=SIZE[0], height=SIZE[1])
    made.params = [50.0, 51.0, 33.0, 15.0, -0.2, 0.05, 0.001, -0.002]
    model.add_camera_with_trivial_rig(made)
    for i in range(4):
        save(tmp_path / "images" / f"{i:03d}.png", i)
        pose = se3.inverse(ASKEW @ truth(i))
        image = pycolmap.Image(name=f"{i:03d}.png", camera_id=1, image_id=i + 1)
        rotation = pycolmap.Rotation3d(pose[:3, :3])
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(rotation, pose[:3, 3]))
    for point in se3.apply(ASKEW, road_points()):
        model.add_point3D(point, pycolmap.Track(), np.array([9, 8, 7], np.uint8))
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    getattr(model, f"write_{suffix}")(folder)
    recording = read_recording(tmp_path, hints=Hints(camera_height_m=1.5))
    source = recording.cameras["camera"]
    assert source.distortion == (-0.2, 0.05, 0.001, -0.002) and source.model == "opencv"
    assert recording.frames[3].world_from_rig[0, 3] == pytest.approx(1.5 / HEIGHT * STEP * 3, rel=0.01)
    assert recording.points is not None and recording.points()[1][0].tolist() == [9, 8, 7]


LENSES = {
    "SIMPLE_PINHOLE": (50.0, 33.0, 15.0),
    "PINHOLE": (50.0, 51.0, 33.0, 15.0),
    "SIMPLE_RADIAL": (50.0, 33.0, 15.0, -0.2),
    "RADIAL": (50.0, 33.0, 15.0, -0.2, 0.05),
    "OPENCV": (50.0, 51.0, 33.0, 15.0, -0.2, 0.05, 0.001, -0.002),
    "FULL_OPENCV": (50.0, 51.0, 33.0, 15.0, -0.2, 0.05, 0.001, -0.002, 0.01, 0.02, 0.03, 0.004),
    "OPENCV_FISHEYE": (50.0, 51.0, 33.0, 15.0, 0.05, -0.02, 0.003, -0.001),
}


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("writer", WRITERS)
def test_lenses_are_undone_as_colmap_applies_them(tmp_path: Path, model: str, writer: Callable[..., None]) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    lens = pycolmap.Camera(model=model, width=SIZE[0], height=SIZE[1], params=LENSES[model])
    K = lens.calibration_matrix()
    folder = project(tmp_path, writer, cameras=[(1, model, LENSES[model])])
    # Pictures whose value is their place without the lens, as COLMAP says it: red by x, green by y.
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    ideal = np.array(lens.cam_from_img(np.stack([x, y], -1).reshape(-1, 2)), np.float64).reshape(SIZE[1], SIZE[0], 2)
    value = np.stack([ideal[..., 0] * K[0, 0] + K[0, 2], ideal[..., 1] * K[1, 1] + K[1, 2], 0 * x], -1)
    from PIL import Image

    for file in (folder / "images").iterdir():
        Image.fromarray(np.clip(value * 3, 0, 255).round().astype(np.uint8)).save(file.with_suffix(".png"))
        file.unlink()
    for file in (folder / "sparse/0").glob("images.*"):
        file.write_bytes(file.read_bytes().replace(b".jpg", b".png"))
    clip = read_clip(ingest(read_recording(folder), tmp_path / "clip"))
    image = clip.frames[0].images["camera"]
    pixels = read_image(clip.root / image.file).astype(float) / 3
    np.testing.assert_array_equal(clip.cameras["camera"].K, K)
    inside = (slice(6, 26), slice(12, 52))
    np.testing.assert_allclose(pixels[inside][..., 0], x[inside], atol=0.4)
    np.testing.assert_allclose(pixels[inside][..., 1], y[inside], atol=0.4)


@pytest.mark.parametrize("writer", WRITERS)
def test_other_lenses_are_refused_by_name(tmp_path: Path, writer: Callable[..., None]) -> None:
    folder = project(tmp_path, writer, cameras=[(1, "FOV", (50.0, 51.0, 33.0, 15.0, 0.9))])
    with pytest.raises(InputError, match=r"OPENCV_FISHEYE.*, found FOV"):
        read_recording(folder)


def test_rig_of_folders(tmp_path: Path) -> None:
    names = [f"{side}/{i:03d}.png" for side in ("cam_a", "cam_b") for i in (0, 2, 6)]
    for i, name in enumerate(names):
        save(tmp_path / "images" / name, i)
    cameras = [PINHOLE[0], (2, "SIMPLE_PINHOLE", (40.0, 32.0, 16.0))]
    images = rows(names, [1, 1, 1, 2, 2, 2], [0.0, 0.0, 0.0, -0.1, -0.1, -0.1])
    write_text(tmp_path / "sparse/0", cameras, images, se3.apply(ASKEW, road_points()))
    recording = read_recording(tmp_path, hints=Hints(camera_height_m=3.0))
    assert list(recording.cameras) == ["cam_a", "cam_b"]
    assert [f.time_us for f in recording.frames] == [0, 100_000, 300_000]  # the gap of a picture left out stays
    scale = 3.0 / HEIGHT
    mount = recording.cameras["cam_b"].rig_from_cam
    np.testing.assert_allclose(mount[:3, 3], [0.0, -0.1 * scale, 0.0], atol=0.02 * scale)
    np.testing.assert_allclose(mount[:3, :3], se3.RIG_FROM_CAM_AXES[:3, :3], atol=1e-9)
    assert recording.cameras["cam_b"].K[0, 0] == recording.cameras["cam_b"].K[1, 1] == 40.0


def test_times_in_file_names(tmp_path: Path) -> None:
    names = [f"1557539924467{i:03d}.jpg" for i in range(0, 60, 10)]
    recording = read_recording(project(tmp_path, names=names))
    assert [f.time_us for f in recording.frames[:3]] == [1557539924467000 + 10 * i for i in range(3)]


def test_several_models_need_a_scene(tmp_path: Path) -> None:
    project(tmp_path)
    project(tmp_path, model="sparse/1")
    assert list_scenes(tmp_path) == ["0", "1"]
    with pytest.raises(InputError, match="--scene to choose, found 0, 1"):
        read_recording(tmp_path)
    with pytest.raises(InputError, match="found 7: 0, 1"):
        read_recording(tmp_path, scene="7")
    assert read_recording(tmp_path, scene="1").name.endswith("-1")
    with pytest.raises(UsageError, match="--split"):
        list_scenes(tmp_path, split="train")


def test_newer_rigs_and_frames_do_not_matter(tmp_path: Path) -> None:
    folder = project(tmp_path)
    for name in ("rigs.bin", "frames.bin"):
        (folder / "sparse/0" / name).write_bytes(b"whatever")
    assert len(read_recording(folder).frames) == 6


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("part", ["cameras", "images"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_half_written_files(tmp_path: Path, writer: Callable[..., None], part: str, share: float) -> None:
    folder = project(tmp_path, writer)
    file = next((folder / "sparse/0").glob(f"{part}.*"))
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError) as error:
        read_recording(folder)
    assert file.name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("writer", WRITERS)
def test_half_written_points(tmp_path: Path, writer: Callable[..., None]) -> None:
    folder = project(tmp_path, writer)
    file = next((folder / "sparse/0").glob("points3D.*"))
    file.write_bytes(file.read_bytes()[:20_001])
    recording = read_recording(folder)
    assert recording.points is not None
    with pytest.raises(InputError, match=r"points3D.*cut off|points3D.*line"):
        recording.points()


def test_missing_files(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "images/frame_0003.jpg").unlink()
    with pytest.raises(InputError, match=r"frame_0003.jpg: expected all 6 pictures, found 1 are missing"):
        read_recording(folder)
    (folder / "images").rename(folder / "elsewhere")
    with pytest.raises(InputError, match=r"images/frame_0000.jpg beside or above"):
        read_recording(folder)
    (folder / "sparse/0/images.bin").unlink()
    with pytest.raises(InputError, match=r"images.bin or images.txt"):
        read_recording(folder)
    (folder / "sparse/0/cameras.bin").unlink()
    with pytest.raises(InputError, match="sparse/0"):
        read_recording(folder, "colmap")


def test_a_camera_of_its_own_for_every_picture_is_refused(tmp_path: Path) -> None:
    names = [f"{i:03d}.jpg" for i in range(40)]
    for name in names:
        save(tmp_path / "images" / name)
    cameras: list[Camera_] = [(i, "PINHOLE", (50.0, 51.0, 33.0, 15.0)) for i in range(40)]
    write_text(tmp_path, cameras, rows(names, list(range(40))), se3.apply(ASKEW, road_points()))
    with pytest.raises(InputError, match="single_camera_per_folder"):
        read_recording(tmp_path)
