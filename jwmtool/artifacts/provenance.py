"""Provenance: who made an artifact, from what, with which versions. Content hashes never include it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jwmtool

LIBRARIES = (
    "torch",
    "numpy",
    "gsplat",
    "h5py",
    "av",
    "numba",
    "scipy",
    "pillow",
    "opencv-python-headless",
    "embreex",
    "diffusers",
    "nuscenes-devkit",
    "pyarrow",
    "pycolmap",
)
_BLOCK_BYTES = 1 << 20


def record(
    argv: Sequence[str],
    inputs: Sequence[str | Path | Mapping[str, str]] = (),
    seed: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Describe one run of a command.

    Args:
        argv: the command line, `["jwm", "reconstruct", ...]`.
        inputs: files or folders, hashed here, or `{"path": ..., "sha256": ...}` where the hash is known.
        seed: as used.
        device: `cpu` or `cuda`, as used.

    Returns:
        A JSON object; append it to the records of the inputs (oldest first).

    Raises:
        OSError: an input cannot be read.
    """
    return {
        "argv": list(argv),
        "version": jwmtool.__version__,
        "commit": source_commit(),
        "inputs": [_described(item) for item in inputs],
        "seed": seed,
        "device": device,
        "libraries": library_versions(),
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder: of the lines `<sha256>  <relative path>` of all its files, sorted by path."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        lines = (f"{_hash_file(p)}  {p.relative_to(path).as_posix()}\n" for p in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return _hash_file(path)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on; those not installed are left out. Imports none of them."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def source_commit() -> str | None:
    """The git commit if jwm runs from a checkout (`-dirty` if its files were changed), else None."""
    root = Path(jwmtool.__file__).resolve().parent.parent
    if not (root / ".git").exists() or not (root / "pyproject.toml").is_file():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _described(item: str | Path | Mapping[str, str]) -> dict[str, str]:
    if isinstance(item, Mapping):
        return {"path": item["path"], "sha256": item["sha256"]}
    return {"path": str(item), "sha256": hash_path(Path(item))}


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
