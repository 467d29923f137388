"""A training that is ready to begin, whatever its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool.training.run import Run
from jwmtool.training.task import Task


@dataclass(frozen=True)
class Plan:
    """What the loop needs, and the record that a run folder keeps of what it trains on (data.json).

    Attributes:
        task: the model and its data.
        run: as asked; a model that reads the weights to start from in its own way has taken `init` out.
        write: writes the record into a folder, given the provenance.
        check: sees that a run that is to go on began with the same clips and recipe; InputError if not.
        prepare: work before training that is not part of its budget and goes on where it was interrupted; None: none.
    """

    task: Task
    run: Run
    write: Callable[[Path, Mapping[str, Any]], None]
    check: Callable[[Path], None]
    prepare: Callable[[], None] | None = None
