"""`jwm generate`: chunks that join, the same bits again, and every output and error of the command."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scenes import random_scene
from street_scene import lifted_scene, street_clip
from tiny_worldgen import tiny
from torch import Tensor

from jwmtool.artifacts.clip import Track
from jwmtool.artifacts.clip_io import read_clip, write_clip_json
from jwmtool.artifacts.frame_meta import read_meta
from jwmtool.artifacts.images import read_image
from jwmtool.artifacts.scene_io import write_scene
from jwmtool.artifacts.video import read_frames, read_provenance, read_video, video_rate_hz
from jwmtool.artifacts.weights import write_weights
from jwmtool.cli.main import run
from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.joint.chunks import Overlapping, joined, last
from jwmtool.joint.drive import DriveRequest, resolve_drive
from jwmtool.joint.generate import generate, noise_of
from jwmtool.joint.models import Models, open_models
from jwmtool.joint.prior import PriorRenderer, carry_pictures
from jwmtool.joint.run import KEEP
from jwmtool.joint.told import tell
from jwmtool.worldgen import checkpoint
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import AutoencoderConfig
from jwmtool.worldgen.carry import TRUST
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.known import Known, channel_counts
from jwmtool.worldgen.sampler import CALM, Sampling

CHANNELS, SIZE = 8, (64, 32)
AUTOENCODER = AutoencoderConfig(16, CHANNELS, (8, 8, 16), (1, 1, 1), (8, 8, 16), (1, 1, 1))
TINY = {
    "patch": 1, "in_channels": CHANNELS, "out_channels": CHANNELS, "ego_dim": 8, "num_tags": 22,
    "concat_channels": sum(channel_counts(CHANNELS, 16).values()), "latent_rate_hz": 10.0,
    "start_stride": 16, "carry": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip/, scene.h5, and two networks small enough for tests."""
    folder = tmp_path_factory.mktemp("here")
    clip = street_clip(folder / "clip", stereo=True)
    write_scene(lifted_scene(clip), folder / "scene.h5")
    write_scene(replace(random_scene(10), cameras={}), folder / "bare.h5")
    torch.manual_seed(0)
    autoencoder = Autoencoder(AUTOENCODER)
    for parameter in autoencoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    told = {"task": "autoencoder", "config": AUTOENCODER.to_dict()}
    write_weights(folder / "ae.safetensors", autoencoder.state_dict(), told)
    checkpoint.save_model(folder / "wg.safetensors", tiny(**TINY))
    return folder


@pytest.fixture(scope="module")
def models(here: Path) -> Models:
    return open_models(here / "wg.safetensors", here / "ae.safetensors", "cpu")


class Counting:
    """A velocity that pulls every frame to a number of its own, told by its time; remembers what was clean."""

    def __init__(self) -> None:
        self.clean: list[Tensor] = []
        self.lengths: list[int] = []

    def __call__(self, latents: Tensor, times: Tensor, given: Conditions) -> Tensor:
        if float(times.max()) == 1.0:  # the first step of a chunk
            self.clean.append(latents[:, :, times[0] == 0].clone())
            self.lengths.append(latents.shape[2])
        target = given.times_s.float()[:, None, :, None, None, None] * 10.0
        return (latents - target) / times.clamp_min(1e-6)[:, None, :, None, None, None]


@pytest.mark.parametrize("num_frames", [1, 16, 17, 40])
@pytest.mark.parametrize("begun", [False, True])
def test_chunks_join(num_frames: int, begun: bool, models: Models) -> None:
    network = Counting()
    drive = resolve_drive(DriveRequest(num_frames, size=SIZE))
    chunks = Overlapping(network, 16, Sampling(3))
    first = torch.zeros(1, 1, 3, 32, 64) if begun else None
    encoded = None if first is None else models.autoencoder.encode(first)[None]
    latents, start = [], 0
    while start < num_frames:
        frames = range(start, min(start + chunks.size(), num_frames))
        known, noise = tell(drive, frames, models.autoencoder, None), noise_of(drive, frames, models.autoencoder, 0)
        latents.append(chunks.push(known, noise, encoded if start == 0 else None))
        start = frames.stop
    video = torch.cat(latents, dim=2)
    assert [part.shape[2] for part in latents] == {1: [1], 16: [16], 17: [16, 1], 40: [16, 12, 12]}[num_frames]
    of_frame = torch.arange(num_frames).float()[None, None, :, None, None, None].expand_as(video)
    assert torch.allclose(video[:, :, begun:], of_frame[:, :, begun:], atol=1e-4)
    if encoded is not None:
        assert torch.equal(video[:, :, :1], encoded)
    made = [(16, int(begun)), (5, 4)] if num_frames == 17 else [(16, int(begun)), (16, 4), (16, 4)]
    made = [] if num_frames == begun else [(1, 0)] if num_frames == 1 else made[: len(latents)]
    assert [(n, clean.shape[2]) for n, clean in zip(network.lengths, network.clean, strict=True)] == made
    for k, clean in enumerate(network.clean[1:], 1):
        end = sum(part.shape[2] for part in latents[:k])
        assert torch.equal(clean, video[:, :, end - 4 : end])


def test_stretches_of_what_is_known_join_and_end() -> None:
    known = Known(torch.arange(6)[None].double(), tags=torch.tensor([[3]]), ego=torch.randn(1, 6, 8),
                  rays=torch.randn(1, 2, 6, 6, 2, 2))  # fmt: skip
    end = last(known, 2)
    assert end.times_s.tolist() == [[4.0, 5.0]]
    both = joined(known, end)
    assert both.ego is not None and both.rays is not None and end.rays is not None and known.rays is not None
    assert both.ego.shape == (1, 8, 8)
    assert torch.equal(both.rays, torch.cat((known.rays, known.rays[:, :, 4:]), dim=2))
    assert both.tags is known.tags
    with pytest.raises(ValueError, match="ego"):
        joined(known, replace(known, ego=None))
    shown = joined(end, replace(known, prior=torch.ones(1, 2, 6, 4, 2, 2), coverage=torch.ones(1, 2, 6, 1, 2, 2)))
    assert shown.prior is not None and shown.prior.shape == (1, 2, 8, 4, 2, 2), "before, nothing was shown: zeros"
    assert shown.prior[:, :, :2].abs().sum() == 0 and shown.prior[:, :, 2:].min() == 1
    with pytest.raises(UsageError, match="overlap"):
        Overlapping(Counting(), 16, Sampling(), chunk=4, overlap=4)


def test_what_is_told_of_a_chunk_is_that_of_the_whole(here: Path, models: Models) -> None:
    """Motion, rays, prior and noise of frames do not depend on how a video is cut into chunks."""
    clip = street_clip(here / "other", num_frames=7)
    scene = lifted_scene(clip)
    drive = resolve_drive(DriveRequest(7, size=SIZE, tags={"weather": "snow"}), scene)

    def of(frames: range) -> Known:
        return tell(drive, frames, models.autoencoder, PriorRenderer(scene).render(drive, frames))

    whole, parts = of(range(7)), joined(of(range(3)), of(range(3, 7)))
    assert set(whole.groups()) == {"text", "ego", "prior", "rays"}
    for name in ("times_s", "ego", "prior", "coverage", "rays", "tags"):
        assert torch.allclose(getattr(whole, name), getattr(parts, name), atol=1e-5), name
    noise = noise_of(drive, range(7), models.autoencoder, 3)
    assert torch.equal(noise[:, :, 4:6], noise_of(drive, range(4, 6), models.autoencoder, 3))
    assert noise.std() == pytest.approx(1.0, abs=0.05)
    assert not torch.equal(noise[:, :, 0], noise[:, :, 1])


def test_the_same_seed_gives_the_same_bits(models: Models) -> None:
    drive = resolve_drive(DriveRequest(18, size=SIZE))

    def video(seed: int) -> Tensor:
        chunks = Overlapping(models.transformer, 16, Sampling(2))
        return torch.cat([some.video for some in generate(drive, chunks, models.autoencoder, seed)], dim=1)

    once, again, other = video(5), video(5), video(6)
    assert once.shape == (1, 18, 3, 32, 64)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_what_the_scene_shows_is_kept_as_far_as_it_covers(here: Path, models: Models) -> None:
    scene = replace(lifted_scene(street_clip(here / "kept", num_frames=4)), sky=None)
    drive = resolve_drive(DriveRequest(4, size=SIZE), scene)

    def video(keep: float) -> tuple[Tensor, Tensor, Tensor]:
        chunks = Overlapping(models.transformer, 16, Sampling(1))
        (made,) = generate(drive, chunks, models.autoencoder, 0, scene=PriorRenderer(scene), keep=keep)
        assert made.prior is not None
        return made.video, made.prior.color, made.prior.coverage

    plain, color, coverage = video(0.0)
    assert float(coverage.mean()) > 0.2 and float(coverage.min()) < 0.5, "the scene covers some of it"
    half, _, _ = video(0.5)
    assert torch.allclose(half, plain + 0.5 * coverage * (color - plain), atol=1e-6)
    assert (half - plain).abs().max() > 0.05


def test_without_a_scene_the_last_picture_is_carried_to_the_next_frames(models: Models) -> None:
    """The first chunk from the first frame, each later one from the frame before it; only for models trained so."""
    drive = resolve_drive(DriveRequest(18, size=SIZE, trajectory="straight 20m"))
    first = torch.rand(1, 1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    shown: list[Known] = []

    class Watching(Overlapping):
        def push(self, known: Known, *others: Any, **named: Any) -> Tensor:
            shown.append(known)
            return super().push(known, *others, **named)

    def made(carry: bool, begun: Tensor | None, keep: float = 0.0) -> list[Tensor]:
        shown.clear()
        chunks = Watching(models.transformer, 16, Sampling(1))
        some = generate(drive, chunks, models.autoencoder, 0, first=begun, carry=carry, keep=keep)
        return [part.video for part in some]

    videos = made(True, first)
    starts = ((first[:, 0], 0, range(16)), (videos[0][:, -1], 15, range(16, 18)))
    for known, (pictures, source, frames) in zip(shown, starts, strict=True):
        expected = carry_pictures(pictures, drive, source, frames)
        assert known.prior is not None and known.coverage is not None
        with torch.no_grad():
            assert torch.equal(known.prior[0], models.autoencoder.encode(expected.color))
        assert float(known.coverage.max()) == pytest.approx(TRUST)
    assert not torch.equal(*(known.prior[:, :, 1] for known in shown if known.prior is not None))
    half = made(True, first, keep=0.5)[0]
    carried = carry_pictures(first[:, 0], drive, 0, range(16))
    assert torch.allclose(half, torch.lerp(videos[0], carried.color, 0.5 * carried.coverage.expand_as(half)), atol=1e-6)
    made(True, None)
    assert shown[0].prior is None and shown[1].prior is not None, "later chunks have a picture before them"
    made(False, first)
    assert all(known.prior is None for known in shown)


# the command


@pytest.fixture
def jwm(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `jwm generate` in a new folder, with the small networks, two steps and a small size."""
    monkeypatch.chdir(tmp_path)
    small = ("--model", here / "wg.safetensors", "--autoencoder", here / "ae.safetensors", "--steps", "2")

    def command(*arguments: object, size: str = "64x32", frames: int | None = 3) -> int:
        length = () if frames is None else ("--frames", frames)
        return run([str(a) for a in ("generate", *small, "--size", size, *length, *arguments)])

    return command


def test_a_video_of_a_scene(
    jwm: Callable[..., int], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jwm("--prior", here / "scene.h5", frames=18) == 0
    out, err = capsys.readouterr()
    assert out == "video.mp4\n"
    assert "goes on with constant speed" in err
    meta = read_meta(tmp_path / "video.mp4")
    assert len(list(read_video(tmp_path / "video.mp4"))) == len(meta) == 18
    assert video_rate_hz(tmp_path / "video.mp4") == pytest.approx(10.0)
    assert meta[0].camera == "front" and meta[0].K is not None and meta[0].seed == 0
    assert meta[0].coverage is not None and meta[0].coverage > 0.5
    assert meta[0].action is not None and meta[0].action[0] > 1.0
    history = read_provenance(tmp_path / "video.mp4")
    assert history[-1]["argv"][:2] == ["jwm", "generate"]
    read = ["scene.h5", "wg.safetensors", "ae.safetensors", "repair-mini"]
    assert [Path(i["path"]).name for i in history[-1]["inputs"]] == read
    sampling = history[-1]["sampling"]
    assert history[-1]["keep"] == KEEP
    assert sampling["steps"] == 2 and sampling["temperature"] == CALM, "a small model's own"
    assert jwm("--prior", here / "scene.h5") == 4
    # The video's own actions drive it again.
    assert jwm("--prior", here / "scene.h5", "--actions", "video.jsonl", "-o", "again.mp4", frames=18) == 0
    for a, b in zip(meta, read_meta(tmp_path / "again.mp4"), strict=True):
        assert a.world_from_cam is not None and b.world_from_cam is not None
        assert np.abs(a.world_from_cam - b.world_from_cam).max() < 0.05


def test_the_same_command_gives_the_same_pictures(jwm: Callable[..., int], here: Path, tmp_path: Path) -> None:
    for name, seed in (("a.mp4", 1), ("b.mp4", 1), ("c.mp4", 2)):
        assert jwm("--clip", here / "clip", "--seed", seed, "-o", name) == 0
    assert jwm("--clip", here / "clip", "--temperature", 0.2, "-o", "d.mp4") == 0
    assert read_provenance(tmp_path / "d.mp4")[-1]["sampling"]["temperature"] == 0.2
    a, b, c = (np.stack(list(read_video(tmp_path / f"{name}.mp4"))) for name in "abc")
    assert (a == b).all()
    assert (a[1:] != c[1:]).any()


def test_stills_folders_cameras_and_samples(
    jwm, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jwm("-o", "still.png", frames=None) == 0
    assert read_image(tmp_path / "still.png").shape == (32, 64, 3)
    assert jwm("-o", "frames") == 0
    assert len(list(read_frames(tmp_path / "frames"))) == 3
    capsys.readouterr()
    assert jwm("--clip", here / "clip", "--cameras", "front,front_right") == 0
    assert capsys.readouterr().out == "video\n"
    assert sorted(p.name for p in (tmp_path / "video").iterdir()) == [
        "front.jsonl", "front.mp4", "front_right.jsonl", "front_right.mp4",
    ]  # fmt: skip
    left, right = (read_meta(tmp_path / f"video/{name}.mp4")[0] for name in ("front", "front_right"))
    assert left.world_from_cam is not None and right.world_from_cam is not None
    assert not np.allclose(left.world_from_cam, right.world_from_cam)
    assert jwm("--num-samples", 2, "--seed", 7, "-o", "many") == 0
    files = [f"many/sample-0{k}.mp4" for k in range(2)]
    assert [read_meta(tmp_path / f)[0].seed for f in files] == [7, 8]
    assert jwm("--seed", 8, "-o", "eight.mp4") == 0
    second, eight = (np.stack(list(read_video(tmp_path / f))) for f in (files[1], "eight.mp4"))
    assert (second == eight).all()
    both = ("--num-samples", 2, "--clip", here / "clip", "--cameras", "front,front_right", "-o", "many")
    assert jwm(*both) == 4
    assert jwm(*both, "--force", frames=2) == 0
    assert len(list((tmp_path / "many").glob("sample-0[01]/front*.mp4"))) == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    assert jwm("--num-samples", 2, "--force", "-o", "mine") == 2
    assert (tmp_path / "mine/thesis.tex").exists()


def test_preview_shows_render_coverage_and_video(jwm: Callable[..., int], here: Path, tmp_path: Path) -> None:
    assert jwm("--prior", here / "scene.h5", "--preview", "-o", "p.mp4", size="64x48") == 0
    assert jwm("--prior", here / "scene.h5", "-o", "q.mp4", size="64x48") == 0
    shown, plain = next(read_video(tmp_path / "p.mp4")), next(read_video(tmp_path / "q.mp4"))
    assert shown.shape[1] >= 3 * 64
    part = shown[-50:-2, -66:-2].astype(float)  # the last of three, inside a margin of 2 px
    assert np.abs(part - plain).mean() < 6.0
    assert read_meta(tmp_path / "p.mp4")[0].K is None


def test_first_frames_prompts_and_actions(
    jwm, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next((here / "clip").rglob("*.png"))
    words = ("--prompt", "a purple city in the snow", "--weather", "rain")
    guided = ("--guidance", "text=2,ego=1.5,first=1.2")
    assert jwm("--first-frame", picture, *words, *guided, "-o", "a.mp4") == 0
    err = capsys.readouterr().err
    assert "purple" in err and err.count("\n") == 1
    assert read_provenance(tmp_path / "a.mp4")[-1]["tags"] == {"kind": "city", "weather": "rain"}
    assert jwm("--prompt", "purple", "-o", "b.mp4") == 0
    assert "without" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("5 0\n5 0.4\n"))
    assert jwm("--actions", "-", "-o", "c.mp4", frames=5) == 0
    lines = (tmp_path / "c.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == [[5.0, 0.0]] + [[5.0, 0.4]] * 4
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{here / 'scene.h5'}\n"))
    assert jwm("--prior", "-", "-o", "d.mp4") == 0
    assert read_meta(tmp_path / "d.mp4")[0].coverage is not None


def test_a_small_model_with_nothing_to_begin_with_says_what_to_expect(
    jwm: Callable[..., int], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jwm("--weather", "fog") == 0
    assert "nothing to begin with" in capsys.readouterr().err
    assert jwm("--clip", here / "clip", "-o", "begun.mp4") == 0
    assert "nothing to begin with" not in capsys.readouterr().err


def test_dry_run_says_what_it_would_do(
    jwm: Callable[..., int], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jwm("--prior", here / "scene.h5", "--clip", here / "clip", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert all(
        word in err for word in ("scene.h5", "clip", "wg.safetensors", "ae.safetensors", "would write video.mp4")
    )
    assert list(tmp_path.iterdir()) == []


def test_a_layout_is_drawn(jwm: Callable[..., int], here: Path, tmp_path: Path) -> None:
    clip = read_clip(here / "clip")
    ahead = clip.world_from_rig[0] @ se3.translation([12.0, 0.0, 0.8])
    track = Track("1", "car", (4.0, 1.8, 1.6), clip.times_us[[0, -1]], np.stack([ahead, ahead]))
    shutil.copytree(here / "clip", tmp_path / "drawn")
    write_clip_json(replace(clip, tracks=[track]), tmp_path / "drawn")
    assert jwm("--clip", here / "clip", "--layout", "drawn", "-o", "a.mp4") == 0
    assert jwm("--clip", here / "clip", "-o", "b.mp4") == 0
    a, b = (np.stack(list(read_video(tmp_path / name))) for name in ("a.mp4", "b.mp4"))
    assert (a[0] == b[0]).all()  # the first picture is known
    assert (a[1:] != b[1:]).any()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--prior", "{here}/bare.h5"), 2, "--clip CLIP lends"),
        (("--prior", "none.h5"), 3, "no such file"),
        (("--prior", "{here}/scene.h5", "--cameras", "rear"), 2, "expected some of front"),
        (("--size", "100x50"), 2, "multiples of 16"),
        (("--frames", "0"), 2, "--frames"),
        (("--weather", "hail"), 2, "--weather"),
        (("--guidance", "weather=2"), 2, "guidance"),
        (("--steps", "0"), 2, "--steps"),
        (("--model", "{here}/ae.safetensors"), 3, "weights of autoencoder"),
        (("--autoencoder", "{here}/other.safetensors"), 3, "in_channels 12"),
        (("--model", "none"), 3, "no such file or folder"),
        (("--trajectory", "jump.csv"), 3, "without jumps"),
        (("--trajectory", "speed 400km/h, straight 9m"), 2, "without jumps"),
        (("--trajectory", "fly home"), 2, "straight 20m"),
        (("--first-frame", "jump.csv"), 3, "image"),
        (("--first-frame", "{image}", "--clip", "{here}/clip", "--cameras", "front,front_right"), 2, "for each of"),
        (("--layout", "{here}/clip"), 3, "tracks"),
        (("--preview",), 2, "--prior"),
        (("--keep", "2"), 2, "--keep"),
        (("--num-samples", "2", "-o", "x.mp4"), 2, "no suffix"),
        (("--clip", "{here}/clip", "--cameras", "front,front_right", "-o", "x.mp4"), 2, "no suffix"),
        (("-o", "x.gif"), 2, ".mp4"),
        (("-o", "x.png"), 2, "--frames 1"),
        (("--prior", "-", "--actions", "-"), 2, "one of them"),
        (("--actions", "none.txt"), 3, "none.txt"),
        (("--rate", "0"), 2, "Hz"),
    ],
)  # fmt: skip
def test_bad_requests_are_one_clear_line(
    jwm: Callable[..., int],
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    if not (here / "other.safetensors").exists():
        config = replace(AUTOENCODER, channels=12)
        told = {"task": "autoencoder", "config": config.to_dict()}
        write_weights(here / "other.safetensors", Autoencoder(config).state_dict(), told)
    (tmp_path / "jump.csv").write_text("time_s,x,y,z,yaw_deg\n0,0,0,0,0\n0.1,20,0,0,0\n")
    places = {"{here}": str(here), "{image}": str(next((here / "clip").rglob("*.png")))}
    filled = arguments
    for place, value in places.items():
        filled = tuple(word.replace(place, value) for word in filled)
    assert jwm(*filled) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert said in err
    assert [p.name for p in tmp_path.iterdir()] == ["jump.csv"]


def test_weights_that_name_another_autoencoder(
    here: Path, jwm: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "stranger.safetensors"
    checkpoint.save_model(path, tiny(**TINY), {"autoencoder_sha256": "0" * 64}, force=True)
    assert jwm("--model", path, frames=1) == 0
    assert "another autoencoder" in capsys.readouterr().err
