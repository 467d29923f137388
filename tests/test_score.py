"""`jwm score`: the figures are those of the literature, on the pictures that nobody fitted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from street_scene import lifted_scene, street_clip

from jwmtool.artifacts.clip import Clip, LidarSweep, Split
from jwmtool.artifacts.clip_io import read_clip, write_clip_json
from jwmtool.artifacts.frame_meta import FrameMeta
from jwmtool.artifacts.images import write_png
from jwmtool.artifacts.lidar import lidar_at, lidar_depth
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_io import write_scene
from jwmtool.artifacts.video import open_writer
from jwmtool.cli.main import run
from jwmtool.errors import InputError, ScoreThresholdError, UsageError
from jwmtool.gaussians.exposure import Exposure
from jwmtool.geometry.camera import Camera
from jwmtool.imaging.similarity import psnr, ssim
from jwmtool.metrics.depth import depth_scores
from jwmtool.metrics.image import image_scores
from jwmtool.metrics.protocol import score_frames, score_frames_on_clip, score_scene
from jwmtool.metrics.scores import Pair, score_pairs
from jwmtool.metrics.threshold import check_thresholds, parse_threshold


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, Scene, Path]:
    folder = tmp_path_factory.mktemp("street")
    clip = street_clip(folder / "clip", stereo=True)
    scene = lifted_scene(clip)
    write_scene(scene, folder / "scene.h5")
    return clip, scene, folder


def scikit_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """What skimage.metrics.structural_similarity gives, written out with SciPy.

    Its options: gaussian_weights, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1.
    """
    values = []
    for x, y in zip(np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0), strict=True):

        def blur(image: np.ndarray) -> np.ndarray:
            return gaussian_filter(image, 1.5, truncate=3.5, mode="reflect")

        ux, uy = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - ux * ux, blur(y * y) - uy * uy, blur(x * y) - ux * uy
        c1, c2 = 0.01**2, 0.03**2
        s = (2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
        values.append(s[5:-5, 5:-5].mean())
    return float(np.mean(values))


@given(st.integers(11, 40), st.integers(11, 40), st.integers(0, 2**32 - 1), st.floats(0.0, 80.0))
def test_ssim_and_psnr_are_those_of_scikit_image(height: int, width: int, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    truth = gaussian_filter(rng.uniform(0, 255, (height, width, 3)), (1.5, 1.5, 0)).astype(np.uint8)
    image = np.clip(truth + rng.normal(0, noise, truth.shape), 0, 255).astype(np.uint8)
    scores = image_scores(image, truth)
    assert scores["ssim"] == pytest.approx(scikit_ssim(image / 255.0, truth / 255.0), abs=1e-6)
    a, b = (torch.from_numpy(x / 255.0) for x in (image, truth))
    assert scores["ssim"] == pytest.approx(float(ssim(a, b)), abs=1e-9)
    assert scores["psnr"] == pytest.approx(float(psnr(a, b)), abs=1e-9)
    mse = ((image / 255.0 - truth / 255.0) ** 2).mean()
    assert scores["psnr"] == pytest.approx(-10 * np.log10(max(mse, 1e-12)))


def test_scores_of_equal_and_of_smeared_pictures() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    smear = np.full_like(sharp, round(float(sharp.mean())))
    assert image_scores(sharp, sharp) == {"psnr": pytest.approx(120.0), "ssim": pytest.approx(1.0)}
    assert image_scores(smear, sharp)["ssim"] < 0.1


def test_masked_pixels_do_not_count() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    image, mask = truth.copy(), np.ones((40, 60), bool)
    image[25:] = 0
    mask[25:] = False
    scores = image_scores(image, truth, mask)
    assert scores["psnr"] == pytest.approx(120.0)
    assert scores["ssim"] > image_scores(image, truth)["ssim"]
    mask[:20] = False
    mask[25:] = True
    assert image_scores(image, truth, mask)["psnr"] < 10
    with pytest.raises(ValueError, match="no pixel"):
        image_scores(image, truth, np.zeros((40, 60), bool))


def test_lidar_behind_a_nearer_surface_is_dropped() -> None:
    camera = Camera(np.array([[200.0, 0, 200], [0, 200, 64], [0, 0, 1]]), 400, 128, np.eye(4))
    near = np.array([[0.0, 0.0, 5.0]])
    behind = np.array([[0.05, 0.0, 20.0], [3.0, 0.0, 20.0], [0.0, 0.0, 90.0], [0.0, 0.0, -5.0], [0.0, 0.0, 5.2]])
    depth = lidar_depth(np.concatenate([behind, near]), camera)
    assert depth[64, 200] == 5.0
    assert depth[64, 230] == 20.0
    assert (depth > 0).sum() == 2
    rows, ground = np.arange(70, 128), 200 * 1.6 / (np.arange(70, 128) + 0.5 - 64)
    points = np.stack([np.zeros(len(rows)), np.full(len(rows), 1.6), ground], 1)
    assert (lidar_depth(points[ground < 45], camera)[:, 200] > 0).sum() == (ground < 45).sum()


def test_depth_scores_and_holes() -> None:
    truth = np.zeros((4, 4))
    truth[0] = [10.0, 20.0, 40.0, 0.0]
    depth, alpha = np.full((4, 4), 10.0), np.ones((4, 4))
    scores = depth_scores(depth, alpha, truth)
    assert scores is not None
    assert scores["depth_abs_rel"] == pytest.approx((0 + 0.5 + 0.75) / 3)
    assert scores["depth_rmse_m"] == pytest.approx(np.sqrt((0 + 100 + 900) / 3))
    assert scores["depth_delta1"] == pytest.approx(1 / 3)
    assert scores["depth_points"] == 3
    holes = depth_scores(depth, np.zeros((4, 4)), truth)
    assert holes is not None
    assert holes["depth_coverage"] == 0
    assert holes["depth_abs_rel"] == pytest.approx((7 + 3 + 1) / 3)
    assert depth_scores(depth, alpha, np.zeros((4, 4))) is None


def test_only_withheld_pictures_count(street: tuple[Clip, Scene, Path]) -> None:
    clip, scene, _ = street
    scores = score_scene(scene, clip)
    assert (scores.protocol, scores.split) == ("withheld-views", "withheld")
    assert {(r.frame, r.camera) for r in scores.rows} == {(i, c) for i in (2, 6) for c in ("front", "front_right")}
    assert scores.means["psnr"] == pytest.approx(np.mean([r.values["psnr"] for r in scores.rows]))
    assert 18 < scores.means["psnr"] < 35
    assert [r.values["psnr"] for r, _ in scores.worst] == sorted(r.values["psnr"] for r in scores.rows)
    train, everything = score_scene(scene, clip, "train"), score_scene(scene, clip, "all")
    assert len(train.rows) + len(scores.rows) == len(everything.rows) == 14
    assert train.means["psnr"] > scores.means["psnr"]


def test_a_broken_scene_scores_worse(street: tuple[Clip, Scene, Path]) -> None:
    clip, scene, _ = street
    shifted = replace(scene, gaussians=scene.gaussians.replace(means=scene.gaussians.means + torch.tensor([0, 0.5, 0])))
    assert score_scene(shifted, clip).means["psnr"] < score_scene(scene, clip).means["psnr"] - 1


def test_without_withheld_pictures_it_refuses(street: tuple[Clip, Scene, Path]) -> None:
    clip, scene, _ = street
    with pytest.raises(InputError, match="--withhold"):
        score_scene(scene, replace(clip, split=Split()))
    assert len(score_scene(scene, replace(clip, split=Split()), "all").rows) == 14


def test_fitted_pictures_are_told(street: tuple[Clip, Scene, Path]) -> None:
    clip, scene, _ = street
    identity = torch.eye(3, 4).repeat(2, 1, 1)
    cheat = replace(scene, exposure={"front": Exposure(clip.times_us[[2, 3]], identity)})
    assert score_scene(cheat, clip).notes == ("1 of the 4 scored pictures were fitted",)
    assert score_scene(scene, clip).notes == ()


def with_lidar(clip: Clip, folder: Path) -> Clip:
    """The same clip with sweeps taken from the true depth, from beside the camera."""
    sweeps = []
    for i, frame in enumerate(clip.frames):
        depth = np.load(clip.root / clip.extras["truth"]["depth"]["front"][i])
        camera = clip.camera_at(i, "front")
        seen = np.isfinite(depth) & (depth < 60)
        points = camera.world_from_cam[:3, 3] + camera.rays()[seen] * depth[seen][:, None]
        local = (points[::5] - frame.world_from_rig[:3, 3]) @ frame.world_from_rig[:3, :3]
        np.save(folder / f"{i}.npy", np.pad(local, ((0, 0), (0, 1))).astype(np.float32))
        sweeps.append(LidarSweep(f"{folder}/{i}.npy", frame.time_us + 3000, frame.world_from_rig))
    return replace(clip, lidar=sweeps)


def test_depth_against_lidar(street: tuple[Clip, Scene, Path], tmp_path: Path) -> None:
    clip, scene, _ = street
    clip = with_lidar(clip, tmp_path)
    assert lidar_at(clip, clip.frames[4].time_us) == 4
    assert lidar_at(clip, clip.frames[-1].time_us + 200_000) is None
    scores = score_scene(scene, clip)
    assert scores.means["depth_abs_rel"] < 0.08
    assert scores.means["depth_delta1"] > 0.9
    assert "depth_abs_rel" not in score_scene(scene, clip, depth=False).means
    twice = replace(scene, gaussians=scene.gaussians.replace(means=scene.gaussians.means * 2))
    assert score_scene(twice, clip).means["depth_abs_rel"] > 0.3


def write_pictures(clip: Clip, path: Path, camera: str = "front", shift_m: float = 0.0, noise: float = 4.0) -> Path:
    rng = np.random.default_rng(0)
    with open_writer(path, clip.rate_hz) as writer:
        for i, frame in enumerate(clip.frames):
            pose = frame.images[camera].world_from_cam.copy()
            pose[0, 3] += shift_m
            image = clip.load_image(i, camera) + rng.normal(0, noise, (96, 160, 3))
            meta = FrameMeta(frame.images[camera].time_us, camera, pose)
            writer.write(np.clip(image, 0, 255).astype(np.uint8), meta)
    return path


def test_frames_against_a_clip(street: tuple[Clip, Scene, Path], tmp_path: Path) -> None:
    clip, _, _ = street
    scores = score_frames_on_clip(write_pictures(clip, tmp_path / "frames"), clip)
    assert [r.frame for r in scores.rows] == [2, 6]
    assert scores.means["psnr"] == pytest.approx(20 * np.log10(255 / 4.0), abs=0.5)
    assert scores.notes == ("2 of the clip's 4 withheld pictures are in the prediction",)
    video = write_pictures(clip, tmp_path / "v.mp4", noise=0.0)
    assert score_frames_on_clip(video, clip, "all").means["psnr"] > 33
    with pytest.raises(InputError, match=r"recorded poses.*0\.50 m"):
        score_frames_on_clip(write_pictures(clip, tmp_path / "off", shift_m=0.5), clip)


def test_frames_against_frames(street: tuple[Clip, Scene, Path], tmp_path: Path) -> None:
    clip, _, _ = street
    a = write_pictures(clip, tmp_path / "a", noise=0.0)
    b = write_pictures(clip, tmp_path / "b", noise=8.0)
    scores = score_frames(a, b)
    assert len(scores.rows) == 7
    assert scores.means["psnr"] == pytest.approx(20 * np.log10(255 / 8.0), abs=0.5)
    short = tmp_path / "short"
    short.mkdir()
    for i in range(3):
        write_png(short / f"{i}.png", clip.load_image(i, "front"))
    with pytest.raises(InputError, match="frames"):
        score_frames(a, short)
    with pytest.raises(InputError, match="frames"):
        score_frames(short, a)
    small = tmp_path / "small"
    small.mkdir()
    for i in range(7):
        write_png(small / f"{i}.png", clip.load_image(i, "front")[:50])
    with pytest.raises(InputError, match="160x96"):
        score_frames(small, a)


def test_thresholds() -> None:
    truth = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    means = score_pairs([Pair(0, None, None, truth, truth)], "test").means
    check_thresholds(means, [parse_threshold("psnr<22"), parse_threshold(" ssim <= 0.9 ")])
    with pytest.raises(ScoreThresholdError, match="psnr is 120"):
        check_thresholds(means, [parse_threshold("psnr>=100")])
    with pytest.raises(UsageError, match="computed"):
        check_thresholds(means, [parse_threshold("depth_rmse_m>3")])
    for text in ("psnr", "psnr<", "fvd<3", "psnr=3", "psnr<a"):
        with pytest.raises(UsageError):
            parse_threshold(text)


def jwm(*arguments: object) -> int:
    return run([str(a) for a in arguments])


def test_command_writes_json_and_a_page_of_its_own(
    street: tuple[Clip, Scene, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, folder = street
    out, page = tmp_path / "s.json", tmp_path / "r.html"
    arguments = ("score", folder / "scene.h5", folder / "clip")
    assert jwm(*arguments, "-o", out, "--report", page) == 0
    assert capsys.readouterr().out == f"{out}\n"
    document = json.loads(out.read_text())
    assert document["num_images"] == len(document["images"]) == 4
    assert document["split"] == "withheld"
    assert document["cameras"]["front"]["size"] == [160, 96]
    assert document["provenance"][-1]["inputs"][0]["path"] == str(folder / "scene.h5")
    text = page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert "http" not in text.split("<details>")[0]
    assert "<script" not in text
    assert text.count("data:image/jpeg;base64,") == 3 * 4
    assert text.count("<svg") == 2
    Balanced().feed(text)
    assert jwm(*arguments, "-o", out) == 4
    assert jwm(*arguments, "--json", "--fail-if", "psnr<99") == 6
    captured = capsys.readouterr()
    assert json.loads(captured.out)["means"] == document["means"]
    assert "psnr<99" in captured.err
    assert jwm(*arguments, "--psnr") == 0
    table = capsys.readouterr().out
    assert "PSNR" in table
    assert "SSIM" not in table


class Balanced(HTMLParser):
    """Fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed already."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_command_errors(street: tuple[Clip, Scene, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, _, folder = street
    scene = folder / "scene.h5"
    assert jwm("score") == 2
    assert "for example: jwm score" in capsys.readouterr().err
    assert jwm("score", scene, folder / "clip", "--fail-if", "fun>3") == 2
    assert jwm("score", scene, folder / "clip", "--depth") == 3
    assert "lidar" in capsys.readouterr().err
    assert jwm("score", scene, tmp_path / "none") == 3
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "images").symlink_to(clip.root / "images")
    write_clip_json(replace(clip, split=Split(), extras={}), bare)
    assert read_clip(bare).split == Split()
    capsys.readouterr()
    assert jwm("score", scene, bare, "-o", tmp_path / "s.json") == 3
    captured = capsys.readouterr()
    assert "--withhold" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "s.json").exists()
    assert jwm("score", scene, bare, "--split", "all", "-o", tmp_path / "s.json") == 0
