"""Streaming a clip into a scene, and the command that does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fusion import psnr
from true_depth import CONFIG, knowing, standing_clip, street_clip

from jwmtool.artifacts.clip import Clip, Split
from jwmtool.artifacts.scene_io import read_scene, scene_content_sha256, write_scene
from jwmtool.artifacts.weights import write_weights
from jwmtool.errors import InputError
from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.geometry import se3
from jwmtool.metrics.windows import scene_files, windows
from jwmtool.worldrec import stream as streaming
from jwmtool.worldrec.checkpoint import find_model, load_model
from jwmtool.worldrec.model import WorldRec, build_model
from jwmtool.worldrec.plan import MOST_VIEWS, spaced, windows_of
from jwmtool.worldrec.stream import Stream, reconstruct_clip
from jwmtool.worldrec.views import Views


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return street_clip(tmp_path_factory.mktemp("street") / "clip", 40)


@pytest.fixture(scope="module")
def model(clip: Clip) -> WorldRec:
    return knowing(clip)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    torch.manual_seed(0)
    write_weights(path, build_model(CONFIG).state_dict(), {"config": CONFIG.to_dict()})
    return path


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jwmtool.cli.main", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def looked_at(clip: Clip, keys: list[tuple[int, str]]) -> list[tuple[int, str]]:
    frames = spaced(clip, [frame for frame, _ in keys])
    return [key for key in keys if key[0] in frames]


def test_frames_that_tell_little_are_left_out(clip: Clip) -> None:
    """The drive is slow at first: pictures every 0.3 s, or every 2 m, and no gap longer than the frames themselves."""
    ways = np.concatenate([np.linspace(0.0, 1.0, 21), 1.0 + 1.5 * np.arange(1, 5), 7.0 + 3.0 * np.arange(1, 5)])
    frames = []
    for way_m, frame in zip(ways, clip.frames, strict=False):
        pose = np.eye(4)
        pose[0, 3] = way_m
        frames.append(replace(frame, world_from_rig=pose))
    drive = replace(clip, frames=frames)
    assert spaced(drive, range(29)) == [*range(0, 19, 3), *range(21, 29)]
    assert spaced(drive, [0, 20]) == [0, 20] and spaced(drive, [5]) == [5]


def test_windows_follow_each_other(clip: Clip) -> None:
    given = clip.images(withheld=False)
    parts = windows_of(clip, given, 1.0)
    assert len(parts) == 4
    assert [key for part in parts for key in part.own] == looked_at(clip, given), "each is one window's own"
    assert not parts[0].before and not parts[-1].after
    for one, other in pairwise(parts):
        assert one.after == other.own[:1] and other.before == one.own[-1:]
    for part in parts:
        assert len(part.before + part.own + part.after) <= MOST_VIEWS
        assert (part.middle, "front") in part.own


def test_too_many_pictures_are_left_out_evenly(clip: Clip) -> None:
    names = [f"cam{k}" for k in range(3)]
    frames = [replace(f, images={name: replace(f.images["front"], camera=name) for name in names}) for f in clip.frames]
    rig = replace(clip, frames=frames, cameras=dict.fromkeys(names, clip.cameras["front"]), split=Split())
    parts = windows_of(rig, rig.images(), 2.0)
    assert [len(part.own) for part in parts] == [18, 18]
    for part in parts:
        own = sorted({frame for frame, _ in part.own})
        steps = np.diff([spaced(clip, range(40)).index(frame) for frame in own])
        assert steps.max() - steps.min() <= 1 and len(part.before + part.own + part.after) <= MOST_VIEWS


def test_a_clip_becomes_a_valid_scene(clip: Clip, model: WorldRec, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    scene = reconstruct_clip(clip, model, window_s=1.0, tick=lambda done, total: told.append((done, total)))
    assert told == [(k, 4) for k in range(5)]
    g = scene.gaussians
    assert len(g) > 5000 and float(g.opacities.min()) >= 0.01
    static = g.time_sigma >= STATIC_SIGMA_S
    assert float(static.float().mean()) < 1.0 and bool((g.velocity[static] == 0).all())
    assert np.array_equal(scene.world_from_scene, se3.orthonormalized(clip.frames[0].world_from_rig))
    assert scene.time_origin_us == clip.frames[0].time_us
    # Only what was given was looked at.
    given = looked_at(clip, clip.images(withheld=False))
    assert scene.exposure["front"].times_us.tolist() == [clip.frames[f].images[name].time_us for f, name in given]
    for frame in (2, 14, 26, 38):
        assert psnr(scene, clip, frame) > 21.0
    # Reading checks every value.
    write_scene(scene, tmp_path / "s.h5")
    back = read_scene(tmp_path / "s.h5")
    assert back.tokens is not None and len(back.tokens) == len(scene.tokens or [])
    assert scene_content_sha256(back) == scene_content_sha256(scene)


def test_the_order_of_pictures_does_not_matter(clip: Clip, model: WorldRec) -> None:
    given = [key for key in clip.images(withheld=False) if key[0] < 24]
    one = reconstruct_clip(clip, model, keys=given, window_s=1.0)
    other = reconstruct_clip(clip, model, keys=given[::-1], window_s=1.0)
    assert scene_content_sha256(one) == scene_content_sha256(other)


def test_windows_help_each_other(clip: Clip, model: WorldRec) -> None:
    """The whole is as good in each part as what is made of that part alone, or nearly, and smaller than all parts."""
    given = clip.images(withheld=False)
    whole = reconstruct_clip(clip, model, window_s=1.0)
    parts = [reconstruct_clip(clip, model, keys=[k for k in given if a <= k[0] < a + 10]) for a in (0, 10, 20, 30)]
    for a, part in zip((0, 10, 20, 30), parts, strict=True):
        frame = a + 6 if (a + 6) % 4 == 2 else a + 4
        assert psnr(whole, clip, frame) > psnr(part, clip, frame) - 1.5
    assert len(whole.gaussians) < 0.95 * sum(len(part.gaussians) for part in parts)


def test_what_lies_behind_is_frozen_and_taken_up_again(
    clip: Clip, model: WorldRec, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = clip.images(withheld=False)
    everything = reconstruct_clip(clip, model, window_s=0.5)
    monkeypatch.setattr(streaming, "BEHIND_M", 6.0)
    working: list[int] = []
    freeze = Stream._freeze

    def watched(self: Stream, now: float) -> None:
        freeze(self, now)
        working.append(len(self.state.tokens))

    monkeypatch.setattr(Stream, "_freeze", watched)
    stream = Stream(model, everything.world_from_scene, everything.time_origin_us)
    stream.extend(clip, given, 0.5)
    assert len(stream.frozen) > 2
    assert working[-1] < 1.3 * working[len(working) // 2], "what is worked on does not grow with the clip"
    scene = stream.scene(clip)
    assert 0.95 < len(scene.gaussians) / len(everything.gaussians) < 1.05
    assert psnr(scene, clip, 6) > psnr(everything, clip, 6) - 0.5
    # The same drive once more: what is frozen comes back, and is not made twice.
    left = sum(len(piece.state.gaussians) for piece in stream.frozen)
    stream.extend(clip, [key for key in given if key[0] < 12], 0.5)
    assert len(stream.scene(clip).gaussians) < 1.15 * len(scene.gaussians)
    assert sum(len(piece.state.gaussians) for piece in stream.frozen) < left


def test_standing_adds_nothing(clip: Clip) -> None:
    """A scene grows with the road that is newly seen, not with time; and what was seen long stays for all time."""
    standing = standing_clip(clip)
    model = knowing(standing)
    second, all_four = (
        reconstruct_clip(standing, model, keys=standing.images()[:count], window_s=1.0) for count in (10, 40)
    )
    assert len(all_four.gaussians) < 1.5 * len(second.gaussians), "of four times the time"
    static = all_four.gaussians.time_sigma >= STATIC_SIGMA_S
    assert float(static.float().mean()) > 0.2 and bool((all_four.gaussians.velocity[static] == 0).all())
    assert psnr(all_four, standing, 30) > psnr(second, standing, 5) - 1.4, "edges of what stands live on, too"
    assert psnr(all_four, standing, 38) > psnr(all_four, standing, 18) - 1.0, "and nothing fades"


def test_nothing_to_look_at(clip: Clip, model: WorldRec) -> None:
    nothing = replace(clip, split=Split(cameras=("front",)))
    with pytest.raises(InputError, match="pictures to reconstruct from"):
        reconstruct_clip(nothing, model)


def test_each_window_is_looked_back_at(clip: Clip, model: WorldRec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watched(gaussians: Gaussians, found: object, views: Views) -> Gaussians:
        asked.append(len(views))
        return gaussians.replace(sh=torch.zeros_like(gaussians.sh))

    monkeypatch.setattr(streaming, "looked_back", watched)
    keys = [key for key in clip.images(withheld=False) if key[0] < 20]
    scene = reconstruct_clip(clip, model, keys=keys, window_s=1.0)
    parts = windows_of(clip, keys, 1.0)
    assert len(parts) == 2 and asked == [len(part.before + part.own + part.after) for part in parts]
    assert len(scene.gaussians) and not bool(scene.gaussians.sh.any()), "what it says is kept"


def test_faint_gaussians_are_dropped_and_pixels_are_not_fused(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    # A look back moves the middles of lives, by which pictures are told here.
    monkeypatch.setattr(streaming, "looked_back", lambda gaussians, found, views: gaussians)
    torch.manual_seed(0)
    pixel = build_model(replace(CONFIG, method="pixel")).eval()
    pixel.depth = knowing(clip).depth
    keys = [key for key in clip.images(withheld=False) if key[0] < 16]
    scene = reconstruct_clip(clip, pixel, keys=keys, window_s=1.0)
    assert scene.tokens is None
    times = torch.unique(scene.gaussians.time_mid)
    assert len(times) == len(looked_at(clip, keys)), "each picture's pixels once, though neighbors borrow it"
    with torch.no_grad():
        pixel.pixel.head.out.bias[9] = -20.0  # the logit of opacity
    assert isinstance(scene.gaussians, Gaussians)
    assert len(reconstruct_clip(clip, pixel, keys=keys).gaussians) == 0


def test_opening_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    model = load_model(checkpoint)
    assert not model.training and model.config == CONFIG
    assert load_model(checkpoint.parent).config == CONFIG, "a folder will do"
    assert find_model(str(checkpoint), "worldrec") == checkpoint
    with pytest.raises(InputError, match="--model PATH"):
        find_model("no-such-model", "worldrec")
    write_weights(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="weights of WorldRec"):
        load_model(tmp_path / "other.safetensors")


def test_command(clip: Clip, checkpoint: Path, tmp_path: Path) -> None:
    flags = ("--model", str(checkpoint))
    source = str(clip.root)
    done = run("reconstruct", source, "-o", "s.h5", *flags, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip() == "s.h5", done.stderr
    scene = read_scene(tmp_path / "s.h5")
    made = scene.history[-1]
    assert made["method"] == "worldrec" and made["settings"]["model"] == CONFIG.to_dict()
    assert len(made["inputs"]) == 2 and len(scene.gaussians) > 100 and scene.tokens is not None
    done = run("reconstruct", source, "-o", "w", "--windows", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = windows(clip)
    files = scene_files(tmp_path / "w", found)
    assert sorted(files) == [0, 20]
    given = {int(t) for path in files.values() for t in read_scene(path).exposure["front"].times_us}
    assert given == {clip.frames[w.first + k].time_us for w in found for k in w.context}


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--budget", "3s"], 2, "--method optimize"),
        (["--method", "optimize", "--model", "x"], 2, "--model"),
        (["--model", "no-such-model"], 3, "--model PATH"),
        (["--method", "pixel"], 3, "a network of --method pixel"),
        (["--windows", "--method", "optimize", "--resume"], 2, "--resume"),
    ],
)
def test_command_refuses(clip: Clip, checkpoint: Path, tmp_path: Path, flags: list[str], code: int, said: str) -> None:
    if flags == ["--method", "pixel"]:
        flags = [*flags, "--model", str(checkpoint)]
    done = run("reconstruct", str(clip.root), "-o", "s.h5", *flags, cwd=tmp_path)
    assert done.returncode == code and said in done.stderr, done.stderr
    assert not (tmp_path / "s.h5").exists()
