"""Open any file that holds Gaussians, and convert between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from jwmtool.artifacts.frozen import frozen, imported, middle_time_us
from jwmtool.artifacts.ply import read_ply, write_ply
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_io import read_scene, write_scene
from jwmtool.artifacts.splat import read_splat, write_splat
from jwmtool.errors import InputError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
TARGETS = ("ply", "splat", "h5")


def file_kind(path: Path) -> str:
    """`h5`, `ply` or `splat`, by content where the format has a mark, else by name.

    Raises:
        InputError: missing, a folder, or none of them.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(HDF5_MAGIC))
    except FileNotFoundError:
        raise InputError(path, "a scene (.h5), .ply or .splat file", "no such file") from None
    except IsADirectoryError:
        raise InputError(path, "a scene (.h5), .ply or .splat file", "a folder") from None
    if head == HDF5_MAGIC or path.suffix == ".h5":
        return "h5"
    if head.startswith((b"ply\n", b"ply\r")) or path.suffix == ".ply":
        return "ply"
    if path.suffix == ".splat":
        return "splat"
    raise InputError(path, "a scene (.h5), .ply or .splat file", "another kind of file")


def open_scene(path: Path) -> Scene:
    """Read a scene, or wrap the Gaussians of a PLY or .splat in one.

    Raises:
        InputError: as the reader of the format.
    """
    match file_kind(path):
        case "h5":
            return read_scene(path)
        case "ply":
            return imported(read_ply(path))
        case _:
            return imported(read_splat(path))


def convert_scene(
    source: Path,
    output: Path,
    target: str,
    *,
    time_s: float | None = None,
    provenance: dict[str, Any] | None = None,
    force: bool = False,
) -> int:
    """Write the Gaussians of `source` as `ply`, `splat` or `h5`.

    Args:
        source: a scene, PLY or .splat file.
        output: file to write.
        target: one of TARGETS.
        time_s: for ply and splat, the moment to show, in seconds since the scene's time origin; the middle of the
            recorded path by default.
        provenance: record appended to the history (h5 only; the other formats have no place for it).
        force: replace an existing file.

    Returns:
        The number of Gaussians written.

    Raises:
        InputError: `source` cannot be read.
        OutputExistsError: `output` exists and `force` is not set.
    """
    scene = open_scene(source)
    if target == "h5":
        history = [*scene.history, *([provenance] if provenance else [])]
        write_scene(replace(scene, history=history), output, force)
        return len(scene.gaussians)
    time_us = middle_time_us(scene) if time_s is None else scene.time_origin_us + round(time_s * 1e6)
    gaussians = frozen(scene, time_us)
    (write_ply if target == "ply" else write_splat)(gaussians, output, force)
    return len(gaussians)
