"""The map mask of a nuScenes data set: white where one can drive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.images import write_png
from jwmtool.errors import InputError

Floats = NDArray[np.float64]

RESOLUTION_M = 0.1  # the devkit's; not told in the tables
MARGIN_M = 100.0  # around the ego's path; the devkit's views reach 57 m
MAX_PIXELS = 600_000_000
_PATH_WIDTH_M = 3.5
_SHIFT = 4  # cv2 draws in 16ths of a pixel


def map_origin(clip: Clip) -> tuple[float, float]:
    """x and y in the clip's world (m) of the mask's lower left corner, where the map's coordinates are zero."""
    low = clip.world_from_rig[:, :2, 3].min(0) - MARGIN_M
    return float(np.floor(low[0])), float(np.floor(low[1]))


def write_map_mask(clip: Clip, path: Path) -> None:
    """Draw the clip's lanes, and where the ego drove, as an 8-bit PNG: 255 drivable, 10 px a metre, north up.

    Raises:
        InputError: the path spans too far for one picture.
    """
    import cv2

    origin = np.array(map_origin(clip))
    driven = clip.world_from_rig[:, :2, 3]
    width, height = (
        int(s) for s in np.ceil((np.ceil(driven.max(0) + MARGIN_M) - origin) / RESOLUTION_M).astype(np.int64)
    )
    if width * height > MAX_PIXELS:
        spans = f"{width * RESOLUTION_M / 1000:.1f} x {height * RESOLUTION_M / 1000:.1f} km"
        limit = f"a path that fits a map mask of {MAX_PIXELS // 1_000_000} million pixels of {RESOLUTION_M} m"
        raise InputError(clip.root, limit, spans)
    mask = np.zeros((height, width), np.uint8)
    lanes: list[tuple[Floats, float]] = [(driven, _PATH_WIDTH_M)]
    lanes += [(np.asarray(lane["points"], np.float64)[:, :2], float(lane["width_m"])) for lane in _lanes(clip)]
    for points, width_m in lanes:
        pixels = (points - origin) / RESOLUTION_M
        pixels[:, 1] = height - pixels[:, 1]
        fixed = np.round((pixels - 0.5) * 2**_SHIFT).astype(np.int32).reshape(-1, 1, 2)
        thickness = max(1, round(width_m / RESOLUTION_M))
        cv2.polylines(mask, [fixed], False, 255, thickness, cv2.LINE_8, _SHIFT)
    write_png(path, mask)


def _lanes(clip: Clip) -> list[dict[str, Any]]:
    lanes = clip.extras.get("lanes", [])
    return [lane for lane in lanes if len(lane.get("points", ())) > 1 and lane.get("width_m", 0) > 0]
