"""The ground on which things are placed: what is free, how far the drive is, and where along a road one stands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from jwmtool.worlds.description import Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Network
from jwmtool.worlds.roads.network_parts import Edge
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.scenery.palette import Palette, make_palette
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.shapes.path import Path

Floats = NDArray[np.float64]
Size = tuple[float, float, float]

WALKING_HALF_M = 0.6  # this much of a sidewalk, to both sides of its middle, is kept free for walkers
CROSSING_KEEP_M = 1.2  # and this much of the kerb to both sides of a crossing
UPHILL_REACH_M = 0.35  # floors lie this share of the way up from the middle of a house to its highest corner


@dataclass(frozen=True)
class Spot:
    """A place beside a road.

    Attributes:
        s_m: station along the edge.
        x, y: world, metres.
        facing: yaw of a thing whose front (-y) looks at the road.
        reading: yaw of a thing whose front looks at the traffic that comes along on this side.
    """

    s_m: float
    x: float
    y: float
    facing: float
    reading: float


def ground_rectangles(kind: str, state: ArrayLike, size: Size, style: dict[str, Any]) -> list[list[float]]:
    """[x, y, yaw, length, width] rectangles of ground that a thing takes; what only hangs overhead takes none."""
    x, y, _, yaw = (float(v) for v in np.asarray(state)[:4])
    length, width, height = size
    if kind == "gantry":
        reach = 0.5 * length  # its other leg rises from the barrier in the middle
        return [[x + reach * math.cos(yaw), y + reach * math.sin(yaw), yaw, 0.6, 0.6]]
    if kind == "tree" and float(style["trunk_m"]) >= 1.8:
        trunk = 2.6 * min(0.05 + 0.018 * height, 0.4)
        return [[x, y, yaw, trunk, trunk]]
    if kind == "house":  # a wing, a porch or the door step reach out of its front
        off = 0.5 * width + 0.9
        front = [x + off * math.sin(yaw), y - off * math.cos(yaw), yaw, length, 1.8]
        return [[x, y, yaw, length, width], front]
    if kind == "power_pole":
        return [[x, y, yaw, 0.4, 0.4]]
    if kind == "turbine":
        return [[x, y, yaw, 4.2, 4.2]]
    return [[x, y, yaw, length, width]]


class Site:
    """Collects things; each takes its ground once it is put."""

    def __init__(
        self, kind: str, network: Network, terrain: Terrain, stretch: Path, footprints: Footprints, stream: Stream
    ) -> None:
        self.kind, self.network, self.terrain, self.footprints, self.stream = kind, network, terrain, footprints, stream
        self.palette: Palette = make_palette(stream.sub("palette"))
        step = max(2.0, stretch.length_m / 4000.0)
        self.route: Floats = stretch.resampled(step).points  # [P, 2] what the ego drives along
        self._route_tree = cKDTree(self.route)
        self._kept: list[tuple[str, float, float, float, Size, int, dict[str, Any], bool]] = []
        self._crossings = {
            edge.id: np.array([[c.s_m, 0.5 * c.width_m] for c in network.crossings if c.edge == edge.id]).reshape(-1, 2)
            for edge in network.edges
        }

    def distance_m(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[...] to the nearest point of the ego's drive."""
        return np.asarray(self._route_tree.query(np.stack([np.asarray(x), np.asarray(y)], -1))[0])

    def spots(self, edge: Edge, side: int, stations: ArrayLike, off_m: float, reach_m: float = 180.0) -> Iterator[Spot]:
        """Places `off_m` from the middle of a road on its right (`side` -1) or left (+1), where the ego gets near."""
        s = np.atleast_1d(np.asarray(stations, np.float64))
        if len(s) == 0:
            return
        places = edge.path.beside(s, side * off_m)
        near = self.distance_m(places[:, 0], places[:, 1]) < reach_m
        for station, (x, y, heading) in zip(s[near], places[near], strict=True):
            travel = heading if side < 0 else heading + math.pi
            facing = heading + math.pi if side < 0 else heading
            yield Spot(float(station), float(x), float(y), facing, travel - 0.5 * math.pi)

    def near_edge(self, edge: Edge, reach_m: float = 180.0) -> bool:
        """True if any of the edge is within `reach_m` of the drive."""
        points = edge.path.points
        return bool((self.distance_m(points[:, 0], points[:, 1]) < reach_m).any())

    def at_crossing(self, edge: Edge, s_m: float, half_m: float = 0.5) -> bool:
        """True if something `half_m` long to both sides of a station would stand where walkers cross."""
        rows = self._crossings[edge.id]
        return bool((np.abs(rows[:, 0] - s_m) < rows[:, 1] + half_m + CROSSING_KEEP_M).any())

    def clear(self, x: float, y: float, yaw: float, length: float, width: float, clear_m: float) -> bool:
        """True if a rectangle keeps `clear_m` from every road and sidewalk."""
        step = 4.0 + max(clear_m, 0.0)  # no road slips between samples
        columns, rows = max(2, math.ceil(length / step) + 1), max(2, math.ceil(width / step) + 1)
        u, v = np.meshgrid(np.linspace(-0.5, 0.5, columns) * length, np.linspace(-0.5, 0.5, rows) * width)
        c, s = math.cos(yaw), math.sin(yaw)
        return bool((self.network.clearance_m(x + c * u - s * v, y + s * u + c * v) >= clear_m).all())

    def put(
        self,
        kind: str,
        x: float,
        y: float,
        yaw: float,
        size: Size,
        style: dict[str, Any],
        *,
        seed: int,
        clear_m: float | None = 0.3,
        margin_m: float = 0.05,
        slopes: bool = False,
    ) -> bool:
        """Place a thing if its ground is free.

        Args:
            clear_m: to keep from roads and sidewalks; None where the caller knows that it stands right.
            margin_m: to keep from other things and parked cars.
            slopes: it follows the ground along x rather than standing upright.
        """
        size = (round(size[0], 3), round(size[1], 3), round(size[2], 3))
        rectangles = ground_rectangles(kind, (x, y, 0.0, yaw), size, style)
        if not all(self.footprints.fits(row[0], row[1], row[2], row[3], row[4], margin_m) for row in rectangles):
            return False
        if clear_m is not None and not all(
            self.clear(row[0], row[1], row[2], row[3], row[4], clear_m) for row in rectangles
        ):
            return False
        for row in rectangles:
            self.footprints.add(*row)
        self._kept.append((kind, x, y, yaw, size, seed, style, slopes))
        return True

    def chain(
        self,
        kind: str,
        line: Floats,
        size: tuple[float, float],
        style: dict[str, Any],
        stream: Stream,
        clear_m: float | None,
    ) -> int:
        """Rails, fences, hedges: pieces between successive points of `line` [P, 2], front to the right of the way.

        Pieces of one chain touch; those that would stand on something else are left out. Returns how many stand.
        """
        pieces = []
        for (x0, y0), (x1, y1) in itertools.pairwise(line):
            length, yaw = math.hypot(x1 - x0, y1 - y0), math.atan2(y1 - y0, x1 - x0)
            pieces.append((0.5 * (x0 + x1), 0.5 * (y0 + y1), yaw, length, size[0]))
        free = [self.footprints.fits(*row, 0.05) and (clear_m is None or self.clear(*row, clear_m)) for row in pieces]
        seed = stream.word()
        for row, ok in zip(pieces, free, strict=True):
            if ok:
                self.footprints.add(*row)
                x, y, yaw, length, width = row
                self._kept.append((kind, x, y, yaw, (round(length + 0.02, 3), width, size[1]), seed, style, True))
        return sum(free)

    def things(self) -> tuple[Thing, ...]:
        """Everything that was put, on its height."""
        if not self._kept:
            return ()
        place = np.array([[x, y, yaw, size[0], size[1]] for _, x, y, yaw, size, *_ in self._kept])
        x, y, yaw, length, width = place.T
        z = self.terrain.height(x, y) + self.network.lift_m(x, y)
        cos, sin = np.cos(yaw), np.sin(yaw)
        reach = 0.5 * length
        ahead = self.terrain.height(x + reach * cos, y + reach * sin)
        behind = self.terrain.height(x - reach * cos, y - reach * sin)
        pitch = -np.arctan2(ahead - behind, length)
        corners = []
        for u, v in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
            corners.append(
                self.terrain.height(x + u * length * cos - v * width * sin, y + u * length * sin + v * width * cos)
            )
        uphill = UPHILL_REACH_M * (np.max(corners, axis=0) - self.terrain.height(x, y))
        things = []
        for i, (kind, _, _, _, size, seed, style, slopes) in enumerate(self._kept):
            tilt = pitch[i] if slopes else 0.0
            # A chain's piece hangs between the heights of its ends; a house's floor lies somewhat up the slope.
            middle = 0.5 * (ahead[i] + behind[i]) + z[i] - self.terrain.height(x[i], y[i]) if slopes else z[i]
            rise = (
                uphill[i]
                if not slopes and min(size[:2]) > 2.5 and kind not in ("tree", "wood", "hill", "bush", "gantry")
                else 0.0
            )
            state = np.round([x[i], y[i], middle + rise, yaw[i], tilt, 0.0], 6)
            things.append(Thing(kind, state, size, seed, style))
        return tuple(things)
