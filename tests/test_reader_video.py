"""Video: the metric frame and scale breaks on made paths, what is refused, and a street from its pictures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from jwmtool.errors import InputError, MissingPartError, UsageError
from jwmtool.geometry import se3
from jwmtool.readers import detect, list_scenes, read_recording, road_frame, sfm, video
from jwmtool.readers.recording import Hints
from jwmtool.readers.sfm_features import Lens

RATE_HZ = 10.0


def made_path(speeds: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """times_s [N], centers [N, 3] of a camera 1.5 m above a bending road, points [M, 3] of road, walls, cars."""
    rng = np.random.default_rng(seed)
    s = np.concatenate([[0.0], np.cumsum(speeds / RATE_HZ)])
    heading = s / 300.0
    path = np.stack([300 * np.sin(heading), 300 * (1 - np.cos(heading)), 0.02 * s], 1)
    along = rng.uniform(0, s[-1], int(12 * s[-1]))
    side = rng.uniform(-8, 8, len(along))
    height = np.where(np.abs(side) < 3.5, rng.normal(0, 0.03, len(along)), rng.uniform(0, 5, len(along)))
    parked = rng.random(len(along)) < 0.1
    height = np.where(parked & (np.abs(side) > 1.8), rng.uniform(0, 1.5, len(along)), height)
    radius, angle = 300 - side, along / 300.0
    points = np.stack([radius * np.sin(angle), 300 - radius * np.cos(angle), 0.02 * along + height - 1.5], 1)
    return np.arange(len(path)) / RATE_HZ, path, points


def rescaled(path: np.ndarray, points: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A path whose unit is `factor[i]` from frame i to the next, with the points that lie along it."""
    nearest = np.linalg.norm(points[:, None, :2] - path[None, :, :2], axis=-1).argmin(1)
    steps = np.diff(path, axis=0) * factor[:-1, None]
    turned = path[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])
    return turned, turned[nearest] + (points - path[nearest]) * factor[nearest, None]


def noisy(path: np.ndarray, seed: int = 1) -> np.ndarray:
    return path + np.random.default_rng(seed).normal(0, 0.01, path.shape)


NUM = 200
LINKS = np.full(NUM, 400)


def breaks(
    times_s: np.ndarray, path: np.ndarray, points: np.ndarray, shared: np.ndarray = LINKS
) -> list[road_frame.Break]:
    return road_frame.scale_breaks(times_s, noisy(path), points, shared[: len(path) - 1])


@pytest.mark.parametrize("ratio", [2.0, 0.5, 1.5])
def test_a_jump_of_the_scale_is_found_where_it_is(ratio: float) -> None:
    times_s, path, points = made_path(np.full(NUM, 10.0))
    path, points = rescaled(path, points, np.where(np.arange(NUM + 1) < 100, 1.0, ratio))
    (found,) = breaks(times_s, path, points)
    assert abs(found.first - 100) <= 2 and 1 <= found.last - found.first <= 3
    assert found.ratio == pytest.approx(ratio, rel=0.05)
    assert any("speed" in cue for cue in found.cues) and any("road height" in cue for cue in found.cues)


@pytest.mark.parametrize(
    "factor",
    [
        np.ones(NUM + 1),
        np.linspace(1.0, 1.05, NUM + 1),
        np.linspace(1.0, 0.8, NUM + 1),
    ],
    ids=["sound", "drift of 5 %", "drift of 20 %"],
)
def test_drift_is_no_break(factor: np.ndarray) -> None:
    times_s, path, points = made_path(np.full(NUM, 10.0))
    assert breaks(times_s, *rescaled(path, points, factor)) == []


@pytest.mark.parametrize(
    "speeds",
    [
        5.0 + 3.0 * np.arange(NUM) / RATE_HZ,  # 3 m/s2 throughout
        np.clip(20.0 - 8.0 * (np.arange(NUM) - 100) / RATE_HZ, 0.5, 20.0),  # an emergency stop
        np.clip(2.0 * (np.arange(NUM) - 100) / RATE_HZ, 0.0, 12.0),  # stands, then starts
    ],
    ids=["accelerates", "brakes hard", "starts"],
)
def test_a_car_that_changes_its_speed_is_no_break(speeds: np.ndarray) -> None:
    times_s, path, points = made_path(speeds)
    assert breaks(times_s, path, points) == []


def test_times_that_jitter_are_no_break() -> None:
    times_s, path, points = made_path(np.full(20, 10.0))  # short: too little of the road before and after
    jittered = times_s + np.where(np.arange(21) % 2, 0.02, 0.0)
    assert breaks(jittered, path, points) == []
    path, points = rescaled(path, points, np.where(np.arange(21) < 10, 1.0, 2.0))
    assert len(breaks(times_s, path, points)) == 1


def test_pictures_that_the_video_dropped_are_no_break() -> None:
    speeds = np.full(NUM, 10.0)
    speeds[100:104] = 40.0
    times_s, path, points = made_path(speeds)
    assert breaks(times_s, path, points) == []


def test_speed_that_steps_at_a_weak_link_is_a_break_even_if_the_road_does_not() -> None:
    speeds = np.full(NUM, 10.0)
    speeds[96:105] = 38.0
    times_s, path, points = made_path(speeds)
    shared = LINKS.copy()
    shared[96:105] = 60
    (found,) = breaks(times_s, path, points, shared)
    assert 95 <= found.first <= 97 and 104 <= found.last <= 107
    assert any("60 shared" in cue for cue in found.cues)
    assert breaks(times_s, path, points, np.where(shared < 100, 350, shared)) == []


def test_without_a_link_the_scale_is_not_carried_over() -> None:
    times_s, path, points = made_path(np.full(NUM, 10.0))
    shared = LINKS.copy()
    shared[120] = 3
    assert [(b.first, b.last) for b in breaks(times_s, path, points, shared)] == [(120, 121)]


def test_the_height_of_the_road_among_walls_and_parked_cars() -> None:
    _, path, points = made_path(np.full(NUM, 10.0))
    heights = road_frame.heights_along(path, points, [(0, 201), (0, 50), (150, 201)])
    np.testing.assert_allclose(heights, 1.5, rtol=0.01)
    assert np.isnan(road_frame.heights_along(path, points[:5], [(0, 201)])).all()


def test_a_path_turned_and_scaled_comes_back() -> None:
    _, path, points = made_path(np.full(NUM, 10.0))
    poses = np.stack([se3.look_at(a, b) for a, b in pairwise(path)])
    askew = road_frame.Similarity(
        0.07, se3.from_quat([0.3, 0.8, -0.4, 0.2], np.zeros(3))[:3, :3], np.array([4.0, 5, 6])
    )
    frame = road_frame.upright(askew.poses(poses))
    centers, turned = frame.poses(askew.poses(poses))[:, :3, 3], frame.points(askew.points(points))
    (height,) = road_frame.heights_along(centers, turned, [(0, NUM)])
    frame = road_frame.scaled(frame, 1.5 / height)
    result = frame.poses(askew.poses(poses))
    assert np.linalg.norm(result[-1, :3, 3]) == pytest.approx(np.linalg.norm(path[-2] - path[0]), rel=0.01)
    np.testing.assert_allclose(result[0, :3, 3], 0.0, atol=1e-9)
    assert abs(result[0, 2, 2]) < 0.03 and result[0, 0, 2] > 0.99  # looks along x


# which pictures


def test_at_most_10_hz_unless_asked() -> None:
    times_us = (np.arange(250) * 40_000).astype(np.int64)
    assert np.diff(video.taken_pictures(times_us, 25.0, Hints())).tolist() == [3] * 83
    assert len(video.taken_pictures(times_us, 25.0, Hints(rate_hz=25.0))) == 250
    taken = video.taken_pictures(times_us, 25.0, Hints(start_s=2.0, duration_s=1.0, rate_hz=5.0))
    assert taken.tolist() == [50, 55, 60, 65, 70]
    assert np.diff(video.taken_pictures(times_us[::2], 12.5, Hints())).tolist() == [2] * 62
    assert len(video.taken_pictures(times_us[:38], 25.0, Hints())) == 38  # short: all
    assert len(video.taken_pictures((np.arange(30) * 100_500).astype(np.int64), 9.95, Hints())) == 30
    for hints, message in [
        (Hints(rate_hz=30.0), "--rate"),
        (Hints(start_s=20.0), "the video has 10 s"),
        (Hints(duration_s=-1.0), "--duration"),
    ]:
        with pytest.raises(UsageError, match=message):
            video.taken_pictures(times_us, 25.0, hints)


def write_video(path: Path, pictures: list[np.ndarray], rate: int = 10, **metadata: str) -> Path:
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(metadata)
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuv420p"
        stream.options = {"crf": "12", "preset": "veryfast"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return path


def texture(seed: int, width: int = 416, height: int = 256) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((height // k, width // k, 3)), (width, height)) for k in (4, 8, 16)]
    return (255 * np.clip(sum(layers) / 3, 0, 1)).astype(np.uint8)


# refusals


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("hello")
    assert detect(tmp_path / "notes.mp4") == "video"
    with pytest.raises(InputError, match=r"notes\.mp4"):
        read_recording(tmp_path / "notes.mp4")
    with pytest.raises(InputError, match="a folder"):
        read_recording(tmp_path, "video")
    with pytest.raises(UsageError, match="--split"):
        list_scenes(tmp_path / "notes.mp4", split="train")


def test_too_few_pictures(tmp_path: Path) -> None:
    file = write_video(tmp_path / "short.mp4", [texture(i) for i in range(5)])
    with pytest.raises(InputError, match="at least 8 pictures in the stretch, found 5"):
        read_recording(file)


def test_a_car_that_stands(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    file = write_video(tmp_path / "stands.mp4", [texture(0)] * 10)
    with pytest.raises(InputError, match="the car stands"):
        read_recording(file)


def test_pictures_without_texture(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    file = write_video(tmp_path / "fog.mp4", [np.full((256, 416, 3), 120 + i, np.uint8) for i in range(10)])
    with pytest.raises(InputError, match="no texture"):
        read_recording(file)


def test_pictures_that_have_nothing_in_common(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    file = write_video(tmp_path / "cuts.mp4", [texture(i) for i in range(10)])
    with pytest.raises(InputError):
        read_recording(file, hints=Hints(intrinsics=(300.0, 300.0, 208.0, 128.0)))


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycolmap", None)
    file = write_video(tmp_path / "a.mp4", [texture(0)] * 10)
    with pytest.raises(MissingPartError, match=r"jwmtool\[sfm\]"):
        read_recording(file)
    with pytest.raises(InputError, match="no such file"):  # what is wrong with the path comes first
        video.read(tmp_path / "none.mp4")


def test_a_focal_length_in_the_container(tmp_path: Path) -> None:
    key = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
    file = write_video(tmp_path / "phone.mp4", [texture(0)] * 3, **{key: "26"})
    assert video._stated_focal(file) == pytest.approx(26 / 36)
    assert video._stated_focal(write_video(tmp_path / "other.mp4", [texture(0)] * 3)) is None


def fake_solution(count: int, registered: list[np.ndarray]) -> sfm.Solution:
    parts = []
    for frames in registered:
        _, path, points = made_path(np.full(len(frames) - 1, 10.0))
        poses = np.stack([se3.translation(p) @ se3.RIG_FROM_CAM_AXES for p in path])
        nearest = np.linalg.norm(points[:, None, :2] - path[None, :, :2], axis=-1).argmin(1)
        parts.append(
            sfm.Path3d(
                frames=frames,
                world_from_cams=poses,
                xyz=points,
                rgb=np.zeros((len(points), 3), np.uint8),
                seen=np.stack([nearest, nearest], 1),
                shared=np.full(len(frames) - 1, 400),
                lens=Lens(300.0, 208.0, 128.0, -0.1),
                error_px=0.5,
            )
        )
    return sfm.Solution(parts, 9.0)


def test_too_few_poses_are_refused_with_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_video(tmp_path / "half.mp4", [texture(0)] * 40)
    monkeypatch.setattr(video, "solve", lambda *_: fake_solution(40, [np.arange(5, 30)]))
    with pytest.raises(InputError, match=r"70% of 40 pictures, found 25: 0.5-2.9 s"):
        read_recording(file)


def test_segments_are_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_video(tmp_path / "cut drive.mp4", [texture(0)] * 40)
    calls = []

    def solve(*arguments: object) -> sfm.Solution:
        calls.append(arguments)
        return fake_solution(40, [np.arange(13, 40), np.arange(0, 12)])

    monkeypatch.setattr(video, "solve", solve)
    assert list_scenes(file) == ["0", "1"]
    recording = read_recording(file)  # the longest
    assert len(calls) == 1  # solved once
    assert recording.name == "cut_drive-1" and recording.frames[0].time_us == 1_300_000
    errors = capfd.readouterr().err
    assert "segments 0: 0.0-1.1 s, 1: 1.3-3.9 s; 1 is taken" in errors
    assert "1.5 m above the road is assumed" in errors and "focal length 300 px (+- 9)" in errors
    recording = read_recording(file, scene="0", hints=Hints(camera_height_m=3.0))
    assert len(recording.frames) == 12 and recording.extras["scale"]["source"] == "camera height"
    assert recording.frames[11].world_from_rig[0, 3] == pytest.approx(2 * 11.0, rel=0.02)  # twice as high, twice as far
    assert recording.cameras["front"].distortion == (-0.1, 0.0, 0.0, 0.0)
    assert recording.extras["intrinsics"] == {
        "source": "estimated", "focal_px": 300.0, "focal_sigma_px": 9.0, "k1": -0.1,
    }  # fmt: skip
    with pytest.raises(InputError, match="--scene among 0, 1, found '2'"):
        read_recording(file, scene="2")


# a whole street


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray], np.ndarray]:
    """A video of a ray-cast street, its true poses and K."""
    from street import street_images

    images, cameras, _ = street_images(num_frames=18, width=416, height=256, supersampling=1)
    file = write_video(tmp_path_factory.mktemp("street") / "street.mp4", images)
    return file, [camera.world_from_cam for camera in cameras], cameras[0].K


def test_a_street_from_its_pictures(street: tuple[Path, list[np.ndarray], np.ndarray]) -> None:
    pytest.importorskip("pycolmap")
    from street import CAMERA_HEIGHT_M

    file, truth, K = street
    intrinsics = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    recording = read_recording(file, hints=Hints(intrinsics=intrinsics, camera_height_m=CAMERA_HEIGHT_M))
    np.testing.assert_allclose(recording.cameras["front"].K, K)
    assert len(recording.frames) >= 16
    found = np.stack([frame.images["front"].world_from_cam for frame in recording.frames])
    taken = [round(frame.time_us / 100_000) for frame in recording.frames]
    expected = se3.inverse(truth[taken[0]]) @ np.stack([truth[i] for i in taken])
    measured = se3.inverse(found[0]) @ found
    length = np.linalg.norm(expected[-1, :3, 3])
    errors = np.linalg.norm(measured[:, :3, 3] - expected[:, :3, 3], axis=1)
    assert np.median(errors) < 0.05 * length  # scale from the road included
    turns = np.degrees(
        np.arccos(np.clip((np.einsum("nij,nij->n", measured[:, :3, :3], expected[:, :3, :3]) - 1) / 2, -1, 1))
    )
    assert turns.max() < 0.5
    assert recording.points is not None and len(recording.points()[0]) > 100
    picture = recording.frames[3].images["front"].source
    assert callable(picture) and picture().shape == (256, 416, 3)
