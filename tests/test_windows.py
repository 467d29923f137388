"""Windows of a protocol, regions that move, depth against the truth of worlds, and `jwm score` with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_world import fake_world
from hypothesis import given, settings
from hypothesis import strategies as st
from street_scene import lifted_scene, street_clip

from jwmtool.artifacts.clip import Clip, ClipCamera, ClipFrame, ClipImage, LidarSweep, Split, Track
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_io import write_scene
from jwmtool.artifacts.tracks import box_at, corners, speed_mps
from jwmtool.artifacts.truth import read_truth
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.metrics.depth import depth_truth, true_depth
from jwmtool.metrics.image import image_scores
from jwmtool.metrics.moving import box_mask, fill_box, instance_mask, moving_regions
from jwmtool.metrics.protocol import score_frames_on_clip, score_scene
from jwmtool.metrics.window_protocol import score_windows
from jwmtool.metrics.windows import Window, scene_files, window_clip, windows
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec
from jwmtool.worlds.world import make_world

SH_C0 = 0.28209479177387814
CONTEXT, SCORED = (0, 5, 10, 15), tuple(i for i in range(20) if i % 5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """45 frames of a plane and boxes: a car at the ego's speed, a lorry that stands, somebody who walks at 1.4 m/s."""
    spec = WorldSpec("city", 7, 4.5, 10.0, 96, 64)
    return read_clip(write_world(fake_world(spec, "stereo"), tmp_path_factory.mktemp("w") / "clip"))


@pytest.fixture(scope="module")
def scenes(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for window in windows(clip):
        write_scene(lifted(window_clip(clip, window)), folder / f"{window.first:06d}.h5")
    return folder


def lifted(clip: Clip) -> Scene:
    """The true depth and colors of what stands in the pictures that are given; movers are left out."""
    points, colors, sizes = [], [], []
    for frame, name in clip.images(withheld=False):
        camera, depth = clip.camera_at(frame, name), read_truth(clip, frame, name, ["depth"])["depth"].astype(float)
        seen = np.isfinite(depth) & (depth < 100) & ~instance_mask(clip, frame, name)
        points.append(camera.world_from_cam[:3, 3] + camera.rays()[seen] * depth[seen][:, None])
        colors.append(clip.load_image(frame, name)[seen] / 255.0)
        sizes.append(depth[seen] / camera.K[0, 0])
    world_from_scene = clip.world_from_rig[0]
    means = torch.from_numpy(se3.apply(se3.inverse(world_from_scene), np.concatenate(points))).float()
    count = len(means)
    return Scene(
        Gaussians.static(
            means,
            torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
            torch.from_numpy(np.concatenate(sizes)).float()[:, None].repeat(1, 3) * 0.5,
            torch.full((count,), 0.9),
            (torch.from_numpy(np.concatenate(colors)).float() - 0.5)[:, None] / SH_C0,
        ),
        world_from_scene,
        time_origin_us=int(clip.times_us[0]),
        sky=torch.tensor([120, 160, 220]).div(255.0).expand(6, 4, 4, 3).contiguous(),
        cameras=clip.cameras,
        ego_times_us=clip.times_us,
        ego_world_from_rig=clip.world_from_rig,
    )


def bare_clip(num_frames: int, rate_hz: float = 10.0) -> Clip:
    """A clip without files."""
    model = ClipCamera("front", np.array([[100.0, 0, 48], [0, 100, 32], [0, 0, 1]]), 96, 64, se3.RIG_FROM_CAM_AXES)
    frames = []
    for i in range(num_frames):
        time_us = round(i * 1e6 / rate_hz)
        frames.append(ClipFrame(time_us, np.eye(4), {"front": ClipImage("front", f"{i}.png", time_us, np.eye(4))}))
    return Clip(Path("clip"), "bare", {}, "", {"front": model}, frames)


# windows


@pytest.mark.parametrize(
    ("num_frames", "firsts"), [(20, [0]), (39, [0]), (40, [0, 20]), (198, list(range(0, 180, 20)))]
)
def test_windows_follow_each_other_and_never_overrun(num_frames: int, firsts: list[int]) -> None:
    found = windows(bare_clip(num_frames))
    assert [w.first for w in found] == firsts
    assert all((w.context, w.scored, w.length) == (CONTEXT, SCORED, 20) for w in found)


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(InputError, match="at least 20 frames"):
        windows(bare_clip(19))
    with pytest.raises(InputError, match="10 frames a second"):
        windows(bare_clip(40, rate_hz=5.0))
    assert len(windows(bare_clip(40, rate_hz=9.65))) == 2
    assert len(windows(bare_clip(40, rate_hz=2.0), rate_hz=None)) == 2
    for context in ((), (0, 20), (0, 0), (-1,), tuple(range(20))):
        with pytest.raises(UsageError, match="context"):
            windows(bare_clip(40), context=context)


def test_a_windows_clip_shows_nothing_else(clip: Clip) -> None:
    window = windows(clip)[1]
    part = window_clip(clip, window)
    assert [f.time_us for f in part.frames] == [f.time_us for f in clip.frames[20:40]]
    assert part.images(withheld=False) == [(i, name) for i in CONTEXT for name in clip.cameras]
    assert part.images(withheld=True) == [(i, name) for i in SCORED for name in clip.cameras]
    for frame, name in zip((0, 7), clip.cameras, strict=True):
        assert np.array_equal(part.load_image(frame, name), clip.load_image(20 + frame, name))
        assert np.array_equal(read_truth(part, frame, name)["depth"], read_truth(clip, 20 + frame, name)["depth"])
    with pytest.raises(InputError, match="truth of frame 20"):
        read_truth(part, 20, next(iter(clip.cameras)))
    assert part.extras["actions"]["speed_mps"] == clip.extras["actions"]["speed_mps"][20:40]
    assert part.extras["truth"]["classes"] == clip.extras["truth"]["classes"]
    with pytest.raises(ValueError, match="20 frames from 30 on, of 45"):
        window_clip(clip, replace(window, first=30))


def test_a_windows_clip_has_neither_lidar_nor_points_of_other_frames(clip: Clip) -> None:
    sweep = LidarSweep("x.npy", 0, np.eye(4))
    times = [1_900_000, 1_960_000, 2_000_000, 3_940_000, 3_960_000, 9_000_000]
    part = window_clip(
        replace(clip, lidar=[replace(sweep, time_us=t) for t in times], points="p.npz"), windows(clip)[1]
    )
    assert [s.time_us for s in part.lidar] == [1_960_000, 2_000_000, 3_940_000]
    assert part.points is None


def test_a_camera_withheld_at_ingest_stays_so(clip: Clip) -> None:
    left, right = clip.cameras
    part = window_clip(replace(clip, split=Split(frames=(0, 1), cameras=(right,))), windows(clip)[0])
    assert list(part.cameras) == [left]
    assert part.images(withheld=False) == [(i, left) for i in CONTEXT]
    assert part.images(withheld=True) == [(i, left) for i in SCORED]


def test_scenes_are_found_by_their_windows(tmp_path: Path) -> None:
    found = windows(bare_clip(60))
    for name in ("000000.h5", "20.h5"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"no 000040\.h5"):
        scene_files(tmp_path, found)
    (tmp_path / "40.h5").touch()
    assert {k: p.name for k, p in scene_files(tmp_path, found).items()} == {0: "000000.h5", 20: "20.h5", 40: "40.h5"}
    for name in ("000020.h5", "10.h5", "best.h5"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=name):
            scene_files(tmp_path, found)
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="folder with a scene for each window"):
        scene_files(tmp_path / "20.h5", found)
    assert scene_files(tmp_path / "20.h5", found[:1]) == {0: tmp_path / "20.h5"}


# moving regions


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_a_boxs_outline_is_where_rays_hit_it(seed: int) -> None:
    """Boxes ahead, askew, cut by the picture's edge, and reaching behind the camera."""
    rng = np.random.default_rng(seed)
    camera = Camera(
        np.array([[40.0, 0, 30], [0, 44, 18], [0, 0, 1]]),
        60,
        40,
        se3.from_quat(rng.normal(size=4), rng.normal(size=3) * 50),
    )
    pose = camera.world_from_cam @ se3.from_quat(rng.normal(size=4), rng.uniform((-6, -4, -1), (6, 4, 15)))
    size = tuple(rng.uniform(0.4, 6.0, 3))
    mask = np.zeros((40, 60), bool)
    fill_box(mask, camera, corners(pose, size))
    origin = se3.apply(se3.inverse(pose), camera.world_from_cam[:3, 3][None])[0]
    rays = camera.rays() @ pose[:3, :3]  # in the box's frame, of unit depth
    with np.errstate(divide="ignore"):
        a, b = (-0.5 * np.array(size) - origin) / rays, (0.5 * np.array(size) - origin) / rays
    near, far = np.minimum(a, b).max(-1), np.minimum(np.maximum(a, b).min(-1), np.inf)
    hit = far > np.maximum(near, 0.1)
    grazed = np.abs(far - np.maximum(near, 0.1)) < 1e-3 * np.maximum(np.abs(far), 1.0)
    assert (mask == hit)[~grazed].all()


def test_only_what_is_fast_is_masked(clip: Clip) -> None:
    """The world's bodies are boxes, so that the hull of an unhidden one is exactly what the picture shows of it."""
    name = next(iter(clip.cameras))
    assert {t.id: round(speed_mps(t, 500_000), 6) for t in clip.tracks} == {
        "car_00": 6,
        "lorry_01": 0,
        "pedestrian_02": 1.4,
    }
    instance = read_truth(clip, 4, name, ["instance"])["instance"]
    boxes, exact = box_mask(clip, 4, name), instance_mask(clip, 4, name)
    assert np.array_equal(exact, (instance == 1) | (instance == 3))
    assert exact.any() and not (boxes & (instance == 2)).any()
    assert np.array_equal(boxes, exact)
    slow = [replace(t, world_from_box=np.repeat(t.world_from_box[:1], len(t.times_us), 0)) for t in clip.tracks]
    assert not box_mask(replace(clip, tracks=slow), 4, name).any()
    assert not instance_mask(replace(clip, tracks=slow), 4, name).any()


def test_regions_are_those_that_can_be_known(clip: Clip) -> None:
    name = next(iter(clip.cameras))
    assert set(moving_regions(clip, 0, name)) == {"moving_box", "moving_exact"}
    assert set(moving_regions(replace(clip, extras={}), 0, name)) == {"moving_box"}
    assert moving_regions(replace(clip, tracks=[]), 0, name) == {}


def test_a_track_has_a_place_and_a_size_for_its_time_only() -> None:
    times = np.array([0, 500_000, 1_000_000, 3_000_000])
    poses = np.stack([se3.translation((x, 0.0, 0.0)) for x in (0.0, 5.0, 5.0, 5.0)])
    sizes = np.array([[1.0, 1, 1], [2, 1, 1], [1, 1, 1], [1, 1, 1]])
    track = Track("a", "car", (2.0, 1.0, 1.0), times, poses, sizes)
    pose = box_at(track, 250_000)
    assert pose is not None and pose[0, 3] == pytest.approx(2.5)
    assert box_at(track, 2_000_000) is None, "a second away from either pose"
    assert box_at(track, -50_000) is not None and box_at(track, 3_100_000) is None
    assert [speed_mps(track, t) for t in (250_000, 500_000, 800_000)] == pytest.approx([10.0, 5.0, 0.0])
    assert speed_mps(replace(track, times_us=times[:1], world_from_box=poses[:1]), 0) == 0.0


def test_regions_score_their_own_pixels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(50, 200, (40, 60, 3), dtype=np.uint8)
    image, region = truth.copy(), np.zeros((40, 60), bool)
    region[10:20, 20:40] = True
    image[region] += 10
    scores = image_scores(image, truth, regions={"a": region, "b": ~region, "none": np.zeros_like(region)})
    assert scores["a_psnr"] == pytest.approx(20 * np.log10(25.5))
    assert scores["b_psnr"] == pytest.approx(120.0)
    assert scores["a_ssim"] < scores["ssim"] < scores["b_ssim"]
    assert not any(name.startswith("none") for name in scores)
    mask = np.ones_like(region)
    mask[10:20, 20:30] = False
    image[10:20, 20:30] = 0
    assert image_scores(image, truth, mask, regions={"a": region})["a_psnr"] == pytest.approx(20 * np.log10(25.5))
    mask[:, 30:39] = False
    assert "a_psnr" not in image_scores(image, truth, mask, regions={"a": region}), "10 px left"
    assert set(image_scores(image, truth, None, (), {"a": region}, ("psnr",))) == {"a_psnr"}


# depth


def test_the_worlds_truth_and_lidar_agree_about_depth(clip: Clip) -> None:
    name = next(iter(clip.cameras))
    assert (depth_truth(clip), depth_truth(replace(clip, extras={})), depth_truth(bare_clip(1))) == (
        "world",
        "lidar",
        None,
    )
    exact, lidar = true_depth(clip, 3, name, "world"), true_depth(clip, 3, name, "lidar")
    assert exact is not None and lidar is not None
    stored = read_truth(clip, 3, name, ["depth"])["depth"]
    assert (exact[np.isinf(stored)] == 0).all() and exact.max() <= 80 and (exact > 0).mean() > 0.4
    assert np.array_equal(exact[exact > 0], stored[exact > 0])
    both = (exact > 0) & (lidar > 0)
    assert both.sum() > 50
    assert np.median(np.abs(exact - lidar)[both] / exact[both]) < 0.03


# scores


def test_scores_of_windows(clip: Clip, scenes: Path) -> None:
    files = scene_files(scenes, windows(clip))
    asked: list[int] = []

    def scene_of(window: Window) -> Scene:
        asked.append(window.first)
        return lifted(window_clip(clip, window))

    scores = score_windows(scene_of, clip)
    assert asked == [0, 20] == list(files)
    assert [(r.frame, r.camera) for r in scores.rows] == [
        (f + i, n) for f in (0, 20) for i in SCORED for n in clip.cameras
    ]
    assert [r.time_us for r in scores.rows[::2]] == [(f + i) * 100_000 for f in (0, 20) for i in SCORED]
    assert (scores.protocol, scores.split, scores.depth_truth, scores.notes) == (
        "storm-windows",
        "withheld",
        "world",
        (),
    )
    means = scores.means
    assert means["psnr"] > 22 and means["depth_delta1"] > 0.85
    assert means["moving_exact_psnr"] < means["psnr"] - 3, "movers are not in the scenes"
    for text in ("2 windows of 20 frames at 10 Hz", "2 cameras", "0, 5, 10, 15", "other 16", "64 pictures of 96x64"):
        assert text in scores.summary
    swapped = score_windows(
        lambda w: lifted(window_clip(clip, windows(clip)[w.first == 0])), clip, depth=False, moving=()
    )
    assert swapped.means["psnr"] < means["psnr"] - 3, "a scene of another window is no good"
    assert set(swapped.means) == {"psnr", "ssim"}


def test_a_scene_that_saw_more_than_it_was_given_is_told(clip: Clip) -> None:
    one = replace(clip, frames=clip.frames[:20])
    name = next(iter(clip.cameras))
    scene = lifted(window_clip(clip, windows(clip)[0]))

    def fitted(frames: list[int]) -> Scene:
        identity = torch.eye(3, 4).repeat(len(frames), 1, 1)
        return replace(scene, exposure={name: Exposure(clip.times_us[frames], identity)})

    honest = score_windows(lambda _: fitted([0, 5, 10, 15]), one, ("psnr",), depth=False, moving=())
    assert honest.notes == ()
    cheat = score_windows(lambda _: fitted([0, 5, 6, 30]), one, ("psnr",), depth=False, moving=())
    assert cheat.notes == ("the scene of window 0 was fitted to 2 pictures that were not given",)


def test_a_withheld_split_scores_movers_and_true_depth_too(clip: Clip) -> None:
    part = window_clip(clip, windows(clip)[0])
    scores = score_scene(lifted(part), part)
    assert {"moving_box_psnr", "moving_box_ssim", "moving_exact_psnr", "depth_abs_rel"} <= set(scores.means)
    assert "withheld: frames=1,2,3" in scores.summary and "depth against the world's truth in 32" in scores.summary
    by_lidar = score_scene(lifted(part), replace(part, extras={}))
    assert by_lidar.depth_truth == "lidar" and "depth against lidar" in by_lidar.summary
    assert "moving_exact_psnr" not in by_lidar.means
    assert by_lidar.means["moving_box_psnr"] == scores.means["moving_box_psnr"]
    document = by_lidar.to_json("a", "b", [])
    assert document["depth_truth"] == "lidar" and "lidar" in document["definition"]["depth"]
    assert "made world" in scores.to_json("a", "b", [])["definition"]["depth"]


def test_a_clip_without_tracks_or_truth_is_scored_as_before(tmp_path: Path) -> None:
    clip = street_clip(tmp_path / "street", num_frames=3)
    scores = score_scene(lifted_scene(clip), clip)
    assert set(scores.means) == {"psnr", "ssim"} and scores.depth_truth is None
    assert scores.summary == "3 frames at 10 Hz, 1 camera; withheld: every=4; 1 pictures of 160x96 px"


def test_frames_are_scored_on_movers(clip: Clip, tmp_path: Path) -> None:
    from jwmtool.artifacts.frame_meta import FrameMeta
    from jwmtool.artifacts.video import open_writer

    part, name = window_clip(clip, windows(clip)[0]), next(iter(clip.cameras))
    with open_writer(tmp_path / "frames", 10.0) as writer:
        for i in (1, 2):
            image = part.load_image(i, name).copy()
            image[instance_mask(part, i, name)] = 0
            record = part.frames[i].images[name]
            writer.write(image, FrameMeta(record.time_us, name, record.world_from_cam))
    means = score_frames_on_clip(tmp_path / "frames", part).means
    assert means["moving_exact_psnr"] < 15 < means["psnr"]


def jwm(*arguments: object) -> int:
    return run([str(a) for a in arguments])


def test_command(clip: Clip, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "s.json", tmp_path / "r.html"
    arguments = ("score", scenes, clip.root, "--protocol", "storm-windows")
    assert jwm(*arguments, "-o", out, "--report", page) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert "2 windows of 20 frames at 10 Hz" in captured.err and "moving boxes" in captured.err
    document = json.loads(out.read_text())
    assert (document["protocol"], document["num_images"], document["depth_truth"]) == ("storm-windows", 64, "world")
    assert document["setting"] in page.read_text().replace("&#x27;", "'")
    assert [w["first"] for w in document["windows"]] == [0, 20]
    assert document["windows"][1]["context"] == [20, 25, 30, 35] and document["windows"][1]["num_images"] == 32
    halves = [w["means"]["psnr"] for w in document["windows"]]
    assert np.mean(halves) == pytest.approx(document["means"]["psnr"])
    assert document["counts"]["psnr"] == 64 >= document["counts"]["moving_exact_psnr"] > 0
    assert jwm(*arguments, "--moving", "--fail-if", "moving_exact_psnr<90") == 6
    table = capsys.readouterr().out
    assert "moving pixels: PSNR" in table and "depth" not in table and "  SSIM" not in table


def test_command_errors(clip: Clip, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = ("--protocol", "storm-windows")
    assert jwm("score", scenes / "000000.h5", clip.root, *protocol) == 3
    assert "000000.h5, 000020.h5" in capsys.readouterr().err
    assert jwm("score", scenes, clip.root, *protocol, "--split", "all") == 2
    assert jwm("score", tmp_path / "v.mp4", clip.root, *protocol) == 2
    assert jwm("score", scenes, clip.root, "--protocol", "storm") == 2
    assert jwm("score", tmp_path, clip.root, *protocol) == 3
    short = street_clip(tmp_path / "short", num_frames=3)
    capsys.readouterr()
    assert jwm("score", scenes, short.root, *protocol) == 3
    assert "at least 20 frames" in capsys.readouterr().err
    assert jwm("score", scenes / "000000.h5", short.root, "--moving") == 3
    assert "tracks for --moving" in capsys.readouterr().err


def test_boxes_of_a_whole_world_enclose_what_moves(tmp_path: Path) -> None:
    """Bodies with limbs and mirrors, not boxes: the exact mask lies in the hulls, and fills a good part of them."""
    world = make_world(WorldSpec("city", 5, 0.4, 10.0, 96, 64), "front1", "none")
    made = read_clip(write_world(world, tmp_path / "c"))
    inside = outside = hull = 0
    for frame, name in made.images():
        boxes, exact = box_mask(made, frame, name), instance_mask(made, frame, name)
        inside, outside, hull = inside + (exact & boxes).sum(), outside + (exact & ~boxes).sum(), hull + boxes.sum()
    assert inside > 100 and outside <= 0.01 * inside
    assert inside > 0.4 * hull
