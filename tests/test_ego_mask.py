"""The own car is found in pictures where it is known to be, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jwmtool.readers import read_recording
from jwmtool.readers.ego_mask import MAX_PICTURES, find_ego_mask, with_ego_masks
from jwmtool.readers.recording import Recording, SourceCamera, SourceFrame, SourceImage

SIZE = (240, 144)
K = np.array([[200.0, 0, 120.0], [0, 200.0, 64.0], [0, 0, 1]])
FORWARD = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])  # a camera 1.5 m above the road

Picture = NDArray[np.uint8]


def drive(count: int = 24, step_m: float = 1.3, contrast: float = 1.0) -> list[Picture]:
    """Textured road with a dashed line in its middle, solid lines at 3 m, walls at 8 m, a featureless sky."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    right, down = (x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1]
    ground_m, wall_m = 1.5 / np.maximum(down, 1e-6), 8.0 / np.maximum(np.abs(right), 1e-6)
    depth = np.minimum(ground_m, wall_m)
    noise = np.random.default_rng(5).normal(size=(64, 64))
    pictures = []
    for i in range(count):
        along = depth + i * step_m
        side, height = right * depth, 1.5 - down * depth
        tile = noise[np.floor(along / 0.5).astype(int) % 64, np.floor((side + height) / 0.3).astype(int) % 64]
        gray = np.where(wall_m < ground_m, 120.0, 90.0) + contrast * 15 * tile * (depth < 60)
        dash = (np.abs(side) < 0.08) & (along % 9.0 < 4.0)
        gray[(ground_m < wall_m) & (dash | (np.abs(np.abs(side) - 3.0) < 0.08))] = 220
        gray[depth > 150] = 180
        gray[height > 6] = 180
        pictures.append(np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[..., None], 3, 2))
    return pictures


def bonnet(
    pictures: list[Picture], height: float, color: tuple[float, float, float], mirrored: float = 35.0
) -> tuple[list[Picture], NDArray[np.bool_]]:
    """Paint a vaulted bonnet that mirrors waves moving over it; return the pictures and where it is."""
    h, w = pictures[0].shape[:2]
    t = np.linspace(-1, 1, w)
    edge = h * (1 - height * (1 - 0.5 * t**2))
    rows = np.arange(h)[:, None] + 0.5
    cover = np.clip(rows - edge + 0.5, 0, 1)[..., None]
    painted = []
    for i, picture in enumerate(pictures):
        waves = np.sin(12 * t[None] + 1.3 * i + 40 * rows / h) + np.sin(5 * t[None] - 0.7 * i)
        body = np.clip(np.array(color) + 0.5 * mirrored * waves[..., None], 0, 255)
        painted.append((picture * (1 - cover) + body * cover).astype(np.uint8))
    return painted, rows > edge


def overlap(mask: NDArray[np.bool_] | None, own: NDArray[np.bool_]) -> float:
    """Intersection over union of what is masked and the own car."""
    assert mask is not None, "no own car found"
    return float((~mask & own).sum() / (~mask | own).sum())


def posed(pictures: list[Picture], step_m: float = 1.3, **camera: object) -> Recording:
    """A recording of one camera that drives along +x."""
    frames = []
    for i, picture in enumerate(pictures):
        pose = FORWARD.copy()
        pose[0, 3] = step_m * i
        frames.append(SourceFrame(i, np.eye(4), {"front": SourceImage(partial(np.copy, picture), i, pose)}))
    height, width = pictures[0].shape[:2]
    own = SourceCamera("front", K, width, height, FORWARD, **camera)  # type: ignore[arg-type]
    return Recording("drive", "test", Path("drive"), {"front": own}, frames)


@pytest.mark.parametrize("height", [0.1, 0.2])
@pytest.mark.parametrize("color", [(25.0, 25.0, 30.0), (150.0, 30.0, 30.0), (215.0, 215.0, 220.0)])
def test_a_mirroring_bonnet_is_found(height: float, color: tuple[float, float, float]) -> None:
    pictures, own = bonnet(drive(), height, color)
    mask = find_ego_mask(pictures, (120.0, 64.0, 1.0))
    assert overlap(mask, own) > 0.9


def test_a_road_without_own_car_has_none() -> None:
    assert find_ego_mask(drive(), (120.0, 64.0, 1.0)) is None
    assert find_ego_mask(drive(contrast=0.0), (120.0, 64.0, 1.0)) is None  # uniform asphalt never changes
    assert find_ego_mask(drive()) is None


def _line(picture: Picture) -> Picture:
    result = picture.copy()
    result[120:122] = 150  # a reflection in the windscreen: thin, road on both sides
    return result


def _black(picture: Picture) -> Picture:
    result = picture.copy()
    result[126:] = 3
    return result


def _vignette(picture: Picture) -> Picture:
    y = np.linspace(-1, 1, picture.shape[0])[:, None, None]
    return np.asarray(picture * (1 - 0.7 * y**4), np.uint8)


def _headlights(picture: Picture) -> Picture:
    x, y = np.meshgrid(np.linspace(-1, 1, picture.shape[1]), np.arange(picture.shape[0]) + 0.5)
    edge = 104.0 + 20.0 * x**2  # a step as soft as headlights make it, some 10 rows wide
    cone = 1 / (1 + np.exp(-(y - edge) / 2.2))[..., None]
    return np.asarray(picture * (0.1 + 0.9 * cone), np.uint8)


@pytest.mark.parametrize("change", [_line, _black, _vignette, _headlights])
def test_what_else_stays_is_no_car(change: object) -> None:
    assert callable(change)
    assert find_ego_mask([change(p) for p in drive()], (120.0, 64.0, 1.0)) is None


def test_a_car_that_stands_or_few_pictures_say_nothing() -> None:
    pictures, _ = bonnet(drive(), 0.2, (150.0, 30.0, 30.0))
    assert find_ego_mask([pictures[0]] * 24) is None
    assert find_ego_mask(pictures[:15]) is None
    assert with_ego_masks(posed(pictures, step_m=0.0)).cameras["front"].mask is None
    assert with_ego_masks(posed(pictures, step_m=0.1)).cameras["front"].mask is None
    with pytest.raises(ValueError, match="one size"):
        find_ego_mask([*pictures[:20], pictures[0][:-1]])


def test_masks_are_added_where_none_is(capfd: pytest.CaptureFixture[str]) -> None:
    pictures, own = bonnet(drive(), 0.2, (150.0, 30.0, 30.0))
    recording = posed(pictures)
    mask = with_ego_masks(recording).cameras["front"].mask
    assert isinstance(mask, np.ndarray) and overlap(mask, own) > 0.9
    assert "own car masked in front (" in capfd.readouterr().err
    assert with_ego_masks(recording, skip=("front",)).cameras["front"].mask is None
    given = np.ones((SIZE[1], SIZE[0]), bool)
    assert with_ego_masks(posed(pictures, mask=given)).cameras["front"].mask is given
    assert recording.cameras["front"].mask is None  # the input stays as it is


def test_few_pictures_are_decoded_however_long_the_drive(tmp_path: Path) -> None:
    pictures, own = bonnet(drive(48), 0.2, (150.0, 30.0, 30.0))
    decoded: list[int] = []

    def decode(index: int) -> Picture:
        decoded.append(index)
        return pictures[index % 48]

    recording = posed(pictures * 4)
    frames = [
        replace(f, images={"front": replace(f.images["front"], source=partial(decode, i))})
        for i, f in enumerate(recording.frames)
    ]
    with_ego_masks(replace(recording, frames=frames))
    assert decoded == list(range(MAX_PICTURES))  # a video is decoded in order: its beginning
    files = []
    for i, frame in enumerate(recording.frames):
        file = tmp_path / f"{i:04d}.png"
        if i % 8 in (0, 7):  # 192 frames, 32 of them spread evenly; the others are not there
            Image.fromarray(pictures[i % 48]).save(file)
        files.append(replace(frame, images={"front": replace(frame.images["front"], source=file)}))
    chosen = np.round(np.linspace(0, 191, MAX_PICTURES)).astype(int)
    for i in chosen:
        Image.fromarray(pictures[i % 48]).save(tmp_path / f"{i:04d}.png")
    mask = with_ego_masks(replace(recording, frames=files)).cameras["front"].mask
    assert isinstance(mask, np.ndarray) and overlap(mask, own) > 0.9


def test_large_pictures_are_reduced_and_the_mask_enlarged() -> None:
    pictures, own = bonnet(drive(), 0.2, (150.0, 30.0, 30.0))
    large = [np.asarray(Image.fromarray(p).resize((1200, 720), Image.Resampling.BICUBIC)) for p in pictures]
    mask = find_ego_mask(large, (600.0, 320.0, 1.0))
    assert mask is not None and mask.shape == (720, 1200)
    assert overlap(mask, np.repeat(np.repeat(own, 5, 0), 5, 1)) > 0.9


# Real recordings


def _video(file: Path) -> list[Picture]:
    with av.open(str(file)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def test_the_bonnet_of_a_dash_camera(data_dir: Path) -> None:
    """Read off the pictures by eye: its edge lies between rows 668 and 686 of 720, highest in the middle."""
    pictures = _video(data_dir / "udacity_vehicle_test_video" / "test_video.mp4")
    mask = find_ego_mask(pictures[:32])
    assert mask is not None
    first = mask.sum(0)
    assert (mask == (np.arange(720)[:, None] < first[None])).all()
    by_eye = {200: 685, 640: 668, 800: 669, 960: 675, 1060: 676}
    assert max(abs(int(first[x]) - y) for x, y in by_eye.items()) <= 8
    assert first.min() >= 650 and first.max() <= 690


def test_no_own_car_on_the_motorway_with_a_line_in_the_windscreen(data_dir: Path) -> None:
    pictures = _video(data_dir / "udacity_solidWhiteRight" / "solidWhiteRight.mp4")
    assert find_ego_mask(pictures[::7]) is None


@pytest.mark.parametrize("source", ["kitti_raw_0095_color/transforms_000-169.json", "kitti_odometry_stereo_A"])
def test_no_own_car_in_view_of_kitti(data_dir: Path, source: str) -> None:
    found = with_ego_masks(read_recording(data_dir / source))
    assert all(camera.mask is None for camera in found.cameras.values())


def test_a_bonnet_painted_into_kitti(data_dir: Path) -> None:
    recording = read_recording(data_dir / "kitti_raw_0095_color" / "transforms_000-169.json")
    files = [frame.images["camera_0"].source for frame in recording.frames[::6]]
    pictures = [np.asarray(Image.open(f).convert("RGB")) for f in files if isinstance(f, Path)]
    painted, own = bonnet(pictures, 0.15, (60.0, 80.0, 120.0))
    assert overlap(find_ego_mask(painted), own) > 0.9


def test_three_steps_keep_their_drawn_masks(data_dir: Path) -> None:
    recording = read_recording(data_dir / "dgp_ddad_scene_02" / "scene_02")
    found = with_ego_masks(recording)
    for name, camera in found.cameras.items():
        assert camera.mask is recording.cameras[name].mask
