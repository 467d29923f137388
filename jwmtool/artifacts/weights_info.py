"""What `jwm info` tells of weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jwmtool.artifacts.weights import FILE_NAMES, read_weights, weights_sha256


def is_weights(path: Path) -> bool:
    """Whether a path is a checkpoint: a .safetensors file, or a folder with one."""
    return path.suffix == ".safetensors" or (path.is_dir() and any((path / name).is_file() for name in FILE_NAMES))


def describe_weights(path: Path) -> dict[str, Any]:
    """Facts of a weights file.

    Raises:
        InputError: missing or damaged.
    """
    tensors, metadata = read_weights(path)
    kinds = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return {
        "artifact": "checkpoint",
        "version": metadata.get("version"),
        "model": metadata.get("task"),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "precision": ", ".join(sorted(kinds)),
        "megabytes": round(path.stat().st_size / 1e6, 2),
        **{key: value for key, value in metadata.items() if key not in ("format", "version", "task")},
        "sha256": weights_sha256(path),
    }
