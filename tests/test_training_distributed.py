"""Two gloo ranks with FSDP2 train as one process does, and their state goes on at another number of ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_task import ToyTask

from jwmtool.artifacts.weights import read_weights
from jwmtool.errors import UsageError
from jwmtool.training.checkpoint import BEST, LAST
from jwmtool.training.distributed import _blocks, joined
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.run import Run
from jwmtool.training.settings import TrainSettings

SETTINGS = TrainSettings(batch=8, lr=1e-2, warmup=2, log_every=1)
STEPS, STOP = 10, 4


def torchrun(folder: Path, max_steps: int, resume: bool, ranks: int = 2) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += [str(Path(__file__).with_name("toy_task.py")), str(folder), str(max_steps), "1e9"]
    command += ["resume" if resume else "new", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def stopped_then_resumed(folder: Path, first_ranks: int, then_ranks: int) -> None:
    """STOP steps on one number of ranks, the rest on another; the schedule is that of the longer run throughout."""
    for ranks, steps, resume in ((first_ranks, STOP, False), (then_ranks, STEPS, True)):
        if ranks == 1:
            train(ToyTask(noise=0.0), SETTINGS, Run(folder, max_steps=steps, resume=resume))
        else:
            torchrun(folder, steps, resume, ranks)


@pytest.mark.slow
def test_two_ranks_are_as_one_and_resume_at_another_number(tmp_path: Path) -> None:
    for name, first, then in (("one", 1, 1), ("two-one", 2, 1), ("one-two", 1, 2)):
        stopped_then_resumed(tmp_path / name, first, then)
    reference = read_log(tmp_path / "one")
    losses = [line["loss"] for line in reference if line["kind"] == "train"]
    assert len(losses) == STEPS and losses[-1] < losses[0]
    for name in ("two-one", "one-two"):
        lines = read_log(tmp_path / name)
        assert [line["loss"] for line in lines if line["kind"] == "train"] == pytest.approx(losses, rel=1e-4)
        norms = [line["grad_norm"] for line in lines if line["kind"] == "train"]
        assert norms == pytest.approx([line["grad_norm"] for line in reference if line["kind"] == "train"], rel=1e-3)
        for file in (LAST, BEST):
            ours, theirs = read_weights(tmp_path / name / file)[0], read_weights(tmp_path / "one" / file)[0]
            for key, value in theirs.items():
                torch.testing.assert_close(ours[key], value, rtol=1e-3, atol=1e-4)
    # Evaluation on sharded weights is that of whole ones.
    ends = [
        [line["psnr"] for line in read_log(tmp_path / n) if line["kind"] == "held_out"][-1] for n in ("one", "one-two")
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


def test_blocks_are_found_inner_first() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])

    stage = Stage()
    model = nn.Sequential(nn.ModuleList([stage]), nn.Linear(2, 2))
    assert _blocks(model) == [stage.layers[0], stage]


def test_alone_starts_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined("cpu") as ranks:
        assert ranks.world_size == 1 and not torch.distributed.is_initialized()
        assert ranks.largest([1.0, 2.0]) == [1.0, 2.0] and ranks.mean(3.0) == 3.0 and ranks.from_main("a") == "a"


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UsageError, match="not LOCAL_RANK"), joined("cpu"):
        pass


def test_the_batch_must_divide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jwmtool.training import loop
    from jwmtool.training.distributed import Ranks

    with pytest.raises(UsageError, match="batch of 8 does not divide among 3 ranks"):
        loop._Loop(ToyTask(), SETTINGS, Run(tmp_path, max_steps=1), Ranks(0, 3, torch.device("cpu")), 0.0)


def test_signals_are_restored() -> None:
    from jwmtool.interrupt import stop_between_steps

    before = signal.getsignal(signal.SIGTERM)
    with stop_between_steps() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        assert signal.getsignal(signal.SIGTERM) == before  # a second one stops at once
    with stop_between_steps(second_stops=False) as asked:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) == before
