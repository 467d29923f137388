"""Recordings to clips: one module a format, found lazily by name.

A reader module defines `detects(path) -> bool` (cheap, never raises) and `read(path, scene) -> Recording`; where a
source holds several scenes also `scenes(path) -> list[str]`, or with `HAS_SPLITS = True` `scenes(path, split)`, where
the split is `all` or one of the format's own; with `TAKES_HINTS = True`, read's third argument is what the user said of
the recording (`recording.Hints`).
To add a format, write the module and add its line below (docs/recordings/README.md).
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from jwmtool.errors import InputError, UsageError

if TYPE_CHECKING:
    from jwmtool.readers.recording import Hints, Recording

# name -> (module, what a user would recognize it by)
FORMATS = {
    "nerfstudio": ("jwmtool.readers.nerfstudio", "transforms.json"),
    "kitti-odometry": ("jwmtool.readers.kitti_odometry", "calib.txt, poses.txt, image folders"),
    "dgp": ("jwmtool.readers.dgp", "scene_*.json, calibration/"),
    "nuscenes": ("jwmtool.readers.nuscenes", "v1.0-*/scene.json, samples/"),
    "waymo": ("jwmtool.readers.waymo", "*.tfrecord, or camera_image/*.parquet"),
    "kitti-raw": ("jwmtool.readers.kitti_raw", "*_drive_*/image_02/, calib_*.txt"),
    "argoverse2": ("jwmtool.readers.argoverse2", "city_SE3_egovehicle.feather, sensors/"),
    "comma2k19": ("jwmtool.readers.comma2k19", "global_pose/, video.hevc"),
    "colmap": ("jwmtool.readers.colmap", "cameras.bin or cameras.txt, images/"),
    "video": ("jwmtool.readers.video", "an .mp4 or another video file"),
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


def read_recording(
    source: Path, format: str | None = None, scene: str | None = None, hints: Hints | None = None
) -> Recording:
    """Read a recording's index (no pictures yet) and check it.

    Args:
        source: file or folder as the format has it.
        format: a name in FORMATS, or None to detect it.
        scene: which one, where the source holds several.
        hints: what the files do not say.

    Raises:
        UsageError: unknown format name, hints for a format that says it itself. InputError: anything wrong with the
            recording. MissingPartError: the format needs an extra that is not installed.
    """
    from jwmtool.readers.recording import Hints, checked

    format, module = _reader(source, format)
    hints = hints or Hints()
    if getattr(module, "TAKES_HINTS", False):
        recording: Recording = module.read(source, scene, hints)
    elif hints.given:
        raise UsageError(f"{hints.given[0]}: {format} recordings say that themselves; leave it out")
    else:
        recording = module.read(source, scene)
    return checked(recording)


def list_scenes(source: Path, format: str | None = None, split: str = "all") -> list[str]:
    """The scenes of a source, each a `scene` for `read_recording`.

    Args:
        split: `all`, or as the format names its parts (`train`, `val`, `test`).

    Raises:
        UsageError: unknown format or split, or a format that holds one recording only. InputError: not readable.
    """
    format, module = _reader(source, format)
    if not hasattr(module, "scenes"):
        raise UsageError(f"--split: a {format} source holds one recording; leave it out")
    if getattr(module, "HAS_SPLITS", False):
        found: list[str] = module.scenes(source, split)
    elif split != "all":
        raise UsageError(f"--split: {format} recordings have no splits; expected all, found {split!r}")
    else:
        found = module.scenes(source)
    return found


def _reader(source: Path, format: str | None) -> tuple[str, ModuleType]:
    if format is not None and format not in FORMATS:
        raise UsageError(f"--format: expected one of {', '.join(FORMATS)}, found {format!r}")
    if format is None or not source.exists():
        format = detect(source)
    return format, import_module(FORMATS[format][0])
