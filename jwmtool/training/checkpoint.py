"""Save and resume a run exactly, also at another number of ranks.

A state is a folder `state/<number>/`: a torch.distributed.checkpoint of all tensors, and `state.json` with the counters
and settings. Each save has a new number and appears whole, by one rename, before the older ones are removed: killed at
any instant, a run leaves at least one.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from jwmtool.artifacts.atomic import atomic_folder
from jwmtool.artifacts.json_file import read_json
from jwmtool.artifacts.weights import half, mismatch, read_weights, write_weights
from jwmtool.errors import InputError, UsageError
from jwmtool.training.distributed import Ranks
from jwmtool.training.settings import TrainSettings
from jwmtool.training.state import Counters, TrainState

FORMAT, VERSION = "jwm-training", "1.0"
STATE, VALUES = "state", "state.json"
BEST, LAST = "best.safetensors", "last.safetensors"
# These may differ on resume: none of them changes what the weights become.
_MAY_CHANGE = ("save_every_s", "eval_every_s", "log_every", "max_bad_steps")


def latest_state(folder: Path) -> Path | None:
    """The newest whole state of a run, or None."""
    states = [path for path in (folder / STATE).glob("*") if path.name.isdigit() and (path / VALUES).exists()]
    return max(states, key=lambda path: int(path.name), default=None)


def write_state(folder: Path, state: TrainState, task_name: str, ranks: Ranks) -> None:
    """Save a run; all ranks call it alike. Older states are removed once the new one is whole."""
    counters = state.counters
    counters.saved_at_s = counters.elapsed_s
    values: dict[str, Any] = {"format": FORMAT, "version": VERSION, "task": task_name}
    values |= {"settings": state.settings.to_dict(), "counters": asdict(counters)}
    alone = ranks.world_size == 1
    if ranks.is_main:
        before = latest_state(folder)
        target = folder / STATE / f"{0 if before is None else int(before.name) + 1:06d}"
        with atomic_folder(target) as temporary:
            ranks.from_main(str(temporary))
            with _own_warnings_only():
                save(dict(state.tensors()), checkpoint_id=temporary, no_dist=alone)
            text = json.dumps(values, indent=2, sort_keys=True)
            (temporary / VALUES).write_text(text + "\n", encoding="utf-8")
        _remove_others(target)
    else:
        temporary = Path(ranks.from_main(""))
        with _own_warnings_only():
            save(dict(state.tensors()), checkpoint_id=temporary)
    ranks.wait()


def read_state(folder: Path, state: TrainState, task_name: str, ranks: Ranks) -> None:
    """Go on from the newest state of a run; all ranks call it alike.

    Raises:
        UsageError: there is none.
        InputError: it is damaged, of a newer major version, or of another task, model or settings.
    """
    path = latest_state(folder)
    if path is None:
        raise UsageError(f"--resume: no unfinished training in {folder}; leave --resume out to start one")
    values = read_json(path / VALUES)
    _check(path / VALUES, values, task_name, state.settings)
    tensors = dict(state.tensors())
    try:
        stored = FileSystemReader(path).read_metadata().state_dict_metadata
        sizes = {name: m.size if isinstance(m, TensorStorageMetadata) else () for name, m in stored.items()}
        problem = mismatch({name: value.shape for name, value in tensors.items()}, sizes)
        if problem:
            raise InputError(path, "the state of this model", problem)
        with _own_warnings_only():
            load(tensors, checkpoint_id=path, no_dist=ranks.world_size == 1)
    except (OSError, RuntimeError, EOFError, ValueError, CheckpointException) as error:
        raise InputError(path, "a whole training state", str(error) or type(error).__name__) from None
    state.counters = _counters(path / VALUES, values["counters"])


def export_weights(folder: Path, target: Path, *, best: bool = True, force: bool = False) -> None:
    """Write a run's averaged weights as float16, for shipping: the best on held-out data, or the last.

    Raises:
        InputError: the run has none yet.
        OutputExistsError: `target` exists, unless `force`.
        JwmError: a weight is beyond float16.
    """
    tensors, metadata = read_weights(folder / (BEST if best else LAST))
    write_weights(target, half(tensors), {**metadata, "precision": "fp16"}, force)


def _check(path: Path, values: dict[str, Any], task_name: str, settings: TrainSettings) -> None:
    missing = {"format", "version", "task", "settings", "counters"} - values.keys()
    if missing or values["format"] != FORMAT:
        raise InputError(path, f"a state of format {FORMAT}", f"no {min(missing)}" if missing else values["format"])
    if str(values["version"]).split(".")[0] != VERSION.split(".")[0]:
        raise InputError(path, f"{FORMAT} version {VERSION}", f"version {values['version']}")
    if values["task"] != task_name:
        raise InputError(path, f"a training of {task_name}", f"one of {values['task']}")
    now, then = settings.to_dict(), TrainSettings.from_dict(values["settings"], path).to_dict()
    changed = [name for name in now if name not in _MAY_CHANGE and now[name] != then[name]]
    if changed:
        raise InputError(path, f"a training with {changed[0]}={now[changed[0]]}", f"one with {then[changed[0]]}")


def _counters(path: Path, values: dict[str, Any]) -> Counters:
    names = {f.name for f in fields(Counters)}
    if values.keys() != names:
        raise InputError(path, f"counters {', '.join(sorted(names))}", ", ".join(sorted(values)))
    return Counters(**values)


def _remove_others(keep: Path) -> None:
    # Also `.part` and `.old` folders that a killed save left behind.
    for path in keep.parent.iterdir():
        if path != keep and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _own_warnings_only() -> Iterator[None]:
    """Torch warns that it saves in one process; that is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
        yield
