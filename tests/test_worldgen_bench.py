"""Benches of the video generator and of the autoencoder: the arithmetic of their figures, and their parts, tiny."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_world import fake_world
from tiny_worldgen import tiny

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.trajectory import arc
from jwmtool.worldgen import ego_motion, tags
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import AutoencoderConfig
from jwmtool.worldgen.known import channel_counts
from jwmtool.worldgen.latents import Prior
from jwmtool.worldgen.sampler import Sampling
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import autoencoder as autoencoder_bench  # noqa: E402
import worldgen_estimators as estimators  # noqa: E402
import worldgen_figures as figures  # noqa: E402
import worldgen_footage as footage  # noqa: E402
import worldgen_networks as networks  # noqa: E402
import worldgen_priors as priors  # noqa: E402
import worldgen_training as training  # noqa: E402
import worldgen_videos as videos  # noqa: E402


def test_rank_correlation_sees_order_alone_and_shares_ranks() -> None:
    rising = [0.1, 0.2, 5.0, 70.0]
    assert figures.spearman(rising, np.exp([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1.0)
    assert figures.spearman(rising, [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert figures.ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [3.5, 1.0, 3.5, 2.0]
    # Without ties, 1 - 6 sum d^2 / (n (n^2 - 1)): one swap of neighbors among four.
    assert figures.spearman(rising, [2.0, 1.0, 3.0, 4.0]) == pytest.approx(1.0 - 6.0 * 2.0 / (4.0 * 15.0))
    assert math.isnan(figures.spearman(rising, [1.0] * 4))


def test_psnr_inside_coverage_leaves_out_what_is_outside() -> None:
    true = torch.full((2, 3, 4, 6), 0.5)
    made = true.clone()
    made[:, :, :, :3] += 0.1  # 20 dB where it is wrong
    inside = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    inside[0, :, :, :3] = True
    first, second = figures.frame_psnrs(made, true, inside)
    assert first == pytest.approx(20.0, abs=1e-3) and math.isnan(second)
    assert figures.mean([first, second]) == pytest.approx(20.0, abs=1e-3)
    assert figures.frame_psnrs(made, true)[1] == pytest.approx(20.0 + 10.0 * math.log10(2.0), abs=1e-3)


def wall_view(camera: Camera, wall_m: float = 10.0) -> tuple[torch.Tensor, np.ndarray]:
    """Picture and depth of a wall at z = `wall_m` whose color is smooth in its own place; sky above y = -4."""
    rays, eye = camera.rays(), camera.world_from_cam[:3, 3]
    points = eye + rays * ((wall_m - eye[2]) / rays[..., 2])[..., None]
    sky = points[..., 1] < -4.0
    x, y = points[..., 0], points[..., 1]
    color = 0.5 + 0.4 * np.stack([np.sin(0.5 * x), np.sin(0.4 * y), np.cos(0.3 * (x + y))])
    color = np.where(sky, 0.9, color)
    depth = (points - eye) @ camera.world_from_cam[:3, 2]
    return torch.from_numpy(color).float(), np.where(sky, np.inf, depth)


def test_overlap_of_two_cameras_before_a_wall_agrees_and_wrong_pictures_do_not() -> None:
    K = np.array([[60.0, 0.0, 48.0], [0.0, 60.0, 32.0], [0.0, 0.0, 1.0]])
    turned = np.eye(4)
    turned[:3, :3] = [[math.cos(0.4), 0.0, math.sin(0.4)], [0.0, 1.0, 0.0], [-math.sin(0.4), 0.0, math.cos(0.4)]]
    turned[:3, 3] = [0.6, 0.1, 0.2]
    cameras = {"a": Camera(K, 96, 64, np.eye(4)), "b": Camera(K, 96, 64, turned)}
    pictures = {name: wall_view(camera)[0] for name, camera in cameras.items()}
    depths = {name: wall_view(camera)[1] for name, camera in cameras.items()}
    rows = figures.overlap_figures(pictures, cameras, depths)
    assert {(row["from"], row["to"]) for row in rows} == {("a", "b"), ("b", "a")}
    for row in rows:
        assert row["psnr"] > 30.0 and 0.3 * 96 * 64 < row["pixels"] < 96 * 64
    shifted = {**pictures, "b": pictures["b"].roll(12, 2)}
    assert all(row["psnr"] < 20.0 for row in figures.overlap_figures(shifted, cameras, depths))


def test_what_one_camera_sees_behind_a_nearer_thing_does_not_count() -> None:
    K = np.array([[60.0, 0.0, 48.0], [0.0, 60.0, 32.0], [0.0, 0.0, 1.0]])
    a, b = Camera(K, 96, 64, np.eye(4)), Camera(K, 96, 64, se3.translation([0.5, 0.0, 0.0]))
    picture, depth = wall_view(a)
    near = depth.copy()
    near[:, 30:50] = 3.0
    _, valid = figures.warp_between(picture, a, near, b, wall_view(b)[1])
    _, all_valid = figures.warp_between(picture, a, depth, b, wall_view(b)[1])
    lost = all_valid & ~valid
    assert lost.any() and abs(int(lost.sum()) - int(all_valid[:, 27:47].sum())) <= 2 * 64


def test_recognition_is_told_class_by_class() -> None:
    pairs = [("rain", "rain"), ("rain", "fog"), ("none", "none"), ("none", "none")]
    found = estimators.recognition(pairs)
    assert found["share"] == 0.75 and found["each"] == {"rain": 0.5, "none": 1.0}
    assert found["mean_of_classes"] == 0.75 and found["mean_without_none"] == 0.5
    assert found["taken_for"]["rain"] == {"rain": 1, "fog": 1}


def test_each_part_has_a_key_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "results" / "bench.json"
    figures.record(file, "seeds", {"same": True}, 1.0)
    figures.record(file, "views", {"psnr": 20.0, "unknown": float("nan")}, 2.0)
    figures.record(file, "seeds", {"same": False}, 3.0)
    told = json.loads(file.read_text())
    assert (
        told["seeds"]["same"] is False
        and told["views"]["psnr"] == 20.0
        and told["views"]["unknown"] is None
        and told["seeds"]["command"]
    )


def test_geometry_of_motion_is_that_of_a_road_driven_over() -> None:
    rig_from_cam = se3.translation([1.5, 0.0, 1.4]) @ se3.RIG_FROM_CAM_AXES
    K = np.array([[112.0, 0.0, 112.0], [0.0, 112.0, 64.0], [0.0, 0.0, 1.0]])
    geometry = networks.geometry_of(K, rig_from_cam, (224, 128)).numpy()
    camera = Camera(K, 224, 128, rig_from_cam).resized(*networks.MOTION_SIZE)
    row, column = 52, 30
    ray = camera.rays()[row, column]
    point = (rig_from_cam[:3, 3] + ray * (-1.4 / ray[2]))[None]
    pose = arc(1.0, 0.05, 0.1)  # 0.1 m ahead, 0.005 rad to the left
    before, after = camera.project(point)[0], camera.moved(pose @ rig_from_cam).project(point)[0]
    expected = 0.1 * geometry[:2, row, column] + 0.005 * geometry[2:, row, column]
    np.testing.assert_allclose((after - before)[0], expected, atol=0.05)
    assert geometry[2, 10, 56] > 40.0  # turning to the left, what is far moves to the right


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of a small world."""
    folder = tmp_path_factory.mktemp("worlds")
    return write_world(fake_world(WorldSpec("city", 1, 0.6, 10.0, 224, 128)), folder / "city-000001")


class _Same:
    """An autoencoder that changes nothing; its latents are means over squares."""

    takes_prior = False

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        return video

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.clamp(0.0, 1.0)


def test_estimators_learn_from_clips_and_are_kept(world: Path, tmp_path: Path) -> None:
    videos = footage.gather([world], tmp_path / "footage", _Same())
    again = footage.gather([world], tmp_path / "footage", None)  # what is kept is not made again
    (video,) = videos
    np.testing.assert_array_equal(video.pictures, again[0].pictures)
    assert video.pictures.shape == (2, 6, 128, 224, 3) and video.pictures.dtype == np.uint8
    assert np.abs(video.pictures[0].astype(int) - video.pictures[1]).mean() < 80.0
    clip = read_clip(world)
    step = se3.inverse(clip.world_from_rig[0]) @ clip.world_from_rig[1]
    assert footage.motion(video, 0, 1)[0] == pytest.approx(step[0, 3])
    training.train_motion(videos, tmp_path, steps=2)
    net = estimators.Estimators(tmp_path)
    speed_mps, yaw_rate_radps = net.motion(video.pictures[0], video.K, video.rig_from_cam, video.times_s)
    assert math.isfinite(speed_mps) and math.isfinite(yaw_rate_radps)
    assert net.weather(video.pictures[0]) in footage.WEATHERS and net.event(video.pictures[0]) in footage.EVENTS
    told = estimators.score("motion", [video, video], net)
    assert told["true"]["clips"] == 2 and told["true"]["speed_error_mps"] >= 0.0


def test_the_autoencoders_bench_scores_the_frames_it_is_told(world: Path) -> None:
    name, clips = autoencoder_bench.data_of(f"worlds={world.parent}:1-3")
    assert name == "worlds" and clips == [(world, range(1, 4))]
    dimmed = SimpleNamespace(
        encode=lambda video: video, decode=lambda latents: (latents - 0.1).clamp(0.0, 1.0), stride=16, channels=4
    )
    found = autoencoder_bench.fidelity(dimmed, clips, each=12)
    more = autoencoder_bench.fidelity(SimpleNamespace(**{**vars(dimmed), "channels": 64}), clips, each=12)
    assert 10.0 < found["psnr_linear"] < more["psnr_linear"] - 3.0
    cameras = len(read_clip(world).cameras)
    assert found["pictures"] == 3 * cameras and 19.5 < found["psnr"] < 26.0
    with pytest.raises(SystemExit):
        autoencoder_bench.data_of("no path")


def tiny_maker() -> videos.Maker:
    """Both networks with random weights, whose every part says something."""
    torch.manual_seed(0)
    coder = Autoencoder(AutoencoderConfig(16, 4, (8, 8, 8), (1, 1, 1), (8, 8, 8), (1, 1, 1))).eval()
    counts = channel_counts(coder.channels, coder.stride)
    model = tiny(patch=1, in_channels=4, out_channels=4, concat_channels=sum(counts.values()), text_dim=8, text_len=4,
                 ego_dim=ego_motion.NUMBERS, num_tags=tags.NUM_TAGS)  # fmt: skip
    return videos.Maker(model, coder, Sampling(steps=2, shift=1.0), "cpu")


def test_videos_follow_seed_prior_tags_first_frame_and_neighbors(world: Path) -> None:
    clip, maker = read_clip(world), tiny_maker()
    name = next(iter(clip.cameras))
    drive = videos.recorded_drive(clip, [name], range(4))
    video = maker.make(drive, 3)
    assert video.shape == (1, 4, 3, 128, 224) and drive.tags["kind"] == "city"
    assert torch.equal(video, maker.make(drive, 3)) and not torch.equal(video, maker.make(drive, 4))
    true = priors.true_frames(clip, name, range(4))[None]
    shown = Prior(true, torch.ones_like(true[:, :, :1]))
    other = Prior(1.0 - true, torch.ones_like(true[:, :, :1]))
    with_prior = maker.make(drive, 3, shown)
    assert not torch.equal(with_prior, video) and not torch.equal(with_prior, maker.make(drive, 3, other))
    first = maker.make(drive, 3, first=true[:, :1])
    torch.testing.assert_close(first[:, 0], maker.round_trip(true[:, :1])[:, 0], atol=1e-5, rtol=0.0)
    untold = videos.asked_drive(clip.cameras[name], 8.0, 0.1, num_frames=4)
    assert untold.actions[0] == pytest.approx([8.0, 0.1])
    snow = videos.asked_drive(clip.cameras[name], 8.0, 0.1, {"weather": "snow"}, num_frames=4)
    assert not torch.equal(maker.make(untold, 3), maker.make(snow, 3))
    pair = replace(drive, cameras=(drive.cameras[0], replace(drive.cameras[0], name="beside")))
    together = maker.make(pair, 3)
    maker.one_view_at_a_time(True)
    assert not torch.equal(together, maker.make(pair, 3))
    maker.one_view_at_a_time(False)
    assert torch.equal(together, maker.make(pair, 3))
