"""A training that is ready to begin, whatever its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jwmtool.errors import UsageError
from jwmtool.training.record import read_record
from jwmtool.training.run import Run
from jwmtool.training.task import Task

CACHE = "cache"  # in a run's folder: what its training prepared
C = TypeVar("C")


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


def begun_config(
    run: Run, kind: str, from_dict: Callable[[Mapping[str, Any], Path], C], of_weights: Callable[[Path], C]
) -> C | None:
    """The network that a run goes on with: its own if it is resumed, else that of the weights to start from.

    Raises:
        UsageError: no run to resume. InputError: the run is another model's, or damaged; as `of_weights`.
    """
    if run.resume:
        path, told = read_record(run.folder, kind)
        return from_dict(told["config"], path)
    return None if run.init is None else of_weights(run.init)


def chosen_config(configs: Mapping[str, C], name: str | None, given: C | None) -> C:
    """The network that a user means: a named one, `mini` by default, or that of weights or of a run to go on with.

    Raises:
        UsageError: an unknown name, or one beside a network given that is another.
    """
    if name is not None and name not in configs:
        raise UsageError(f"--config: expected {', '.join(configs)}, found {name!r}")
    if name is not None and given is not None and configs[name] != given:
        raise UsageError("--config: these weights are of another network; leave it out")
    return configs[name] if name is not None else given or configs["mini"]
