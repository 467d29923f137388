"""Data for WorldRec: which clips, which windows of them, and what augmentation does to geometry."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_world import fake_world
from standin_worldrec import SmallTask, write_worlds
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.errors import InputError, UsageError
from jwmtool.training.clips import Part, find_clips, gather
from jwmtool.training.prefetch import prefetched
from jwmtool.training.worldrec.augment import NONE, Augmentation, augment, mirrored, reversed_time, scanned
from jwmtool.training.worldrec.sample import Sample, depth_of, load_sample
from jwmtool.training.worldrec.windows import Sampling, Window, draw_window, scored_window
from jwmtool.worldrec.views import Views
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec

PIXELS = 64_000


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 4)


@pytest.fixture(scope="module")
def clip(worlds: Path) -> Clip:
    return read_clip(worlds / "city-000001")


@pytest.fixture(scope="module")
def sample(clip: Clip) -> Sample:
    window = Window(tuple((f, c) for f in (1, 5) for c in ("front", "front_right")), ((3, "front"), (5, "front")), 5)
    return load_sample(clip, window, PIXELS)


def whole(clip: Clip) -> Part:
    return Part(clip.root, 0, len(clip.frames))


def tensors(sample: Sample) -> list[Tensor]:
    return [v for views in (sample.context, sample.targets) for v in vars(views).values() if v is not None]


# clips


def test_clips_are_found_and_some_kept_away(worlds: Path, tmp_path: Path) -> None:
    names = [f"city-{i:06d}" for i in range(4)]
    assert [folder.name for folder in find_clips(worlds)] == names
    assert find_clips(worlds / names[2]) == [worlds / names[2]]
    shutil.copytree(worlds, tmp_path / "more")
    (tmp_path / "more" / names[0]).rename(tmp_path / "more" / f".{names[0]}.part")  # still being written
    data = gather([worlds, tmp_path / "more"])
    assert [len(group) for group in data.training] == [3, 3] and len(data.held_out) == 1
    used = {part.folder for group in data.training for part in group}
    assert not used & {part.folder for part in data.held_out} and len(used) == 6
    told = gather([worlds], [tmp_path / "more"])
    assert len(told.training[0]) == 4 and len(told.held_out) == 3
    with pytest.raises(UsageError, match="in both"):
        gather([worlds], [worlds / names[3]])


def test_each_argument_counts_alike(worlds: Path) -> None:
    data = gather([worlds])
    single = replace(data, training=(*data.training, data.held_out))
    rng = np.random.default_rng(0)
    drawn = [single.draw(rng).folder for _ in range(400)]
    assert 160 < drawn.count(data.held_out[0].folder) < 240


def test_of_an_only_clip_the_last_frames_are_kept(tmp_path: Path) -> None:
    folder = write_worlds(tmp_path, 1, "front1", frames=14)
    data = gather([folder])
    assert data.training == ((Part(folder / "city-000000", 0, 8),),)
    assert data.held_out == (Part(folder / "city-000000", 8, 14),)
    clip = read_clip(folder / "city-000000")
    for i in range(50):
        window = draw_window(clip, data.training[0][0], np.random.default_rng(i), Sampling())
        assert max(frame for frame, _ in (*window.context, *window.targets)) < 8
    assert min(frame for frame, _ in scored_window(clip, data.held_out[0], Sampling()).context) >= 8


def test_bad_data_is_told_in_one_line(worlds: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a clip folder"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"folder of them.*found no clip"):
        gather([tmp_path])
    short = write_worlds(tmp_path / "short", 2, "front1", frames=2)
    with pytest.raises(InputError, match="at least 3 frames to train on, found 2"):
        gather([worlds, short])
    assert len(gather([worlds, short], least=1).training) == 2
    with pytest.raises(InputError, match="at least 12 frames in an only clip"):
        gather([worlds / "city-000000"])
    withheld = write_worlds(tmp_path / "withheld", 2, "front1", frames=4, withhold=["frames=1,2"])
    with pytest.raises(InputError, match="found 4, of which 2 are withheld"):
        gather([withheld])
    shutil.copytree(worlds, tmp_path / "other")
    file = tmp_path / "other" / "city-000002" / "clip.json"
    file.write_text(json.dumps({"format": "poem"}))
    with pytest.raises(InputError, match="poem"):
        gather([tmp_path / "other"])


# windows


def test_withheld_pictures_are_in_no_window(tmp_path: Path) -> None:
    folder = write_worlds(tmp_path, 1, frames=12, withhold=["every=4", "camera=front_left"])
    clip = read_clip(folder / "city-000000")
    assert clip.split.frames == (2, 6, 10)
    used = set()
    windows = [draw_window(clip, whole(clip), np.random.default_rng(i), Sampling()) for i in range(300)]
    for window in (*windows, scored_window(clip, whole(clip), Sampling(max_views=24))):
        used |= {*window.context, *window.targets}
    assert not any(clip.split.withholds(*key) for key in used)
    assert used == set(clip.images(withheld=False))  # and all others are used


def test_windows_keep_their_bounds(clip: Clip) -> None:
    sampling = Sampling(max_views=6)
    names, counts, own, apart = list(clip.cameras), set(), 0, set()
    for i in range(300):
        window = draw_window(clip, whole(clip), np.random.default_rng(i), sampling)
        frames, cameras = sorted({f for f, _ in window.context}), [c for c in names if (frames_of(window, c))]
        assert window.context == tuple((f, c) for f in frames for c in cameras)
        assert 2 <= len(frames) <= 5 and len(window.context) <= 6 and window.middle in frames
        assert names[names.index(cameras[0]) :][: len(cameras)] == cameras
        gaps = np.diff(clip.times_us[frames])
        assert gaps.max() <= 650_000
        counts.add(len(cameras))
        assert 1 <= len(window.targets) <= 4 and len(set(window.targets)) == len(window.targets)
        for frame, camera in window.targets:
            time_us = clip.times_us[frame]
            assert (
                clip.times_us[frames[0]] - gaps.max() - 1000 <= time_us <= clip.times_us[frames[-1]] + gaps.max() + 1000
            )
            own += (frame, camera) in window.context
            apart.add(camera in cameras)
    assert counts == {1, 2, 3} and 20 < own < 250 and apart == {True, False}


def frames_of(window: Window, camera: str) -> list[int]:
    return [frame for frame, name in window.context if name == camera]


def test_scored_windows_are_fixed_and_between(clip: Clip) -> None:
    window = scored_window(clip, whole(clip), Sampling(max_views=6))
    assert window == scored_window(clip, whole(clip), Sampling(max_views=6))
    assert window.context == tuple((f, "front") for f in (0, 2, 5, 7)) and {c for _, c in window.targets} == {"front"}
    assert [f for f, _ in window.targets] == [1, 3, 4, 6]
    three = scored_window(clip, whole(clip), Sampling(max_views=12))
    assert {c for _, c in three.context} == {"front_left", "front", "front_right"}


# samples


def test_samples_depend_on_seed_and_number_alone(worlds: Path) -> None:
    task, again = SmallTask(worlds), SmallTask(worlds)
    first = [task.sample(i) for i in range(6)]
    for number in (5, 0, 3):
        same = again.sample(number)
        assert same.name == first[number].name and same.twins == first[number].twins
        assert all(torch.equal(a, b) for a, b in zip(tensors(same), tensors(first[number]), strict=True))
    other = SmallTask(worlds, replace(task.recipe, seed=1))
    assert not all(torch.equal(other.sample(i).context.Ks, first[i].context.Ks) for i in range(6))


def test_ranks_share_the_samples_and_resume_where_they_were(worlds: Path) -> None:
    task = SmallTask(worlds)
    alone, later = task.batches(0, 4, 0, 1), task.batches(4, 4, 0, 1)
    steps = [next(alone), next(alone)]
    assert [prints(s) for s in next(later)] == [prints(s) for s in steps[1]]
    ranks = [task.batches(0, 2, rank, 2) for rank in range(2)]
    for step in steps:
        parts = [next(rank) for rank in ranks]
        shared = [parts[i % 2][i // 2] for i in range(4)]
        assert [prints(s) for s in shared] == [prints(s) for s in step]
        assert len({prints(s) for s in shared}) == 4


def prints(sample: Sample) -> tuple[str, float, float]:
    return sample.name, float(sample.context.images.sum()), float(sample.context.scene_from_cam.sum())


def test_prefetching_keeps_order_and_passes_errors_on() -> None:
    def load(number: int) -> int:
        if number == 7:
            raise InputError("clip", "a picture", "none")
        return number * number

    results = prefetched(load, range(100), threads=3, ahead=5)
    assert [next(results) for _ in range(7)] == [n * n for n in range(7)]
    with pytest.raises(InputError, match="a picture"):
        next(results)
    assert list(prefetched(load, range(3), threads=2, ahead=9)) == [0, 1, 4]


def test_a_recordings_depth_is_its_lidar(tmp_path: Path) -> None:
    made = read_clip(write_world(fake_world(WorldSpec("city", 1, 0.5, 10.0, 64, 32), "surround6"), tmp_path / "c"))
    window = Window(((0, "CAM_FRONT"), (2, "CAM_FRONT")), ((1, "CAM_FRONT"),), 2)
    world = load_sample(made, window, PIXELS)
    drive = load_sample(replace(made, extras={}), window, PIXELS)
    assert world.exact and not drive.exact and drive.context.velocity is None
    lidar = drive.context.lidar_m
    assert torch.equal(depth_of(drive.context), lidar) and 20 < int((lidar > 0).sum()) < lidar.numel() / 2
    truth = depth_of(world.context)[lidar > 0]
    ratio = truth / lidar[lidar > 0]
    assert float(((ratio - 1).abs() < 0.1).float().mean()) > 0.8  # pixels at edges see the one, beams the other
    # Kept for the loss where it is taken from the network.
    blind = augment(drive, np.random.default_rng(0), replace(NONE, no_lidar=1.0))
    assert not blind.context.lidar_m.any() and torch.equal(depth_of(blind.context), lidar)


def test_the_network_is_given_no_truth(sample: Sample) -> None:
    assert sample.given.depth_m is None and sample.given.velocity is None
    assert sample.twins == (-1, 2) and torch.equal(sample.targets.images[1], sample.context.images[2])
    assert float(sample.context.times_s[0]) == pytest.approx(-0.4) and float(sample.targets.times_s[1]) == 0.0


# augmentation


def lifted(views: Views, view: int) -> Tensor:
    """Points [H, W, 3] of a view's depth in the scene's frame."""
    rays = torch.from_numpy(views.camera(view).rays()).float()
    return views.scene_from_cam[view, :3, 3] + rays * depth_of(views)[view][..., None]


def test_a_mirrored_window_is_a_window_of_the_mirrored_world(sample: Sample) -> None:
    views, flipped = sample.context, mirrored(sample.context)
    mirror = torch.tensor([1.0, -1.0, 1.0])
    for v in range(len(views)):
        pose = flipped.scene_from_cam[v, :3, :3]
        assert float(torch.linalg.det(pose)) == pytest.approx(1.0, abs=1e-5)
        known = torch.isfinite(depth_of(views)[v]) & (depth_of(views)[v] > 0)
        assert int(known.sum()) > 200
        expected, found = lifted(views, v)[known] * mirror, lifted(flipped, v).flip(1)[known]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        # A point of one view is seen at the mirrored pixel in another.
        other = (v + 1) % len(views)
        pixels, depth = views.camera(other).project(lifted(views, v)[known].double().numpy())
        seen, seen_depth = flipped.camera(other).project(expected.double().numpy())
        near = depth > 1.0
        np.testing.assert_allclose(seen[near][:, 0], views.size[1] - pixels[near][:, 0], atol=0.05)
        np.testing.assert_allclose(seen[near][:, 1], pixels[near][:, 1], atol=0.05)
        np.testing.assert_allclose(seen_depth, depth, atol=1e-3)
    assert views.velocity is not None and flipped.velocity is not None and bool(views.velocity.any())
    torch.testing.assert_close(flipped.velocity.flip(2), views.velocity * mirror)
    for again, before in zip(tensors_of(mirrored(flipped)), tensors_of(views), strict=True):
        torch.testing.assert_close(again, before)


def tensors_of(views: Views) -> list[Tensor]:
    return [value for value in vars(views).values() if value is not None]


def test_backwards_in_time_things_move_to_where_they_were(sample: Sample) -> None:
    views, back = sample.context, reversed_time(sample.context)
    assert views.velocity is not None and back.velocity is not None
    gap = float(views.times_s[2] - views.times_s[0])
    moved = lifted(views, 0) + views.velocity[0] * gap
    again = lifted(back, 0) + back.velocity[0] * float(back.times_s[2] - back.times_s[0])
    known = torch.isfinite(depth_of(views)[0])
    torch.testing.assert_close(again[known], moved[known])
    assert back.times_s.tolist() == [-t for t in views.times_s.tolist()]
    assert torch.equal(back.scene_from_cam, views.scene_from_cam)


def test_simulated_lidar_is_sparse_and_true(sample: Sample) -> None:
    given = scanned(sample.context, np.random.default_rng(3)).lidar_m
    depth = depth_of(sample.context)
    hit = given > 0
    assert 0.005 < float(hit.float().mean()) < 0.5 and bool(torch.isfinite(depth[hit]).all())
    assert float((given[hit] / depth[hit] - 1).abs().max()) < 0.06
    assert float(depth[hit].max()) <= 80.0


def test_colors_change_alike_but_for_exposure_and_noise(sample: Sample) -> None:
    same = augment(sample, np.random.default_rng(0), NONE)
    for a, b in zip(tensors(same), tensors(sample), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=0)
    look = Augmentation(flip=0.0, reverse=0.0, exposure=0.0, noise=0.0, lidar=0.0, no_lidar=0.0, texture=0.0)
    changed = augment(sample, np.random.default_rng(1), look)
    assert float((changed.context.images - sample.context.images).abs().mean()) > 0.01
    # The same ground shows the same color in all of a window's pictures, as it did.
    bottom = [float(views.images[0, 0, -1].median()) for views in (changed.context, changed.targets)]
    assert bottom[0] == pytest.approx(bottom[1], abs=1e-4)
    exposed = augment(sample, np.random.default_rng(1), replace(NONE, exposure=1.0))
    torch.testing.assert_close(exposed.targets.images[0], sample.targets.images[0], atol=2e-6, rtol=0)
    assert torch.equal(exposed.targets.images[1], exposed.context.images[2])
    assert float((exposed.context.images - sample.context.images).abs().mean()) > 0.005
    assert bool((exposed.context.images >= 0).all()) and bool((exposed.context.images <= 1).all())
