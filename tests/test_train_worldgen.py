"""Training WorldGen: it learns, resumes bit for bit, counts only noisy frames, and errors are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from one_line import told_in_one_line
from small_autoencoder import CONFIG as CODER
from small_worldgen import CONFIG, RECIPE, SETTINGS, SMALL, SmallTask, coder, write_coder
from standin_worldrec import kill_at, write_worlds
from torch import nn

from jwmtool.artifacts.weights import read_metadata, read_weights, write_weights
from jwmtool.cli.main import run
from jwmtool.errors import UsageError
from jwmtool.training.checkpoint import BEST, LAST
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.run import Run
from jwmtool.training.worldgen import plan
from jwmtool.training.worldgen.loss import velocity_errors
from jwmtool.training.worldgen.recipe import chosen_config, fitted
from jwmtool.training.worldgen.samples import Spec, stacked
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import CONFIGS as CODERS
from jwmtool.worldgen.checkpoint import load_model
from jwmtool.worldgen.config import CONFIGS
from jwmtool.worldgen.known import channel_counts


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb's `mini` and its recipe are those of these tests."""
    monkeypatch.setitem(CONFIGS, "mini", SMALL)
    monkeypatch.setattr(plan, "Recipe", lambda seed: replace(RECIPE, seed=seed))


# loss


class Told(nn.Module):
    """Velocity that is given; remembers what it was shown."""

    def __init__(self, velocity: torch.Tensor) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, conditions: object) -> torch.Tensor:
        self.latents, self.timesteps = latents, timesteps
        return self.velocity


def test_known_frames_do_not_count_and_are_shown_clean(worlds: Path, cache: Path) -> None:
    task = SmallTask(worlds, cache, replace(RECIPE, known=(0.0, 0.0, 1.0), noisy_context=0.0))
    batch = stacked([task.sample(index, Spec((64, 32), 1, 4)) for index in range(6)])
    right = batch["noise"] - batch["latents"]
    known = ~batch["noisy"][:, None, :, None, None, None]
    assert bool(known.any(2).all()), "each has some"
    model = Told(torch.where(known, torch.full_like(right, 1e3), right))
    errors = velocity_errors(model, batch, 16)
    assert torch.allclose(errors, torch.zeros(6))
    clean = known.expand_as(right)
    assert torch.equal(model.latents[clean], batch["latents"][clean]) and not model.timesteps[~batch["noisy"]].any()
    t = batch["timesteps"][:, None, :, None, None, None]
    assert torch.allclose(model.latents - t * right, batch["latents"], atol=1e-5)
    wrong = right.clone()
    wrong[2, :, -1] += 3.0  # of one sample's noisy frames one
    errors = velocity_errors(Told(wrong), batch, 16)
    expected = 9.0 / int(batch["noisy"][2].sum())
    assert float(errors[2]) == pytest.approx(expected, rel=1e-5) and float(errors.sum()) == pytest.approx(expected)


# training


def test_it_learns_a_clip_by_heart(worlds: Path, cache: Path) -> None:
    torch.manual_seed(0)
    task = SmallTask(worlds, cache)
    model = task.build()
    batch = stacked([task.sample(index, Spec((64, 32), 1, 4)) for index in range(4)])
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss, _ = task.loss(model, batch, torch.Generator())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_it_learns_and_tells_what_it_does(worlds: Path, cache: Path, tmp_path: Path) -> None:
    result = train(SmallTask(worlds, cache), SETTINGS, Run(tmp_path, max_steps=60))
    lines = read_log(tmp_path)
    first, last = (line for line in lines if line["kind"] == "held_out")
    assert last["loss"] < 0.75 * first["loss"] and result.best == last["loss"]
    assert first["loss"] == pytest.approx((first["loss_prior"] + first["loss_free"]) / 2, rel=0.2)
    kinds = {"near_data", "midway", "near_noise", "with_prior", "without_prior"}
    assert {f"loss_{kind}" for kind in kinds} <= {name for line in lines for name in line}
    metadata = read_metadata(tmp_path / BEST)
    assert metadata["task"] == "worldgen" and metadata["config"] == CONFIG.to_dict()
    assert load_model(tmp_path).config == CONFIG
    assert (tmp_path / "sheets" / "000000060.png").is_file()


def test_stopped_and_resumed_ends_bit_equal(worlds: Path, cache: Path, tmp_path: Path) -> None:
    train(SmallTask(worlds, cache), SETTINGS, Run(tmp_path / "whole", max_steps=6))
    stopped = train(SmallTask(worlds, cache, on_step=kill_at(2)), SETTINGS, Run(tmp_path / "parts", max_steps=6))
    assert not stopped.finished and stopped.steps == 3
    assert train(SmallTask(worlds, cache), SETTINGS, Run(tmp_path / "parts", max_steps=6, resume=True)).finished
    ours, theirs = (read_weights(tmp_path / name / LAST)[0] for name in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_ranks_train_as_one(worlds: Path, cache: Path, tmp_path: Path) -> None:
    program = str(Path(__file__).with_name("small_worldgen.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", program]
    command += [str(worlds), str(cache), str(tmp_path / "two"), "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    train(SmallTask(worlds, cache), SETTINGS, Run(tmp_path / "one", max_steps=4))
    for key in ("loss", "grad_norm"):
        two, one = ([line[key] for line in read_log(tmp_path / n) if line["kind"] == "train"] for n in ("two", "one"))
        assert len(one) == 4 and two == pytest.approx(one, rel=1e-3)
    two, one = ([x["loss"] for x in read_log(tmp_path / n) if x["kind"] == "held_out"] for n in ("two", "one"))
    assert two == pytest.approx(one, rel=1e-3)


# which network


def test_the_network_takes_the_shape_of_the_latents() -> None:
    mini, fine = CONFIGS["mini"], Autoencoder(CODERS["mini8"])
    assert fitted(mini, Autoencoder(CODERS["mini"])) == mini, "its numbers are those of the shipped autoencoder"
    config = chosen_config(None, None, fine)
    assert (config.patch, config.in_channels, config.out_channels) == (2, 16, 16)
    assert config.concat_channels == sum(channel_counts(16, 8).values()) and config.layers == mini.layers
    assert chosen_config("base", None, fine).layers == CONFIGS["base"].layers
    assert chosen_config(None, CONFIG, coder()) == CONFIG
    with pytest.raises(UsageError, match="expected mini or base, found 'wan-5b'"):
        chosen_config("wan-5b", None, fine)
    with pytest.raises(UsageError, match=r"latents of 24 channels .* found an autoencoder of 16"):
        chosen_config(None, CONFIG, fine)
    with pytest.raises(UsageError, match="of another network"):
        chosen_config("base", CONFIG, coder())


# the verb


@pytest.mark.usefixtures("small")
def test_the_verb_trains_resumes_and_starts_from_weights(
    worlds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = write_coder(tmp_path / "one.safetensors"), write_coder(tmp_path / "other.safetensors", seed=1)
    flags = ["train", "worldgen", "--data", str(worlds), "--device", "cpu", "--batch", "2", "--priors", "none"]
    output = tmp_path / "run"
    first = [*flags, "-o", str(output), "--autoencoder", str(one)]
    assert run([*first, "--max-steps", "2", "--dry-run"]) == 0 and not output.exists()
    capsys.readouterr()
    assert run([*first, "--max-steps", "2"]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    document = json.loads((output / "data.json").read_text())
    told = read_metadata(output / LAST)
    assert document["model"] == "worldgen" and document["config"] == CONFIG.to_dict() == told["config"]
    assert document["recipe"]["autoencoder_sha256"] == told["autoencoder_sha256"] and told["priors_sha256"] is None
    assert json.loads((output / "settings.json").read_text())["lr"] == 5e-4
    files = {path: path.stat().st_mtime_ns for path in (output / "cache").iterdir()}
    assert len(files) == 3
    assert run([*first, "--max-steps", "2"]) == 4
    assert run([*first, "--max-steps", "3", "--resume"]) == 0
    assert [line["step"] for line in read_log(output) if line["kind"] == "held_out"] == [0, 2, 3]
    capsys.readouterr()
    assert run([*flags, "-o", str(output), "--autoencoder", str(other), "--max-steps", "4", "--resume"]) == 3
    assert "--autoencoder and --priors that this training began with" in capsys.readouterr().err
    again = tmp_path / "again"
    words = ["-o", str(again), "--autoencoder", str(one), "--max-steps", "1", "--cache", str(output / "cache")]
    assert run([*flags, *words, "--init", str(output)]) == 0
    losses = [[x["loss"] for x in read_log(folder) if x["kind"] == "held_out"] for folder in (output, again)]
    assert losses[1][0] == pytest.approx(min(losses[0]), rel=1e-4)
    assert {path: path.stat().st_mtime_ns for path in (output / "cache").iterdir()} == files
    assert not (again / "cache").exists()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--max-steps", "1", "--autoencoder", "nowhere"], 3, "nowhere: expected an autoencoder"),
        (["--max-steps", "1", "--autoencoder", "alien.safetensors"], 3, "found weights of worldrec"),
        (["--max-steps", "1", "--priors", "nowhere"], 3, "nowhere: expected a checkpoint"),
        (["--max-steps", "1", "--config", "wan-1.3b"], 2, "expected mini or base, found 'wan-1.3b'"),
        (["--max-steps", "1", "--method", "pixel"], 2, "--method pixel: only worldrec"),
        (["--max-steps", "1", "--init", "alien.safetensors"], 3, "found weights of worldrec"),
        (["--max-steps", "1", "--init", "fine.safetensors"], 2, "latents of 16 channels"),
        (
            ["--max-steps", "1", "--init", "wan"],
            2,
            "found diffusers' WanTransformer3DModel, which cannot be trained yet",
        ),
        (
            ["--max-steps", "1", "--autoencoder", "vae"],
            2,
            "found diffusers' AutoencoderKLWan, which cannot be trained yet",
        ),
        (["--max-steps", "1", "--resume"], 2, "no unfinished training"),
        ([], 2, "expected a budget or a number of steps"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    worlds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_coder(Path("coder.safetensors"))
    write_weights(Path("alien.safetensors"), {"x": torch.zeros(1)}, {"task": "worldrec", "config": {}})
    fine = fitted(SMALL, Autoencoder(replace(CODER, channels=16)))
    write_weights(Path("fine.safetensors"), {"x": torch.zeros(1)}, {"task": "worldgen", "config": fine.to_dict()})
    for folder, name in (("wan", "WanTransformer3DModel"), ("vae", "AutoencoderKLWan")):
        Path(folder).mkdir()
        (Path(folder) / "config.json").write_text(json.dumps({"_class_name": name}))
    given = [] if "--autoencoder" in words else ["--autoencoder", "coder.safetensors"]
    given += [] if "--priors" in words else ["--priors", "none"]
    told_in_one_line(
        capsys,
        ["train", "worldgen", "-o", "run", "--data", str(worlds), "--device", "cpu", *given, *words],
        code,
        message,
    )


@pytest.mark.parametrize("flag", ["--autoencoder", "--priors", "--cache"])
def test_other_models_do_not_take_its_flags(worlds: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    words = ["train", "worldrec", "--data", str(worlds), "-o", "run", "--max-steps", "1", flag, "x"]
    assert run(words) == 2
    assert f"{flag} x: only worldgen" in capsys.readouterr().err
