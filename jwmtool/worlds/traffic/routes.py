"""Tables that drivers look things up in: places ahead, speed limits, stop lines, junctions that exclude each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.worlds.roads.network import Network, Profile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID_M = 1.0
LATERAL_MPS2 = 2.5  # in curves
EASE_MPS2 = 1.6  # braking before a curve
_TOUCH_M = 2.9  # ways through a junction that come this close exclude each other


@dataclass(frozen=True)
class Passage:
    """One way through a junction: from a stop line to where it is left again; stations along a circuit."""

    circuit: int
    stop_m: float
    exit_m: float
    node: int
    arm: int
    group: int  # of signals; -1 without


@dataclass(frozen=True)
class Road:
    """The road under a station of the ego's route. Offsets are from the ego's lane middle, left positive."""

    edge: int
    forward: bool
    profile: Profile
    lane: int  # the ego's, counted from the middle
    start_m: float  # stations on the route between which the road runs, past one lap if need be
    end_m: float
    paved_right: float  # negative
    paved_left: float
    rim_right: float  # the sidewalk's outer rim
    rim_left: float
    middle: float  # the road's middle line

    @property
    def half_lane_m(self) -> float:
        """Half the width of a lane."""
        return 0.5 * self.profile.lane_width_m

    def beside_d(self, width_m: float) -> float:
        """Offset of a car that stands at the right: in the parking lane, or partly on the shoulder and the kerb."""
        if self.profile.parking_m >= 1.9:
            place = self.middle - abs(self.profile.parking_offset_m(True))
        else:
            place = self.paved_right + 0.25 * width_m
        outer = self.paved_right + self.profile.parking_m + self.profile.shoulder_m  # the right lane's right rim
        return min(place, outer + 0.1 - 0.5 * width_m)


class Routes:
    """The circuits of a network as flat tables with one row about every metre."""

    def __init__(self, network: Network) -> None:
        self.network = network
        circuits = network.circuits
        self.lengths = np.array([c.path.length_m for c in circuits])
        self.counts = np.maximum(8, np.round(self.lengths / GRID_M)).astype(np.int64)
        self.steps = self.lengths / self.counts
        self.offsets = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        rows, limits = [], []
        for index, circuit in enumerate(circuits):
            stations = np.arange(self.counts[index]) * self.steps[index]
            place = circuit.path.at(stations)
            rows.append(np.column_stack([place[:, :2], np.cos(place[:, 2]), np.sin(place[:, 2])]))
            limits.append(self._limit(index, stations))
        self.grid = np.concatenate(rows)  # [G, 4] x, y, cos, sin of the heading
        self.limits = np.concatenate(limits)  # [G] m/s
        self.passages = tuple(
            Passage(c, s, exit_m if exit_m > s else exit_m + circuit.path.length_m, node, arm, self._group(node, arm))
            for c, circuit in enumerate(circuits)
            for s, node, arm, exit_m in circuit.stops
        )

    def _group(self, node: int, arm: int) -> int:
        first = self.network.nodes[node].first_group
        return first + arm if first >= 0 else -1

    def _limit(self, index: int, stations: Floats) -> Floats:
        circuit, step = self.network.circuits[index], self.steps[index]
        allowed = np.full(len(stations), max(self.network.edges[p[0]].profile.speed_mps for p in circuit.pieces))
        for edge, _, start, end in circuit.pieces:
            inside = np.mod(stations - start, circuit.path.length_m) <= end - start
            allowed[inside] = self.network.edges[edge].profile.speed_mps
        bend = np.abs(circuit.path.curvature(stations))
        bend = np.maximum.reduce([np.roll(bend, k) for k in (-1, 0, 1)])
        square = np.minimum(allowed**2, LATERAL_MPS2 / np.maximum(bend, 1e-6))
        # Fastest speed from which every limit ahead is met: two laps, minimum taken from the end.
        twice = np.tile(square, 2) + 2.0 * EASE_MPS2 * step * np.arange(2 * len(square))
        lowest = np.minimum.accumulate(twice[::-1])[::-1][: len(square)]
        return np.sqrt(lowest - 2.0 * EASE_MPS2 * step * np.arange(len(square)))

    def rows(self, circuit: ArrayLike, s: ArrayLike) -> Ints:
        """[...] row of the tables at or just before stations."""
        circuit = np.asarray(circuit)
        return (
            self.offsets[circuit]
            + (np.mod(s, self.lengths[circuit]) / self.steps[circuit]).astype(np.int64) % (self.counts[circuit])
        )

    def limit_at(self, circuit: ArrayLike, s: ArrayLike) -> Floats:
        """[...] m/s."""
        return self.limits[self.rows(circuit, s)]

    @cached_property
    def excludes(self) -> NDArray[np.bool_]:
        """[J, J] True where two passages must not be used at once."""
        ways = []
        for p in self.passages:
            s = np.arange(p.stop_m, p.exit_m + 1.0, 1.0)
            ways.append(self.network.circuits[p.circuit].path.at(s)[:, :2])
        result = np.zeros((len(ways), len(ways)), bool)
        for i, a in enumerate(self.passages):
            for j in range(i):
                b = self.passages[j]
                if a.node != b.node:
                    continue
                apart = np.hypot(*(ways[i][:, None] - ways[j][None]).transpose(2, 0, 1))
                same_lane = a.arm == b.arm and apart[0, 0] < 1.5
                result[i, j] = result[j, i] = not same_lane and apart.min() < _TOUCH_M
        return result

    def across(self, a: Floats, b: Floats) -> list[tuple[int, float]]:
        """Where circuits pass the line from `a` to `b` [2]: (circuit, station), at most one a circuit."""
        way = b - a
        length = float(np.hypot(*way))
        way = way / length
        rel = self.grid[:, :2] - a
        along, beside = rel @ way, rel @ np.array([-way[1], way[0]])
        found = []
        for c in range(len(self.lengths)):
            rows = slice(self.offsets[c], self.offsets[c] + self.counts[c])
            side, at = beside[rows], along[rows]
            after = np.roll(side, -1)
            hits = np.nonzero((side * after <= 0) & (np.abs(side) < 3.0) & (at > 0) & (at < length))[0]
            if len(hits):
                k = int(hits[0])
                share = abs(side[k]) / max(abs(side[k]) + abs(after[k]), 1e-9)
                found.append((c, float((k + share) * self.steps[c])))
        return found

    def inside_junction(self, circuit: int, s: float, before_m: float = 2.0, after_m: float = 2.0) -> bool:
        """True between a stop line (less `before_m`) and the place where the junction is left (plus `after_m`)."""
        for p in self.passages:
            if p.circuit == circuit:
                since = (s - p.stop_m + before_m) % self.lengths[circuit]
                if since < p.exit_m - p.stop_m + before_m + after_m:
                    return True
        return False

    def travel_time_s(self, s: float, distance_m: float, share: float = 1.0) -> float:
        """Seconds the ego needs from `s` on its route at `share` of the limits, were it alone."""
        rows = self.rows(0, s + np.arange(0.0, max(distance_m, 0.0), GRID_M))
        return float((GRID_M / (share * self.limits[rows])).sum())

    def travel_m(self, s: float, time_s: float, share: float = 1.0) -> float:
        """How far the ego gets in a time, were it alone; negative times look back."""
        sign = 1.0 if time_s >= 0 else -1.0
        distance, left = 0.0, abs(time_s)
        while left > 1e-9:
            step = min(left, 0.25)
            distance += step * share * float(self.limit_at(0, s + sign * distance))
            left -= step
        return sign * distance

    def road_at(self, s: float) -> Road | None:
        """The road under a station of the ego's route, None in a junction."""
        circuit, length = self.network.circuits[0], float(self.lengths[0])
        for edge, forward, start, end in circuit.pieces:
            into = (s - start) % length
            if into <= end - start:
                profile = self.network.edges[edge].profile
                lane = min(circuit.lane, profile.num_lanes - 1)
                middle = abs(profile.lane_offset_m(lane, True))
                return Road(
                    edge, forward, profile, lane, s - into, s - into + end - start,
                    middle - profile.paved_half_m, middle + profile.paved_half_m,
                    middle - profile.total_half_m, middle + profile.total_half_m, middle,
                )  # fmt: skip
        return None
