"""What can be set in training. Saved beside the weights, so that a run can be made again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.config_values import from_values, to_values
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import UsageError

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `train`. How long it runs is no setting: the schedule stretches over the run's steps or seconds.

    Attributes:
        batch: samples of one step, over all ranks together.
        lr: AdamW's learning rate after warm-up; lr_floor: share of it that the cosine ends at.
        warmup: steps of linear warm-up.
        beta1, beta2, weight_decay: AdamW's; only matrices and filters decay, no biases and gains.
        grad_clip: largest norm of the gradient; 0: any.
        ema_decay: of the averaged weights, which are evaluated and shipped; less in the first steps.
        max_bad_steps: so many steps in a row without a finite loss and gradient end the run; fewer are skipped.
        save_every_s: seconds between saved states (0: each step).
        eval_every_s: seconds between evaluations on held-out data.
        log_every: steps between lines of the log, which average over them.
        seed: of the first weights and of everything drawn.
        precision: `fp32`, or `bf16` autocast, which is for CUDA only.
    """

    batch: int = 8
    lr: float = 3e-4
    lr_floor: float = 0.05
    warmup: int = 100
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    max_bad_steps: int = 20
    save_every_s: float = 300.0
    eval_every_s: float = 300.0
    log_every: int = 20
    seed: int = 0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        checks = {
            "batch": self.batch >= 1,
            "lr": self.lr > 0.0,
            "lr_floor": 0.0 <= self.lr_floor <= 1.0,
            "warmup": self.warmup >= 0,
            "beta1": 0.0 <= self.beta1 < 1.0,
            "beta2": 0.0 <= self.beta2 < 1.0,
            "weight_decay": self.weight_decay >= 0.0,
            "grad_clip": self.grad_clip >= 0.0,
            "ema_decay": 0.0 <= self.ema_decay < 1.0,
            "max_bad_steps": self.max_bad_steps >= 1,
            "save_every_s": self.save_every_s >= 0.0,
            "eval_every_s": self.eval_every_s >= 0.0,
            "log_every": self.log_every >= 1,
            "seed": self.seed >= 0,
            "precision": self.precision in PRECISIONS,
        }
        for name, good in checks.items():
            if not good:
                raise UsageError(f"training: {name} cannot be {getattr(self, name)!r}")

    def learning_rate(self, step: int, progress: float) -> float:
        """Of step number `step` (from 0), when a share `progress` in [0, 1] of the run is over."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return self.lr * warm * (self.lr_floor + (1.0 - self.lr_floor) * cosine)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | Path = "training settings") -> TrainSettings:
        """From JSON values; errors as `from_values`."""
        return from_values(cls, values, where)


def write_settings(path: Path, settings: TrainSettings) -> None:
    """Write as JSON, atomically, over what was there."""
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(settings.to_dict(), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_settings(path: Path) -> TrainSettings:
    """Read what `write_settings` wrote; errors as `TrainSettings.from_dict` and `read_json`."""
    return TrainSettings.from_dict(read_json(path), path)
