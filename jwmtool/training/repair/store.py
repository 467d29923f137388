"""Renders of scenes beside the pictures that they should be: one file for each part of a clip."""

# N pictures, H, W height and width, px.
from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.training.prepared import opened
from jwmtool.worldgen.repair import CHANNELS, Seen

LEVELS = 255.0
_PARTS, _TRUE = list(CHANNELS), "true"


def write_pairs(path: Path, seen: Seen, true: Tensor) -> None:
    """N renders, and the true pictures [N, 3, H, W] in [0, 1]; atomically: what is there already holds the same."""
    tensors = {name: getattr(seen, name) for name in _PARTS} | {_TRUE: true}
    with atomic_file(path, force=True) as temporary:
        save_file({name: _as_bytes(tensor) for name, tensor in tensors.items()}, temporary)


def count_pairs(path: Path) -> int:
    """N; errors as `read_pairs`."""
    return len(_slices(path, slice(0, None), ["coverage"])["coverage"])


def read_pairs(path: Path, rows: slice) -> tuple[Seen, Tensor]:
    """What is seen, and the true pictures [n, 3, H, W]; float32 in [0, 1].

    Raises:
        InputError: missing or damaged.
    """
    found = {name: tensor.float() / LEVELS for name, tensor in _slices(path, rows, [*_PARTS, _TRUE]).items()}
    return Seen(**{name: found[name] for name in _PARTS}), found[_TRUE]


def _as_bytes(values: Tensor) -> Tensor:
    return (values.clamp(0.0, 1.0) * LEVELS).round().to(torch.uint8).contiguous()


def _slices(path: Path, rows: slice, names: list[str]) -> dict[str, Tensor]:
    with opened(path, "renders") as file:
        return {name: file.get_slice(name)[rows] for name in names}
