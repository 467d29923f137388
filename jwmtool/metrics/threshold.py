"""Conditions on scores that fail a command (`--fail-if`), for continuous integration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jwmtool.errors import ScoreThresholdError, UsageError
from jwmtool.metrics.names import ALL_NAMES


@dataclass(frozen=True)
class Threshold:
    """A `--fail-if` condition, "psnr<22"."""

    name: str
    operator: str
    limit: float

    def fires(self, value: float) -> bool:
        """True if the condition holds for this value."""
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.operator]

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.limit:g}"


def parse_threshold(text: str) -> Threshold:
    """Parse "psnr<22" or "depth_rmse_m >= 5".

    Raises:
        UsageError: not such a condition, or an unknown score.
    """
    match = re.fullmatch(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*", text.lower())
    if match is None or match[1] not in ALL_NAMES:
        raise UsageError(f"--fail-if: expected SCORE<NUMBER with one of {', '.join(ALL_NAMES)}, found {text!r}")
    return Threshold(match[1], match[2], float(match[3]))


def check_thresholds(means: Mapping[str, float], thresholds: Iterable[Threshold]) -> None:
    """Raise if a condition holds for a mean.

    Raises:
        ScoreThresholdError: one or more fired.
        UsageError: a condition on a score that was not computed.
    """
    fired = []
    for threshold in thresholds:
        if threshold.name not in means:
            computed = ", ".join(means)
            raise UsageError(f"--fail-if {threshold}: expected one of the scores computed ({computed})")
        value = means[threshold.name]
        if threshold.fires(value):
            fired.append(f"{threshold} ({threshold.name} is {value:.4g})")
    if fired:
        raise ScoreThresholdError("--fail-if: " + ", ".join(fired))
