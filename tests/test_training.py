"""The training loop on a toy: it learns, resumes bit for bit, survives NaN and kills, keeps the best apart."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from toy_task import ToyNet, ToyTask

from jwmtool.artifacts.weights import read_weights
from jwmtool.errors import InputError, JwmError, OutputExistsError, UsageError
from jwmtool.training.checkpoint import BEST, LAST, export_weights, latest_state
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.run import Run
from jwmtool.training.settings import TrainSettings, read_settings
from jwmtool.training.state import TrainState

SETTINGS = TrainSettings(batch=4, lr=1e-2, warmup=3, save_every_s=0.0, eval_every_s=1e9, log_every=5)
STEPS = 12


def weights(folder: Path, name: str = LAST) -> dict[str, Tensor]:
    return read_weights(folder / name)[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ToyTask]:
    """An uninterrupted run."""
    folder, task = tmp_path_factory.mktemp("straight"), ToyTask()
    train(task, replace(SETTINGS, save_every_s=1e9), Run(folder, max_steps=STEPS))
    return folder, task


def test_it_learns_and_writes_what_it_says(tmp_path: Path) -> None:
    result = train(ToyTask(noise=0.0), SETTINGS, Run(tmp_path, max_steps=60))
    lines = read_log(tmp_path)
    held_out = [line for line in lines if line["kind"] == "held_out"]
    steps = [line for line in lines if line["kind"] == "train"]
    assert held_out[0]["step"] == 0 and held_out[-1]["step"] == 60
    assert held_out[-1]["psnr"] > held_out[0]["psnr"] + 6.0 and result.best == held_out[-1]["psnr"]
    assert [line["step"] for line in steps] == list(range(5, 61, 5))
    assert steps[-1]["samples"] == 240 and steps[-1]["constant"] == 2.0 and steps[-1]["steps_per_s"] > 0
    assert steps[-1]["loss"] < 0.3 * steps[0]["loss"] and steps[-1]["lr"] < steps[1]["lr"]
    assert result.finished and result.steps == 60 and result.skipped == 0
    assert {p.name for p in (tmp_path / "sheets").iterdir()} == {"000000000.png", "000000060.png"}
    assert read_settings(tmp_path / "settings.json") == SETTINGS
    assert len(list((tmp_path / "state").iterdir())) == 1
    with safe_open(tmp_path / BEST, "pt") as file:
        assert list(file.metadata()) == ["jwm"]
        text = file.metadata()["jwm"]
    metadata = json.loads(text)
    assert text == json.dumps(metadata, sort_keys=True) and metadata["config"] == {"width": 6}


@pytest.mark.parametrize("stop_at", [1, 7, STEPS - 1])
def test_stopped_and_resumed_ends_bit_equal(tmp_path: Path, straight: tuple[Path, ToyTask], stop_at: int) -> None:
    def stop(call: int) -> float:
        if call == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    first = ToyTask(on_step=stop)
    result = train(first, replace(SETTINGS, save_every_s=1e9), Run(tmp_path, max_steps=STEPS))
    assert not result.finished and result.steps == stop_at + 1  # the step is ended, then saved
    second = ToyTask()
    # Evaluations at other times change nothing either.
    settings = replace(SETTINGS, eval_every_s=0.0)
    assert train(second, settings, Run(tmp_path, max_steps=STEPS, resume=True)).finished
    assert first.seen + second.seen == straight[1].seen
    assert same(weights(tmp_path), weights(straight[0]))


def test_failing_anywhere_leaves_a_state_that_ends_bit_equal(tmp_path: Path, straight: tuple[Path, ToyTask]) -> None:
    def fail(call: int) -> float:
        if call == 5:
            raise RuntimeError("power cut")
        return 1.0

    for resume in (False, True):  # the second goes on where the first failed, and fails five steps later
        with pytest.raises(RuntimeError, match="power cut"):
            train(ToyTask(on_step=fail), SETTINGS, Run(tmp_path, max_steps=STEPS, resume=resume))
    train(ToyTask(), SETTINGS, Run(tmp_path, max_steps=STEPS, resume=True))
    assert same(weights(tmp_path), weights(straight[0]))
    steps = [line["step"] for line in read_log(tmp_path) if line["kind"] == "train"]
    assert steps == sorted(set(steps))  # what a resumed run repeats is logged once


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_process_resumes_bit_equal(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, str(Path(__file__).with_name("toy_task.py")), str(killed), "100000", "0", "new", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            state = latest_state(killed)
            if state is not None and int(state.name) >= 3:
                break
            time.sleep(0.005)
        process.kill()
    state = latest_state(killed)
    assert state is not None and int(state.name) >= 3
    done = json.loads((state / "state.json").read_text())["counters"]["step"]
    settings = TrainSettings(batch=8, lr=1e-2, warmup=2, log_every=1)
    train(ToyTask(noise=0.0), settings, Run(killed, max_steps=done + 3, resume=True))

    # The part before the kill had another length in mind, so the yardstick stops and goes on likewise.
    def stop(call: int) -> float:
        if call == done - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    train(ToyTask(noise=0.0, on_step=stop), settings, Run(whole, max_steps=100000))
    train(ToyTask(noise=0.0), settings, Run(whole, max_steps=done + 3, resume=True))
    assert same(weights(killed), weights(whole))
    assert len(list((killed / "state").iterdir())) == 1  # half-written ones are swept


def test_nan_steps_are_skipped_and_counted(tmp_path: Path) -> None:
    result = train(
        ToyTask(on_step=lambda call: math.nan if call in (2, 3, 6) else 1.0), SETTINGS, Run(tmp_path, max_steps=10)
    )
    assert result.skipped == 3 and result.steps == 10
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())
    assert read_log(tmp_path)[1]["loss"] is None and read_log(tmp_path)[-1]["kind"] == "held_out"


def test_a_nan_step_leaves_the_weights_alone(tmp_path: Path) -> None:
    train(ToyTask(on_step=lambda call: math.nan), SETTINGS, Run(tmp_path, max_steps=4))
    first, last = weights(tmp_path, BEST), weights(tmp_path)
    assert all(torch.equal(first[k], last[k]) for k in first if k != "calls")


def test_too_many_nan_steps_end_the_run_and_keep_the_last_good_state(tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_bad_steps=3)
    with pytest.raises(JwmError, match="no finite loss and gradient in 3 steps in a row, up to step 7"):
        train(ToyTask(on_step=lambda call: math.inf if call >= 4 else 1.0), settings, Run(tmp_path, max_steps=50))
    assert latest_state(tmp_path) is not None


def test_the_best_is_kept_apart_from_the_last(tmp_path: Path) -> None:
    class Peak(ToyTask):
        scores = iter([1.0, 5.0, math.nan, 3.0])

        def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
            return {"psnr": next(self.scores)}

    settings = replace(SETTINGS, eval_every_s=0.0)
    result = train(Peak(), settings, Run(tmp_path, max_steps=3))
    assert result.best == 5.0 and result.held_out == {"psnr": 3.0}
    tensors, metadata = read_weights(tmp_path / BEST)
    assert metadata["step"] == 1 and metadata["held_out"] == {"psnr": 5.0}
    assert not same(tensors, weights(tmp_path))
    Peak.scores, Peak.higher_is_better = iter([4.0]), True
    assert train(Peak(), settings, Run(tmp_path, max_steps=4, resume=True)).best == 5.0


def test_lower_can_be_better(tmp_path: Path) -> None:
    task = ToyTask(noise=0.0)
    task.headline, task.higher_is_better = "mse", False
    result = train(task, SETTINGS, Run(tmp_path, max_steps=30))
    first = read_log(tmp_path)[0]["mse"]
    assert result.best is not None and result.best < 0.7 * first


def test_budget_in_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    result = train(ToyTask(), replace(SETTINGS, save_every_s=1e9), Run(tmp_path, budget_s=2.0))
    assert result.finished and result.steps > 3 and 1.9 < time.monotonic() - started < 20.0
    assert train(ToyTask(), SETTINGS, Run(tmp_path, budget_s=2.0, resume=True)).steps == result.steps  # it is spent
    rates = [line["lr"] for line in read_log(tmp_path) if line["kind"] == "train"]
    assert rates[-1] < 0.6 * max(rates)


def test_init_starts_from_weights(tmp_path: Path, straight: tuple[Path, ToyTask]) -> None:
    # Too small a step to see: the first evaluation is that of the weights given.
    train(ToyTask(), replace(SETTINGS, seed=5), Run(tmp_path / "a", max_steps=1, init=straight[0] / LAST))
    last = [line for line in read_log(straight[0]) if line["kind"] == "held_out"][-1]
    assert read_log(tmp_path / "a")[0]["psnr"] == pytest.approx(last["psnr"], abs=1e-5)
    with pytest.raises(InputError, match=r"other shapes: blocks.0.bias \[6\] instead of \[8\]"):
        train(ToyTask(width=8), SETTINGS, Run(tmp_path / "b", max_steps=1, init=straight[0]))
    with pytest.raises(UsageError, match="leave --init out"):
        Run(tmp_path, max_steps=1, init=tmp_path, resume=True)


def test_export_is_half_and_loads(tmp_path: Path, straight: tuple[Path, ToyTask]) -> None:
    target = tmp_path / "model.safetensors"
    export_weights(straight[0], target)
    tensors, metadata = read_weights(target)
    assert tensors["first.weight"].dtype == torch.float16 and tensors["calls"].dtype == torch.int64
    assert metadata["precision"] == "fp16"
    train(ToyTask(), SETTINGS, Run(tmp_path / "run", max_steps=1, init=tmp_path))  # a folder, as models are shipped
    with pytest.raises(OutputExistsError):
        export_weights(straight[0], target, best=False)
    with pytest.raises(InputError, match="no such file"):
        export_weights(tmp_path, tmp_path / "x.safetensors")


def resume_with(settings: TrainSettings = SETTINGS, **task: Any) -> Callable[[Path], None]:
    return lambda folder: void(train(ToyTask(**task), settings, Run(folder, max_steps=STEPS + 1, resume=True)))


def void(_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (resume_with(replace(SETTINGS, lr=0.5)), "lr=0.5, found one with 0.01"),
        (resume_with(width=7), "other shapes: adam.blocks.0.bias.exp_avg"),
        (lambda folder: void((next((folder / "state").glob("*/.metadata"))).write_bytes(b"")), None),
        (resume_with(), "a whole training state"),
        (lambda folder: void(next((folder / "state").glob("*/state.json")).write_text('{"format": "x"}')), None),
        (resume_with(), "jwm-training"),
    ],
)
def test_states_that_do_not_fit(shared_run: Path, attempt: Callable[[Path], None], message: str | None) -> None:
    if message is None:
        attempt(shared_run)
        return
    with pytest.raises(InputError, match=message):
        attempt(shared_run)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    train(ToyTask(), SETTINGS, Run(folder, max_steps=2))
    return folder


def test_what_makes_no_sense(tmp_path: Path, straight: tuple[Path, ToyTask]) -> None:
    with pytest.raises(UsageError, match="found neither"):
        Run(tmp_path)
    with pytest.raises(UsageError, match="nothing to do"):
        Run(tmp_path, max_steps=0)
    with pytest.raises(UsageError, match="no unfinished training"):
        train(ToyTask(), SETTINGS, Run(tmp_path, max_steps=1, resume=True))
    with pytest.raises(OutputExistsError):
        train(ToyTask(), SETTINGS, Run(straight[0], max_steps=1))


def test_data_that_ends_says_so(tmp_path: Path) -> None:
    class Short(ToyTask):
        def batches(self, *where: int) -> Any:
            return iter([next(super().batches(*where))])

    with pytest.raises(JwmError, match="the data ended after 4 samples"):
        train(Short(), SETTINGS, Run(tmp_path, max_steps=3))


@pytest.mark.parametrize("there", [True, False])
def test_tensorboard_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert folder.endswith("tensorboard") and purge_step == 0

        def add_scalar(self, *values: Any) -> None:
            written.append(values)

        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module if there else None)
    train(ToyTask(), SETTINGS, Run(tmp_path, max_steps=5))
    assert ("jwmtool[train]" in capsys.readouterr().err) is not there
    if there:
        assert {"train/loss", "held_out/psnr", "closed"} <= {name for name, _, _ in written}


def test_bf16_without_cuda_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(ToyTask(), replace(SETTINGS, precision="bf16"), Run(tmp_path, max_steps=1))
    assert "bf16 is for CUDA" in capsys.readouterr().err


@pytest.mark.gpu
def test_bf16_on_cuda_learns(tmp_path: Path) -> None:
    result = train(ToyTask(noise=0.0), replace(SETTINGS, precision="bf16"), Run(tmp_path, "cuda", max_steps=60))
    assert result.best is not None and result.best > read_log(tmp_path)[0]["psnr"] + 5.0


def test_the_average_follows_the_formula() -> None:
    state = TrainState(ToyNet(4), TrainSettings(ema_decay=0.5))
    expected = {name: value.clone() for name, value in state.averaged.items()}
    for done in range(5):
        for p in state.trained.values():
            p.grad = torch.ones_like(p)
        state.apply_gradients(0.0, 0.1)
        decay = min(0.5, (1 + done) / (10 + done))
        for name, p in state.trained.items():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
    for name, value in expected.items():
        torch.testing.assert_close(state.averaged[name], value)
    own = {name: p.detach().clone() for name, p in state.trained.items()}
    with state.with_averaged() as model:
        assert torch.equal(model.first.weight, state.averaged["first.weight"])
    assert all(torch.equal(p, own[name]) for name, p in state.trained.items())
