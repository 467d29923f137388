"""A line to drive or walk along: place and heading by distance travelled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """A polyline [P, 2] in the world's ground plane; a closed one goes on from its last point to its first."""

    points: Floats
    closed: bool = False

    @cached_property
    def _loop(self) -> Floats:
        return np.vstack([self.points, self.points[:1]]) if self.closed else self.points

    @cached_property
    def stations(self) -> Floats:
        """[P] (closed: [P + 1]) distance along the path at each point, metres."""
        return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(self._loop, axis=0).T))])

    @property
    def length_m(self) -> float:
        """Of the whole path, of one lap if closed."""
        return float(self.stations[-1])

    @cached_property
    def _headings(self) -> Floats:
        """[P] unwrapped heading at each point of the loop: the mean of the two segments that meet there."""
        step = np.diff(self._loop, axis=0)
        segment = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        if self.closed:
            turn = np.angle(np.exp(1j * (segment[0] - segment[-1])))
            first = segment[0] - 0.5 * turn
            last = segment[-1] + 0.5 * turn
        else:
            first, last = segment[0], segment[-1]
        return np.concatenate([[first], 0.5 * (segment[1:] + segment[:-1]), [last]])

    def at(self, s: ArrayLike) -> Floats:
        """[..., 3] x, y (metres) and heading (radians) at stations `s`; open paths go on straight beyond their ends."""
        s = np.asarray(s, np.float64)
        stations, loop, headings = self.stations, self._loop, self._headings
        inside = np.mod(s, self.length_m) if self.closed else np.clip(s, 0.0, self.length_m)
        x, y = (np.interp(inside, stations, loop[:, k]) for k in range(2))
        heading = np.interp(inside, stations, headings)
        beyond = 0.0 if self.closed else s - inside
        return np.stack([x + beyond * np.cos(heading), y + beyond * np.sin(heading), heading], -1)

    def beside(self, s: ArrayLike, d: ArrayLike) -> Floats:
        """[..., 3] like `at`, shifted `d` metres to the left."""
        s, d = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(d, np.float64))
        place = self.at(s)
        return np.stack(
            [place[..., 0] - d * np.sin(place[..., 2]), place[..., 1] + d * np.cos(place[..., 2]), place[..., 2]], -1
        )

    def curvature(self, s: ArrayLike, reach_m: float = 2.0) -> Floats:
        """[...] 1/m, left positive, over `reach_m` to both sides."""
        s = np.asarray(s, np.float64)
        ahead, behind = self.at(s + reach_m)[..., 2], self.at(s - reach_m)[..., 2]
        return np.angle(np.exp(1j * (ahead - behind))) / (2.0 * reach_m)

    def resampled(self, step_m: float) -> Path:
        """Points about `step_m` apart, ends kept."""
        count = max(2, round(self.length_m / step_m) + (0 if self.closed else 1))
        s = np.linspace(0.0, self.length_m, count, endpoint=not self.closed)
        return Path(self.at(s)[:, :2], self.closed)
