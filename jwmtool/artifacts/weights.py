"""Weights of a network in one safetensors file, its metadata under one key `jwm` (several are written in random order).

Foreign files (diffusers', say) read as well; they have no `jwm` metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.errors import InputError, JwmError

FORMAT, VERSION = "jwm-weights", "1.0"
FILE_NAMES = ("model.safetensors", "best.safetensors")  # in a folder, the first that is there
_NAMED = 4  # keys that a message names of each kind; the others are counted


def weights_file(path: Path) -> Path:
    """The weights that a user means by a file, a shipped model's folder or a training run's folder.

    Raises:
        InputError: there are none.
    """
    if path.is_file():
        return path
    for name in FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise InputError(path, f"weights (a .safetensors file, or a folder with {' or '.join(FILE_NAMES)})", "none")


def weights_sha256(path: Path) -> str:
    """Hash of the weights' file that a user means (see `weights_file`)."""
    with weights_file(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], force: bool = False) -> None:
    """Write tensors and metadata (JSON values) atomically; format and version are added.

    Raises:
        OutputExistsError: `path` exists, unless `force`.
    """
    # Clones, since safetensors refuses tensors that share memory (tied weights do).
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({**metadata, "format": FORMAT, "version": VERSION}, sort_keys=True)
    with atomic_file(path, force) as temporary:
        save_file(plain, temporary, metadata={"jwm": text})


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, and its metadata ({} where it has none of ours).

    Raises:
        InputError: missing, damaged, or of a newer major version.
    """
    with _opened(path) as file:
        metadata = _metadata(path, file.metadata())
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a mapping)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata alone; errors as `read_weights`."""
    with _opened(path) as file:
        return _metadata(path, file.metadata())


def read_config(path: Path, model: str, kinds: Collection[str | None]) -> tuple[dict[str, Any], Path]:
    """The config of the network whose weights a user means, and their file (see `weights_file`).

    Args:
        model: what a message calls it.
        kinds: of networks, under the metadata key `task`, which may go on with a dash and a stage; None: untold.

    Raises:
        InputError: no or damaged weights, those of another network, or they tell no config.
    """
    file = weights_file(path)
    metadata = read_metadata(file)
    task, config = metadata.get("task"), metadata.get("config")
    kind = task.partition("-")[0] if isinstance(task, str) and task not in kinds else task
    if kind not in kinds or not isinstance(config, dict):
        found = "no such config" if kind is None or kind in kinds else f"weights of {task}"
        raise InputError(file, f"weights of {model} (with its config)", found)
    return config, file


def load_weights(model: nn.Module, path: Path, parts: Sequence[str] = ()) -> dict[str, Any]:
    """Copy the weights of a file into a model, in the model's own precision; returns the metadata.

    Args:
        parts: names of submodules that alone are copied, whatever else either has; none: all.

    Raises:
        InputError: as `read_weights`, or keys are missing, extra or of another shape: the message names them.
    """
    tensors, metadata = read_weights(path)
    own = model.state_dict()
    if parts:
        begins = tuple(f"{part}." for part in parts)
        tensors = {name: value for name, value in tensors.items() if name.startswith(begins)}
        own = {name: value for name, value in own.items() if name.startswith(begins)}
    problem = mismatch(
        {name: value.shape for name, value in own.items()},
        {name: value.shape for name, value in tensors.items()},
    )
    if problem:
        raise InputError(path, "weights of this model", problem)
    model.load_state_dict(tensors, strict=not parts)
    return metadata


def mismatch(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]) -> str:
    """How the keys and shapes found differ from those expected, in words; "" where they do not."""
    shapes = [
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(expected[name]) != tuple(found[name])
    ]
    kinds = {
        "missing keys": sorted(expected.keys() - found.keys()),
        "extra keys": sorted(found.keys() - expected.keys()),
        "other shapes": shapes,
    }
    return "; ".join(f"{kind}: {_some(names)}" for kind, names in kinds.items() if names)


def half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with floating tensors as float16, for shipping.

    Raises:
        JwmError: a value is not finite, or beyond float16's 65,504.
    """
    converted = {}
    for name, tensor in tensors.items():
        converted[name] = tensor.half() if tensor.is_floating_point() else tensor
        if tensor.is_floating_point() and not bool(torch.isfinite(converted[name]).all()):
            raise JwmError(f"{name}: expected values that float16 can hold, found up to {float(tensor.abs().max()):g}")
    return converted


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file open for reading, its troubles told in one line."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(path, "a safetensors file", "no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(path, "a safetensors file", str(error)) from None


def _metadata(path: Path, raw: Mapping[str, str] | None) -> dict[str, Any]:
    if not raw or "jwm" not in raw:
        return {}
    try:
        metadata = json.loads(raw["jwm"])
    except ValueError as error:
        raise InputError(path, "JSON under the metadata key jwm", str(error)) from None
    if not isinstance(metadata, dict):
        raise InputError(path, "a JSON object under the metadata key jwm", type(metadata).__name__)
    version = str(metadata.get("version", VERSION))
    if version.split(".")[0] != VERSION.split(".")[0]:
        raise InputError(path, f"{FORMAT} version {VERSION}", f"version {version}")
    return metadata


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
