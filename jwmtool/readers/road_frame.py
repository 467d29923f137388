"""A metric frame for poses of unknown scale: up from the cameras and their path, scale from the camera above the road.

Structure from motion gives a path up to a similarity. Here: `upright` turns it z up, `heights_along` measures how
high the path runs above the road, in the path's own unit, stretch by stretch, and `scale_breaks` finds where that unit
changes on the way. A path has one unit only as long as each picture shares enough near points with those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

CORRIDORS = (1.1, 1.6, 2.4)  # half widths of the road that is looked at, in camera heights: lane, its lines, road
_BAND = 0.08  # of the height: as thick as the road may lie around its mode
_BEYOND = 8.0  # steps past the end of the path that it is taken to be straight
_FEWEST = 12  # road points that a height needs
_WINDOW_S = 1.0  # on either side of a step, for speed
_STRETCH_S = 2.5  # and for the road
_STEP = 1.3  # ratio of scales across a break, at least
_SUDDEN_M_S = 2.4  # a car changes its speed by less within two pictures (0.2 s at 12 m/s2) ...
_USUAL_HEIGHT_M = 1.5  # ... where this is taken for the camera's height
_CLEAR = 4.0  # times the scatter of speeds: a step that is none of it
_WEAK = 0.35  # shared points of a weak link, of the usual number
_NO_LINK = 12  # or of none at all


@dataclass(frozen=True)
class Similarity:
    """world_from_model: x_world = scale * rotation @ x_model + translation."""

    scale: float
    rotation: Floats  # [3, 3]
    translation: Floats  # [3]

    def points(self, xyz: Floats) -> Floats:
        """Map points [..., 3]."""
        return self.scale * xyz @ self.rotation.T + self.translation

    def poses(self, model_from_cams: Floats) -> Floats:
        """Map poses [..., 4, 4]; they stay rigid."""
        result = np.array(model_from_cams, np.float64)
        result[..., :3, :3] = self.rotation @ result[..., :3, :3]
        result[..., :3, 3] = self.points(result[..., :3, 3])
        return result


@dataclass(frozen=True)
class Break:
    """Between frames `first` and `last` the path's unit changes; frames between them belong to neither side.

    Attributes:
        ratio: scale after over scale before, as far as it is known (1: not).
        cues: what told so, in words.
    """

    first: int
    last: int
    ratio: float
    cues: tuple[str, ...]


def upright(model_from_cams: Floats, steps: Floats | None = None) -> Similarity:
    """Turn a model z up, x along the first camera's view, origin at the first camera; its unit stays.

    Up is square to the cameras' x axes (they are mounted without roll) and to the path (it follows the road), as nearly
    as all of them allow, and on the side of minus their y axes. Where the path is too short to tell, it is minus their
    mean y axis.

    Args:
        model_from_cams: [N, 4, 4], x right, y down, z forward.
        steps: [M, 3] pieces of the path, default between neighbors.
    """
    centers = model_from_cams[:, :3, 3]
    steps = np.diff(centers, axis=0) if steps is None else steps
    lengths = np.linalg.norm(steps, axis=1)
    down = model_from_cams[:, :3, 1].mean(0)
    up = -down / np.linalg.norm(down)
    good = lengths > 0.1 * np.median(lengths) if len(lengths) else lengths > 0
    if good.sum() >= 2:
        directions = steps[good] / lengths[good, None]
        across = model_from_cams[:, :3, 0]
        moments = across.T @ across / len(across) + directions.T @ directions / len(directions)
        values, vectors = np.linalg.eigh(moments)
        found = vectors[:, 0] * np.sign(vectors[:, 0] @ up)
        # A view along the path leaves no doubt; two that run alike (a side camera) do.
        if values[1] > 0.1 and found @ up > np.cos(np.radians(30)):
            up = found
    forward = model_from_cams[0, :3, 2]
    forward = forward - (forward @ up) * up
    if np.linalg.norm(forward) < 0.1:  # looks down: the picture's top is ahead
        forward = -model_from_cams[0, :3, 1]
        forward = forward - (forward @ up) * up
    forward = forward / np.linalg.norm(forward)
    rotation = np.stack([forward, np.cross(up, forward), up])
    return Similarity(1.0, rotation, -rotation @ centers[0])


def scaled(frame: Similarity, factor: float) -> Similarity:
    """The same frame in a unit that is `factor` times smaller."""
    return Similarity(frame.scale * factor, frame.rotation, frame.translation * factor)


def drops(path: Floats, points: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """How far points lie below and beside a path.

    Args:
        path: [N, 3] camera centers in order of time, z up.
        points: [M, 3].

    Returns:
        drop [K], side [K] (left positive) and the index [K] of the nearest place of the path, for those of the points
        that the path passes, or would if it went straight on a little at its end.
    """
    if len(path) < 2 or not len(points):
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    along = np.gradient(path[:, :2], axis=0)
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
    _, index = cKDTree(path[:, :2]).query(points[:, :2])
    offset = points[:, :2] - path[index, :2]
    ahead = (offset * along[index]).sum(1)
    side = along[index, 0] * offset[:, 1] - along[index, 1] * offset[:, 0]
    reach = np.full(len(path), 1.5)
    reach[-1] = _BEYOND  # a camera sees the road ahead of it
    passed = (ahead >= -1.5 * length[index, 0]) & (ahead <= reach[index] * length[index, 0])
    slope = np.gradient(path[:, 2]) / np.maximum(length[:, 0], 1e-12)
    drop = path[index, 2] + slope[index] * ahead - points[:, 2]
    return drop[passed], side[passed], index[passed].astype(np.int64)


def road_height(drop: Floats, side: Floats) -> float:
    """The height of a path above the road: the densest layer of points under it, in a corridor as wide as it is high.

    Asphalt may show no points but those of the lines beside the lane: where the corridor is empty, it is widened.

    Args:
        drop, side: [K] as `drops` returns.

    Returns:
        The height, in the unit of the points; NaN where there are too few.
    """
    below = drop > 0
    drop, side = drop[below], np.abs(side[below])
    if len(drop) < _FEWEST:
        return float("nan")
    lowest, highest = np.quantile(drop, [0.01, 0.995])
    heights = np.geomspace(lowest, highest, 150)
    for corridor in CORRIDORS:
        inside = [(side < corridor * h) & (np.abs(drop - h) < _BAND * h) for h in heights]
        # Points of walls and cars fill all heights alike; the road is where many lie, and nothing lies under it.
        score = np.array([layer.sum() for layer in inside]) / np.sqrt(heights / heights[0])
        height = float(heights[int(score.argmax())])
        for _ in range(5):
            layer = (side < corridor * height) & (np.abs(drop - height) < _BAND * height)
            if layer.sum() < _FEWEST:
                break
            height = float(np.median(drop[layer]))
        else:
            return height
    return float("nan")


def heights_along(path: Floats, points: Floats, stretches: Sequence[tuple[int, int]]) -> Floats:
    """Heights [S] above the road of stretches first <= place < last of a path; NaN where the road shows too little."""
    drop, side, index = drops(path, points)
    result = []
    for first, last in stretches:
        inside = (index >= first) & (index < last)
        result.append(road_height(drop[inside], side[inside]))
    return np.array(result)


def scale_breaks(times_s: Floats, path: Floats, points: Floats, shared: NDArray[np.int64]) -> list[Break]:
    """Where a path's unit changes.

    Three things tell: the speed steps (a line fitted to 1 s before and one to 1 s after do not meet, by more than a car
    can brake), the road's height steps, and few points are seen from both sides. One alone is not enough: a car brakes,
    video drops pictures, the road hides behind traffic, and a rise in the road shows few points. So the speed must step
    with the road's height or at a weak link, or the height at a weak link; no link at all is a break by itself.

    Args:
        times_s: [N] of the places.
        path: [N, 3] camera centers, z up, any unit.
        points: [M, 3] in the same frame.
        shared: [N - 1] points seen both before and after each gap.
    """
    if len(path) < 3:
        return []
    step_s = float(np.median(np.diff(times_s)))
    window, stretch = max(4, round(_WINDOW_S / step_s)), max(4, round(_STRETCH_S / step_s))
    speeds, heights = _speed_steps(times_s, path, window), _height_steps(path, points, stretch)
    usual = heights_along(path, points, [(0, len(path))])[0]
    sudden = np.abs(speeds.difference) * (_USUAL_HEIGHT_M / usual if np.isfinite(usual) else 0.0) > _SUDDEN_M_S
    if not np.isfinite(usual):
        sudden[:] = True
    sudden &= np.abs(speeds.difference) > _CLEAR * speeds.scatter
    signed = np.where(sudden, speeds.log_ratio, 0.0)
    jumps = [*_peaks(signed, window // 2), *_peaks(-signed, window // 2)]  # up and down again is two
    weak = shared < _WEAK * np.median(shared)
    found: list[tuple[int, tuple[str, ...]]] = []
    for gap in jumps:
        near = slice(max(0, gap - 2), gap + 3)
        speed = f"speed steps by {np.exp(speeds.log_ratio[gap]):.2f}"
        height = heights[near][np.abs(np.nan_to_num(heights[near])).argmax()]
        agrees = height * speeds.log_ratio[gap] > 0 and abs(height) > 0.5 * np.log(_STEP)
        if agrees:
            found.append((gap, (speed, f"road height by {np.exp(height):.2f}")))
        elif weak[near].any():
            found.append((gap, (speed, f"{shared[near].min()} shared points")))
        elif np.isnan(heights[near]).all():
            found.append((gap, (speed, "no road seen")))
    for gap in _peaks(np.abs(np.nan_to_num(heights)), stretch):
        first = max(0, gap - stretch // 2)
        weakest = first + int(shared[first : gap + stretch // 2 + 1].argmin())
        if weak[weakest]:
            cues = (f"road height steps by {np.exp(heights[gap]):.2f}", f"{shared[weakest]} shared points")
            found.append((weakest, cues))
    found += [(int(gap), (f"{shared[gap]} shared points",)) for gap in np.flatnonzero(shared < _NO_LINK)]
    return _merged(sorted(found), heights, speeds.log_ratio, weak, 2 * window)


@dataclass(frozen=True)
class _Steps:
    """Of the speed across gaps, each [N - 1]; 0 if not known.

    Attributes:
        log_ratio: logarithm of speed after over speed before.
        difference: units a second.
        scatter: median distance of the speeds from the lines that were fitted, units a second.
    """

    log_ratio: Floats
    difference: Floats
    scatter: Floats


def _speed_steps(times_s: Floats, path: Floats, window: int) -> _Steps:
    """Lines through the speeds before and after a gap, both prolonged to it."""
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1) / np.diff(times_s)
    middle = 0.5 * (times_s[1:] + times_s[:-1])
    floor = max(1e-9, 0.02 * float(np.median(speed)))
    log_ratio, difference, scatter = np.zeros((3, len(speed)))
    for gap in range(len(speed)):
        before, after = slice(max(0, gap - window), gap), slice(gap + 1, gap + 1 + window)
        if min(gap, len(speed) - gap - 1) < 4:
            continue
        (first, left), (second, right) = (_prolonged(middle[p], speed[p], middle[gap]) for p in (before, after))
        first, second = max(floor, first), max(floor, second)
        log_ratio[gap], difference[gap], scatter[gap] = np.log(second / first), second - first, max(left, right)
    return _Steps(log_ratio, difference, scatter)


def _prolonged(x: Floats, y: Floats, at: float) -> tuple[float, float]:
    """A line through most of the points (Theil-Sen), at another place, and its median distance from them."""
    i, j = np.triu_indices(len(x), 1)
    slope = np.median((y[j] - y[i]) / (x[j] - x[i]))
    values = y + slope * (at - x)
    level = float(np.median(values))
    return level, float(np.median(np.abs(values - level)))


def _height_steps(path: Floats, points: Floats, stretch: int) -> Floats:
    """[N - 1] logarithm of the road's height after a gap over that before; NaN where one is not known."""
    drop, side, index = drops(path, points)
    order = np.argsort(index, kind="stable")
    drop, side, index = drop[order], side[order], index[order]
    bounds = np.searchsorted(index, np.arange(len(path) + 1))

    def height(first: int, last: int) -> float:
        inside = slice(bounds[max(0, first)], bounds[min(len(path), last)])
        return road_height(drop[inside], side[inside])

    starts = np.array([height(i, i + stretch) if i + stretch <= len(path) else np.nan for i in range(len(path))])
    result = np.full(len(path) - 1, np.nan)
    for gap in range(stretch - 1, len(path) - stretch):
        result[gap] = np.log(starts[gap + 1] / starts[gap + 1 - stretch])
    return result


def _peaks(size: Floats, radius: int) -> list[int]:
    """Where `size` exceeds a step and everything within `radius`."""
    return [
        gap
        for gap in np.flatnonzero(size > np.log(_STEP)).tolist()
        if size[gap] == size[max(0, gap - radius) : gap + radius + 1].max()
    ]


def _merged(
    found: list[tuple[int, tuple[str, ...]]],
    heights: Floats,
    log_ratio: Floats,
    weak: NDArray[np.bool_],
    reach: int,
) -> list[Break]:
    """Findings within `reach` of each other are one break; so are the weak links around it."""
    breaks: list[Break] = []
    for gap, cues in found:
        first = last = gap
        while first > 0 and gap - first < reach and weak[first - 1]:
            first -= 1
        while last < len(weak) - 1 and last - gap < reach and weak[last + 1]:
            last += 1
        if breaks and first - breaks[-1].last < reach:
            before = breaks.pop()
            first, last = min(first, before.first), max(last, before.last - 1)
            cues = tuple(dict.fromkeys((*before.cues, *cues)))
        inside = heights[first : last + 1]
        known = inside[np.isfinite(inside)]
        ratio = known[np.abs(known).argmax()] if len(known) else log_ratio[first : last + 1].sum()
        breaks.append(Break(first, last + 1, float(np.exp(ratio)), cues))
    return breaks
