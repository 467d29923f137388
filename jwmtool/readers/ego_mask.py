"""The own car in a camera's pictures: what comes in over the lower border and never moves while the car drives.

A bonnet mirrors the sky and the street, so its pixels change, and asphalt hardly does: constancy says little. What
tells is the edge of the bonnet: it stays in its place while everything that the car drives past moves across it. Edges
along the direction in which the scene moves (lane markings, curbs) stay as well and say nothing; only edges across it
count.

    1. Gradients of up to 32 pictures, as doubled angles, so that a road that is now lighter and now darker than the
       bonnet adds up. Their mean is near 1 where an edge of one direction is in every picture.
    2. Evidence: that mean, as far as it stands out from the rows above, times how far the edge lies across the motion.
    3. The line from left to right with the most evidence (dynamic programming over the columns); it may run below the
       picture, where nothing of the car is in view.
    4. Each stretch of it counts only if it is wide, without gaps, there in the first and in the second half of the
       drive, and a sharp step of color: no reflection of a thin line, no soft cone of headlights, no black border.

In doubt there is no mask: road that is masked wrongly is lost, a rim of bonnet more or less is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.images import read_image
from jwmtool.device import num_threads
from jwmtool.readers.recording import Recording, SourceCamera, SourceImage

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Focus = tuple[float, float, float]

MIN_PICTURES, MAX_PICTURES = 16, 32
MIN_PATH_M, MIN_STEP_M = 16.0, 1.0
_WIDTH_PX = 480  # pictures are compared at this width
_EDGE = 6.0  # gray levels a pixel: far weaker gradients are noise
_FULLY_ACROSS = 0.3  # sine of the angle between an edge and the motion from which on it counts in full
_JUMP_PX, _JUMP_COST, _NO_EVIDENCE = 4, 0.08, 0.4  # of the line: steepest, price of a row up or down, break-even
_STEEP_PX, _STEEP_ROWS = 8, 12  # the line is cut where it climbs or falls more than that: from one thing to another
_SMOOTH_PX = 31  # columns of the line's median: where a lane marking meets the bonnet, it would climb it
_LOWEST_PX = 3  # the line's last rows: too near to the border to see both sides
_MIN_WIDTH, _MIN_AREA, _MAX_AREA = 0.3, 0.004, 0.42  # of the picture
_MAX_CORNER = 0.12  # of the width: as far a stretch is continued to the side borders, where edges lie along the motion
_MIN_COVER, _MIN_MEAN, _MIN_HALF = 0.85, 0.72, 0.5  # evidence along the line
_MIN_STEP, _MIN_STEP_SHARE, _MIN_SHARPNESS = 5.0, 0.85, 0.6  # gray levels; share of the columns; near step / wide step
_BLACK = 16.0
_MAX_STILL = 0.85  # share of all edges that stay: above it the car stands


def with_ego_masks(recording: Recording, skip: Collection[str] = ()) -> Recording:
    """Return the recording with masks of the own car in the cameras that have none and see it; a notice names them.

    At most 32 pictures of a camera are decoded, whatever the length: spread over the drive if they are files, from its
    beginning if they are functions (video, decoded in order).

    Args:
        recording: after selection.
        skip: cameras to leave as they are.

    Raises:
        InputError: a picture that is missing or damaged.
    """
    cameras, found = dict(recording.cameras), []
    for name, camera in recording.cameras.items():
        if camera.mask is not None or name in skip:
            continue
        images = _driven([f.images[name] for f in recording.frames if name in f.images])
        if len(images) < MIN_PICTURES:
            continue
        region = _ego_region(_load(images, camera), _focus(images, camera))
        if region is not None:
            cameras[name] = replace(camera, mask=~_enlarged(region, camera.width, camera.height))
            found.append(f"{name} ({100 * region.mean():.0f} %)")
    if found:
        console.notice(
            f"own car masked in {', '.join(found)}; --mask CAMERA=FILE replaces it, --mask CAMERA=none removes it"
        )
    return replace(recording, cameras=cameras)


def find_ego_mask(
    pictures: Sequence[Picture],  # [H, W, 3] sRGB, of one camera, in order of time, the car some 1 m further in each
    focus: Focus | None = None,
) -> NDArray[np.bool_] | None:  # [H, W]
    """Find the own car at the lower border.

    Args:
        pictures: at least 16; 24 to 32 are plenty.
        focus: K @ direction of travel in camera axes: the point (x / w, y / w) that the scene streams from or towards.
            None: the middle.

    Returns:
        True where a pixel shows the scene, False on the own car; None if nothing of it was found.

    Raises:
        ValueError: pictures of another shape or of several sizes.
    """
    if any(p.ndim != 3 or p.shape != pictures[0].shape or p.shape[2] != 3 for p in pictures):
        raise ValueError(f"expected pictures [H, W, 3] of one size, found {sorted({p.shape for p in pictures})}")
    if len(pictures) < MIN_PICTURES:
        return None
    height, width = pictures[0].shape[:2]
    small = [_reduced(p) for p in pictures]
    scale = small[0].shape[1] / width
    region = _ego_region(small, None if focus is None else (scale * focus[0], scale * focus[1], focus[2]))
    return None if region is None else ~_enlarged(region, width, height)


# Which pictures


def _driven(images: list[SourceImage]) -> list[SourceImage]:
    """At most 32 pictures, each at least 1 m further than the one before; none if the car hardly moves."""
    kept: list[SourceImage] = []
    for image in images:
        if not kept or _distance(kept[-1], image) >= MIN_STEP_M:
            kept.append(image)
    if any(not isinstance(image.source, Path) for image in kept):
        kept = kept[:MAX_PICTURES]
    if sum(_distance(a, b) for a, b in pairwise(kept)) < MIN_PATH_M:
        return []
    if len(kept) > MAX_PICTURES:
        kept = [kept[round(i)] for i in np.linspace(0, len(kept) - 1, MAX_PICTURES)]
    return kept


def _distance(a: SourceImage, b: SourceImage) -> float:
    return float(np.linalg.norm(b.world_from_cam[:3, 3] - a.world_from_cam[:3, 3]))


def _focus(images: list[SourceImage], camera: SourceCamera) -> Focus:
    """K @ mean direction of travel as the camera sees it, in px of the reduced pictures."""
    steps = [
        a.world_from_cam[:3, :3].T @ (b.world_from_cam[:3, 3] - a.world_from_cam[:3, 3]) for a, b in pairwise(images)
    ]
    units = [step / np.linalg.norm(step) for step in steps]
    x, y, w = camera.K @ np.mean(units, axis=0)
    scale = min(1.0, _WIDTH_PX / camera.width)
    return scale * float(x), scale * float(y), float(w)


def _load(images: list[SourceImage], camera: SourceCamera) -> list[Picture]:
    """Decode and reduce; files by several threads, functions in order."""
    size = (camera.width, camera.height)

    def load(image: SourceImage) -> Picture:
        source: Path | Callable[[], Picture] = image.source
        return _reduced(read_image(source, size) if isinstance(source, Path) else source())

    if all(isinstance(image.source, Path) for image in images):
        with ThreadPoolExecutor(num_threads()) as pool:
            return list(pool.map(load, images))
    return [load(image) for image in images]


def _reduced(picture: Picture) -> Picture:
    import cv2

    height, width = picture.shape[:2]
    if width <= _WIDTH_PX:
        return picture
    size = (_WIDTH_PX, round(height * _WIDTH_PX / width))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(region: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """The region [h, w] at full size, with a margin of about one pixel of the reduced pictures."""
    import cv2

    wide: Any = cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    margin = -(-width // _WIDTH_PX) - 1
    return np.asarray(cv2.dilate(wide, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))) > 0


# Where it is


@dataclass(frozen=True)
class _Stretch:
    """A stretch of the line between scene and car: one row for each of its columns."""

    columns: NDArray[np.int64]  # [C]
    rows: NDArray[np.int64]  # [C], first row of the car

    def below(self, height: int, width: int) -> NDArray[np.bool_]:
        region = np.zeros((height, width), bool)
        region[:, self.columns] = np.arange(height)[:, None] >= self.rows[None]
        return region


def _ego_region(pictures: list[Picture], focus: Focus | None) -> NDArray[np.bool_] | None:
    """True on the own car [h, w], or None; all pictures reduced."""
    height, width = pictures[0].shape[:2]
    if min(height, width) < 48:
        return None
    focus = focus or (0.5 * width, 0.5 * height, 1.0)
    middle = len(pictures) // 2
    halves = [_edges(pictures[:middle]), _edges(pictures[middle:])]
    share = middle / len(pictures)
    doubled, strength = (np.asarray(share * a + (1 - share) * b, np.float32) for a, b in zip(*halves, strict=True))
    across = _across(doubled, focus)
    still = np.linalg.norm(doubled, axis=2)
    if float((still * across).sum()) > _MAX_STILL * float((strength[..., 0] * across).sum()):
        return None
    evidence = _evidence(doubled, focus) * _peaks(strength[..., 1])
    half_evidence = [_near(_evidence(half, focus)) for half, _ in halves]
    stretches = [s for s in _stretches(evidence) if _holds(s, evidence, half_evidence) and _is_step(s, pictures)]
    if not stretches:
        return None
    region: NDArray[np.bool_] = np.any([_continued(s, width).below(height, width) for s in stretches], axis=0)
    return region


def _edges(pictures: list[Picture]) -> tuple[Floats, Floats]:
    """Means over the pictures: gradients at doubled angles, each at most 1 long [h, w, 2]; their lengths, and the
    gradients' own lengths [h, w, 2]."""
    import cv2

    height, width = pictures[0].shape[:2]
    doubled: Floats = np.zeros((height, width, 2), np.float32)
    strength: Floats = np.zeros((height, width, 2), np.float32)
    for picture in pictures:
        smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
        dx: Any = cv2.Sobel(smooth, -1, 1, 0, ksize=1) / 2
        dy: Any = cv2.Sobel(smooth, -1, 0, 1, ksize=1) / 2
        xx, yy, xy = (np.einsum("hwc,hwc->hw", a, b) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
        weight = 1.0 / ((xx + yy + _EDGE**2) * len(pictures))
        doubled += np.dstack([(xx - yy) * weight, 2 * xy * weight])
        strength += np.dstack([(xx + yy) * weight, np.sqrt(xx + yy) / len(pictures)])
    return doubled, strength


def _across(doubled: Floats, focus: Focus) -> Floats:
    """[h, w]: 1 where edges lie across the motion of the scene, 0 where along it."""
    height, width = doubled.shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    flow_x, flow_y = focus[2] * x - focus[0], focus[2] * y - focus[1]
    angle = 0.5 * np.arctan2(doubled[..., 1], doubled[..., 0])
    length = np.maximum(np.hypot(flow_x, flow_y), 1e-9)
    return np.asarray(np.abs(np.cos(angle) * flow_x + np.sin(angle) * flow_y) / length, np.float32)


def _evidence(doubled: Floats, focus: Focus) -> Floats:
    """[h, w] in [0, 1]: an edge across the motion that stays, and stands out from the rows above it."""
    import cv2

    height = doubled.shape[0]
    still = np.linalg.norm(doubled, axis=2)
    around: Any = cv2.blur(still, (1, 5), borderType=cv2.BORDER_REPLICATE)
    above = np.vstack([np.repeat(around[:1], 7, 0), around[:-7]])
    evidence = np.clip(1.6 * (still - 0.8 * above), 0, 1) * np.clip(_across(doubled, focus) / _FULLY_ACROSS, 0, 1)
    # Nothing at or above the horizon: what is far away stays as well.
    x, y, w = focus
    horizon = y / w if abs(x) < 2 * doubled.shape[1] * abs(w) else 0.5 * height
    evidence[: round(min(max(horizon, 0.3 * height), 0.7 * height) + 0.06 * height)] = 0
    evidence[height - _LOWEST_PX :] = 0
    return np.asarray(evidence, np.float32)


def _peaks(gradient: Floats) -> Floats:
    """[h, w]: 1 where the gradient is the strongest of its column within 3 rows, towards 0.5 beside it."""
    import cv2

    most: Any = cv2.dilate(gradient, np.ones((7, 1), np.uint8))
    return np.asarray(0.5 + 0.5 * gradient / np.maximum(most, 1e-6), np.float32)


def _near(evidence: Floats) -> Floats:
    """The most evidence within two rows and one column."""
    import cv2

    return np.asarray(cv2.dilate(evidence, np.ones((5, 3), np.uint8)), np.float32)


def _stretches(evidence: Floats) -> list[_Stretch]:
    """The best line from left to right, cut where it runs below the picture or is steep."""
    height, width = evidence.shape
    gain = np.vstack([evidence - _NO_EVIDENCE, np.zeros((1, width), np.float32)])  # the last row: below the picture
    best, came = gain[:, 0].copy(), np.zeros((width, height + 1), np.int64)
    jumps = np.arange(-_JUMP_PX, _JUMP_PX + 1)
    rows = np.arange(height + 1)
    sources = rows[None] + jumps[:, None]
    price = np.where((sources < 0) | (sources > height), np.inf, _JUMP_COST * np.abs(jumps)[:, None])
    sources = np.clip(sources, 0, height)
    for x in range(1, width):
        options = best[sources] - price
        choice = options.argmax(0)
        came[x], best = sources[choice, rows], options[choice, rows] + gain[:, x]
    line = np.empty(width, np.int64)
    line[-1] = best.argmax()
    for x in range(width - 1, 0, -1):
        line[x - 1] = came[x, line[x]]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(line, _STEEP_PX // 2, mode="edge"), _STEEP_PX + 1)
    inside = (line < height - _LOWEST_PX) & (np.ptp(around, axis=1) <= _STEEP_ROWS)
    starts = np.flatnonzero(inside & ~np.r_[False, inside[:-1]])
    ends = np.flatnonzero(inside & ~np.r_[inside[1:], False]) + 1
    return [_Stretch(np.arange(a, b), _smooth(line[a:b])) for a, b in zip(starts, ends, strict=True)]


def _smooth(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Median over the columns, the ends continued at their slope."""
    half = min(_SMOOTH_PX // 2, len(rows) - 1)
    padded = np.pad(rows, half, mode="reflect", reflect_type="odd")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.asarray(np.median(windows, axis=1), np.int64)


def _holds(stretch: _Stretch, evidence: Floats, halves: list[Floats]) -> bool:
    """Wide and big enough, without gaps, and there in both halves of the drive."""
    height, width = evidence.shape
    along = _near(evidence)[stretch.rows, stretch.columns]
    area = float((height - stretch.rows).sum()) / (height * width)
    return bool(
        len(along) >= _MIN_WIDTH * width
        and _MIN_AREA <= area <= _MAX_AREA
        and (along > _NO_EVIDENCE).mean() >= _MIN_COVER
        and along.mean() >= _MIN_MEAN
        and all(half[stretch.rows, stretch.columns].mean() >= _MIN_HALF for half in halves)
    )


def _continued(stretch: _Stretch, width: int) -> _Stretch:
    """The stretch with the corners of the picture, if it ends near them: at its slope, but never upwards."""
    columns, rows = stretch.columns, stretch.rows
    tail = min(24, len(rows))
    for _ in range(2):  # the right end, then, mirrored, the left one
        missing = int(width - 1 - columns[-1])
        if 0 < missing <= _MAX_CORNER * width:
            slope = max(0.0, float(rows[-1] - rows[-tail]) / tail)
            more = np.arange(1, missing + 1)
            columns = np.r_[columns, columns[-1] + more]
            rows = np.r_[rows, np.ceil(rows[-1] + slope * more).astype(np.int64)]
        columns, rows = width - 1 - columns[::-1], rows[::-1]
    return _Stretch(columns, rows)


def _is_step(stretch: _Stretch, pictures: list[Picture]) -> bool:
    """True if the colors change sharply and lastingly across the line, and what is below is not a black border."""
    height = pictures[0].shape[0]
    inside, outside, farther, near = (
        np.stack([_band(p, stretch, first, last) for p in pictures])
        for first, last in ((3, 8), (-8, -3), (-14, -9), (1, 3))
    )
    near_outside = np.stack([_band(p, stretch, -3, -1) for p in pictures])
    step = np.abs(inside - outside).max(2)  # [N, C]
    other = np.abs(outside - farther).max(2)
    sharpness = float(np.median(np.abs(near - near_outside).max(2))) / max(float(np.median(step)), 1e-6)
    lasting = np.median(step, 0) > np.maximum(_MIN_STEP, 1.5 * np.median(other, 0))
    region = stretch.below(height, pictures[0].shape[1])
    brightest = np.max([p[region].max(1) for p in pictures], axis=0)
    black = float((brightest < _BLACK).mean()) > 0.8
    return bool(lasting.mean() >= _MIN_STEP_SHARE and sharpness >= _MIN_SHARPNESS and not black)


def _band(picture: Picture, stretch: _Stretch, first: int, last: int) -> Floats:
    """Mean color of the rows [first, last) relative to the line [C, 3], over 15 columns."""
    rows = np.clip(stretch.rows[None] + np.arange(first, last)[:, None], 0, picture.shape[0] - 1)
    colors = picture[rows, stretch.columns[None]].astype(np.float32).mean(0)
    sums = np.cumsum(np.pad(colors, ((8, 7), (0, 0)), mode="edge"), axis=0, dtype=np.float64)
    return np.asarray((sums[15:] - sums[:-15]) / 15, np.float32)
