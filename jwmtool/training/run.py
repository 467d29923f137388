"""What one training run is asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jwmtool.errors import UsageError


@dataclass(frozen=True)
class Run:
    """Where a training goes, how long it runs, and from what it starts.

    Attributes:
        folder: gets settings.json, log.jsonl, tensorboard/, sheets/, state/ (to resume from), best.safetensors and
            last.safetensors (averaged weights).
        device: `cpu` or `cuda`.
        budget_s: wall-clock seconds, evaluations and earlier parts of a resumed run included.
        max_steps: steps. With both, the schedule follows the steps and whichever ends first ends the run.
        resume: go on from the folder's state.
        init: weights to start from: a file, or the folder of a shipped model or of another run.
    """

    folder: Path
    device: str = "cpu"
    budget_s: float | None = None
    max_steps: int | None = None
    resume: bool = False
    init: Path | None = None

    def __post_init__(self) -> None:
        if self.budget_s is None and self.max_steps is None:
            raise UsageError("training: expected a budget or a number of steps, found neither")
        if (self.budget_s is not None and self.budget_s <= 0) or (self.max_steps is not None and self.max_steps < 1):
            raise UsageError(f"training: budget {self.budget_s} s and {self.max_steps} steps leave nothing to do")
        if self.resume and self.init is not None:
            raise UsageError("training: --resume goes on with its own weights; leave --init out")


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. `finished` is False when Ctrl-C or SIGTERM stopped it: the state is saved, exit with 130.

    `held_out` is the latest evaluation, `best` the headline metric of best.safetensors.
    """

    finished: bool
    steps: int
    skipped: int
    held_out: dict[str, float]
    best: float | None
