"""Waymo Open Dataset, perception: version 1 (a .tfrecord a segment) and version 2 (folders of parquet tables).

Conventions, the same for both:

- World: Waymo's global frame as it is (x east, y north, z up; some kilometers from its origin, poses are float64). Rig:
  Waymo's vehicle frame (x forward, y left, z up; on the ground, below the middle of the rear axle).
- Cameras: Waymo's camera axes are x forward, y left, z up; turned into x right, y down, z forward. `extrinsic` is
  vehicle_from_camera. Distortion is OpenCV's (k1, k2, p1, p2, k3). Pixel 0 is the left edge of the first pixel
  (dataset.proto), so its center is at 0.5: c_u and c_v are taken as they are.
- Rolling shutter: columns are exposed one after the other. A picture's time is the middle of its readout,
  (trigger + readout done) / 2; its pose is the car's at that time, between the recorded poses (`CameraImage.pose` at
  `pose_timestamp`, of all cameras). Columns are not corrected; trigger, end of readout and shutter are in
  extras["waymo"]["rolling_shutter"], by the picture's time.
- A frame stands where `Frame.pose` says (the middle of the lidar's turn); its time is `pose_timestamp` of the picture
  with that pose, not `timestamp_micros`, which is some 50 ms before. Both are in extras.
- Lidar: one sweep a frame, of all lidars and both returns, in the vehicle's frame at `Frame.pose`, compensated for the
  car's motion (see waymo_range_image.py). Intensity as recorded: not within [0, 1].
- Boxes: `laser_labels`, upright in the vehicle's frame at `Frame.pose`; heading about z, length along x.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jwmtool.errors import InputError, UsageError
from jwmtool.readers import waymo_v1, waymo_v2
from jwmtool.readers.recording import Recording
from jwmtool.readers.waymo_segment import to_recording

HAS_SPLITS = True
_PREFIX, _SUFFIX = "segment-", "_with_camera_labels"
_SHORT = {"train": "training", "val": "validation", "test": "testing"}
_EXPECTED = "a Waymo segment (.tfrecord), a folder of them, or one with camera_image/*.parquet"
_Found = dict[str, tuple[str, Path]]  # segment -> name of its folder, .tfrecord or root of the components


def detects(path: Path) -> bool:
    """True for a segment's .tfrecord, a folder of them, the root of version 2, or a folder of such folders."""
    try:
        if path.is_file():
            return _looks_like_segment(path)
        for folder in (path, *_folders(path)):
            if _is_v2(folder):
                return True
            first = next(folder.glob("*.tfrecord"), None)
            if first is not None and _looks_like_segment(first):
                return True
    except OSError:
        return False
    return False


def scenes(path: Path, split: str) -> list[str]:
    """Names of the segments, in order.

    Args:
        path: as for `read`.
        split: `all`; a folder within `path` (training, validation, testing; train, val and test for short); or the name
            of a text file PATH/SPLIT.txt with one segment a line.

    Raises:
        UsageError: no such split. InputError: no segments, or a listed one that is not there.
    """
    found = _segments(path)
    if split == "all":
        return sorted(found)
    listed = path / f"{split}.txt"
    if path.is_dir() and "/" not in split and listed.is_file():
        names = [_bare(line.strip()) for line in listed.read_text(errors="replace").splitlines()]
        names = list(dict.fromkeys(name for name in names if name and not name.startswith("#")))
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(listed, f"segments of {path}", f"{missing[0]}, which is not there ({len(missing)} so)")
        return names
    folder = _SHORT.get(split, split)
    folders = sorted({place for place, _ in found.values()} - {""})
    if folder not in folders:
        known = ", ".join(["all", *folders, *sorted(file.stem for file in path.glob("*.txt"))])
        raise UsageError(f"--split: expected one of {known}, found {split!r}")
    return sorted(name for name, (place, _) in found.items() if place == folder)


def read(path: Path, scene: str | None = None) -> Recording:
    """Read the index of one segment; `scene` names it (or a part of its name) where `path` holds several.

    Raises:
        InputError: no or several such segments, missing or damaged files. MissingPartError: parquet without pyarrow.
    """
    found = _segments(path)
    wanted = None if scene is None else _bare(scene)
    chosen = [name for name in found if wanted is None or name == wanted]
    chosen = chosen or [name for name in found if wanted is not None and wanted and wanted in name]
    if len(chosen) != 1:
        some = sorted(chosen or found)
        names = ", ".join(some[:8]) + (" ..." if len(some) > 8 else "")
        asked = "one segment (--scene chooses among several)" if scene is None else f"one segment for --scene {scene}"
        raise InputError(path, asked, names)
    name, (_, place) = chosen[0], found[chosen[0]]
    if place.is_dir():
        return to_recording(waymo_v2.read_segment(place, name))
    return to_recording(waymo_v1.read_segment(place))


def _segments(path: Path) -> _Found:
    """All segments at a path."""
    if path.is_file() and _looks_like_segment(path):
        return {_bare(path.name): ("", path)}
    found: _Found = {}
    if path.is_dir():
        for folder in (path, *_folders(path)):
            place = "" if folder == path else folder.name
            for file in sorted(folder.glob("*.tfrecord")):
                if _looks_like_segment(file):
                    found.setdefault(_bare(file.name), (place, file))
            for file in sorted(folder.glob("camera_image/*.parquet")) if _is_v2(folder) else ():
                found.setdefault(file.stem, (place, folder))
    if not found:
        raise InputError(path, _EXPECTED, "none of that" if path.exists() else "no such file or folder")
    return found


def _folders(path: Path) -> Iterator[Path]:
    return (folder for folder in sorted(path.iterdir()) if folder.is_dir()) if path.is_dir() else iter(())


def _is_v2(folder: Path) -> bool:
    return next(folder.glob("camera_image/*.parquet"), None) is not None


def _looks_like_segment(file: Path) -> bool:
    """By its name, which a damaged one keeps, or by how it starts."""
    if file.suffix != ".tfrecord":
        return False
    return file.name.startswith(_PREFIX) or waymo_v1.is_segment(file)


def _bare(name: str) -> str:
    """A segment's own name, without what files add to it."""
    for suffix in (".tfrecord", ".parquet"):
        name = name.removesuffix(suffix)
    return name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
