"""A run's log: `log.jsonl`, one object a line, and TensorBoard events where tensorboard is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_file

FILE, EVENTS = "log.jsonl", "tensorboard"


class RunLog:
    """Appends lines {"kind", "step", ...}; kinds are `train` and `held_out`. Rank 0 has one, the others None.

    Args:
        folder: of the run.
        step: lines after it are dropped: a killed run wrote them after its last state, and a resumed one repeats them.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        kept = [line for line in _lines(path) if line["step"] <= step]
        with atomic_file(path, force=True) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._events = _event_writer(folder / EVENTS, step)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Write one line; at once, so that it can be followed."""
        # JSON has no NaN.
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, **plain}) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; [] where there is none. A last line cut short by a kill is left out."""
    return _lines(folder / FILE)


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def _event_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        console.notice("no TensorBoard log (log.jsonl has it all): pip install 'jwmtool[train]' adds one")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
