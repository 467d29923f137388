"""Recordings to clips: one module a format, found lazily by name.

A reader module defines `detects(path) -> bool` (cheap, never raises) and `read(path, scene) -> Recording`.
To add a format, write the module and add its line below (docs/recordings/README.md).
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from jwmtool.errors import InputError, UsageError

if TYPE_CHECKING:
    from jwmtool.readers.recording import Recording

# name -> (module, what a user would recognize it by)
FORMATS = {
    "nerfstudio": ("jwmtool.readers.nerfstudio", "transforms.json"),
    "kitti-odometry": ("jwmtool.readers.kitti_odometry", "calib.txt, poses.txt, image folders"),
    "dgp": ("jwmtool.readers.dgp", "scene_*.json, calibration/"),
}


def detect(source: Path) -> str:
    """Return the name of the format that `source` is in.

    Raises:
        InputError: no such file, an empty folder, or no known format; the message lists the known ones.
    """
    if not source.exists():
        raise InputError(source, "a recording", "no such file or folder")
    if source.is_dir() and not any(source.iterdir()):
        raise InputError(source, "a recording", "an empty folder")
    for name, (module, _) in FORMATS.items():
        if import_module(module).detects(source):
            return name
    known = "; ".join(f"{name} ({mark})" for name, (_, mark) in FORMATS.items())
    raise InputError(source, f"a recording in a known format: {known}", "none of them")


def read_recording(source: Path, format: str | None = None, scene: str | None = None) -> Recording:
    """Read a recording's index (no pictures yet) and check it.

    Args:
        source: file or folder as the format has it.
        format: a name in FORMATS, or None to detect it.
        scene: which one, where the source holds several.

    Raises:
        UsageError: unknown format name. InputError: anything wrong with the recording.
    """
    from jwmtool.readers.recording import checked

    if format is not None and format not in FORMATS:
        raise UsageError(f"--format: expected one of {', '.join(FORMATS)}, found {format!r}")
    if format is None or not source.exists():
        format = detect(source)
    recording: Recording = import_module(FORMATS[format][0]).read(source, scene)
    return checked(recording)
