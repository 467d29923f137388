"""Pieces of a road network in plain numbers: profiles, edges, nodes, crossings, circuits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.shapes.path import Path

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """Cross section of a road, the same to both sides: median, lanes, parking, shoulder, sidewalk."""

    lane_width_m: float
    num_lanes: int  # per direction
    median_half_m: float  # half the width between the two directions; 0: a painted line
    parking_m: float  # width of the parking lane on each side, 0 without
    shoulder_m: float
    sidewalk_m: float
    center: int  # one of surfaces.CENTER_*
    edge_lines: bool
    speed_mps: float
    lit: bool  # has street lamps

    @property
    def paved_half_m(self) -> float:
        """From the middle to the kerb."""
        return self.median_half_m + self.num_lanes * self.lane_width_m + self.parking_m + self.shoulder_m

    @property
    def total_half_m(self) -> float:
        """From the middle to the sidewalk's outer rim."""
        return self.paved_half_m + self.sidewalk_m

    def lane_offset_m(self, lane: int, forward: bool) -> float:
        """Where a lane's middle lies, left of the edge's path positive; lane 0 is next to the middle."""
        d = self.median_half_m + (lane + 0.5) * self.lane_width_m
        return -d if forward else d

    def parking_offset_m(self, forward: bool) -> float:
        """Where the middle of the parking lane lies, left positive; only meaningful where parking_m > 0."""
        d = self.median_half_m + self.num_lanes * self.lane_width_m + 0.5 * self.parking_m
        return -d if forward else d

    def sidewalk_offset_m(self, forward: bool) -> float:
        """Where the middle of the sidewalk lies, left positive."""
        d = self.paved_half_m + 0.5 * self.sidewalk_m
        return -d if forward else d


@dataclass(frozen=True)
class Edge:
    """A road between two nodes. The parts before `trim_start_m` and after length - `trim_end_m` are junction area."""

    id: int
    start: int  # node
    end: int
    path: Path  # the road's middle, points about 2 m apart, straight inside the junction areas
    profile: Profile
    trim_start_m: float
    trim_end_m: float

    @property
    def first_m(self) -> float:
        """Station at which the road itself begins."""
        return self.trim_start_m

    @property
    def last_m(self) -> float:
        """Station at which the road itself ends."""
        return self.path.length_m - self.trim_end_m


@dataclass(frozen=True)
class Node:
    """Where edges meet: `control` is signals, priority, bend (a road goes on) or end (a road ends)."""

    id: int
    x: float
    y: float
    arms: tuple[tuple[int, bool], ...]  # (edge id, the edge starts here), counter-clockwise
    control: str
    first_group: int  # the signal group of arm i is first_group + i; -1 without signals


@dataclass(frozen=True)
class Crossing:
    """A zebra crossing across an edge, next to a node."""

    node: int
    edge: int
    s_m: float  # its middle, along the edge's path
    width_m: float  # along the road
    half_m: float  # half of the road's width


@dataclass(frozen=True)
class Circuit:
    """A closed way to drive: along lanes and smoothly through junctions.

    Attributes:
        path: closed, points about 0.5 m apart (2 m on a motorway).
        lane: that it keeps to where the road has it.
        pieces: (edge id, forward, first station, last station) of the stretches on edges, stations along `path`.
        stops: (stop line's station, node id, arm index by which the node is reached, station where the junction is
            left) for each node with signals or priority. The last station may exceed the length: it is past one lap.
    """

    path: Path
    lane: int
    pieces: tuple[tuple[int, bool, float, float], ...]
    stops: tuple[tuple[float, int, int, float], ...]
