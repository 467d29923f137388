"""KITTI raw's boxes: tracklet_labels.xml.

Each item is one thing: objectType, h, w, l, first_frame and a pose for each frame from there on. A pose is the middle
of the box's bottom (tx, ty, tz) in the velodyne's frame, metres, and its heading rz about the velodyne's z, radians;
rx and ry are zero and, as in KITTI's own tools, not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from jwmtool.artifacts.clip import Track
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.readers.recording import Matrix


def read_tracklets(file: Path, times_us: Sequence[int], world_from_velo: Sequence[Matrix]) -> list[Track]:
    """The boxes of a drive in the world.

    Args:
        file: tracklet_labels.xml.
        times_us: [F] of the drive's frames.
        world_from_velo: [F] of [4, 4].

    Raises:
        InputError: not readable, or an item without what the docstring above names.
    """
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise InputError(file, "XML of KITTI's tracklets", str(error)) from None
    items = root.findall("./tracklets/item")
    if not items and root.find("./tracklets") is None:
        raise InputError(file, "XML of KITTI's tracklets", f"<{root.tag}> without <tracklets>")
    tracks = [_track(file, number, item, times_us, world_from_velo) for number, item in enumerate(items)]
    return [track for track in tracks if track is not None]


def _track(
    file: Path, number: int, item: ElementTree.Element, times_us: Sequence[int], world_from_velo: Sequence[Matrix]
) -> Track | None:
    length, width, height = (_number(file, number, item, key) for key in ("l", "w", "h"))
    first = int(_number(file, number, item, "first_frame"))
    frames, poses = [], []
    for frame, pose in enumerate(item.findall("./poses/item"), first):
        if not 0 <= frame < len(times_us):
            continue
        x, y, z, heading = (_number(file, number, pose, key) for key in ("tx", "ty", "tz", "rz"))
        velo_from_box = se3.translation([x, y, z + height / 2]) @ se3.rotation_z(heading)
        frames.append(frame)
        poses.append(world_from_velo[frame] @ velo_from_box)
    if not frames:
        return None
    times = np.array([times_us[frame] for frame in frames], np.int64)
    category = (item.findtext("objectType") or "").strip() or "unknown"
    return Track(str(number), category, (length, width, height), times, np.stack(poses))


def _number(file: Path, item_number: int, item: ElementTree.Element, key: str) -> float:
    text = item.findtext(key)
    try:
        value = float(text or "")
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(file, f"a number <{key}> in tracklet {item_number}", repr(text))
    return value
