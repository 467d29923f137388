"""Road networks: closed loops of lanes, junctions, crossings, and the height of what is paved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_check import problem_with_circuits, problem_with_roads
from jwmtool.worlds.roads.network_circuits import draw_circuits
from jwmtool.worlds.roads.network_layout import plan_roads
from jwmtool.worlds.roads.network_parts import Circuit, Crossing, Edge, Node, Profile
from jwmtool.worlds.roads.network_shapes import Border, RimDistance, junction_borders, road_borders
from jwmtool.worlds.roads.network_shaping import shape_roads, stop_back_m

__all__ = ["Circuit", "Crossing", "Edge", "Network", "Node", "Profile", "make_network"]

Floats = NDArray[np.float64]

SIDEWALK_LIFT_M = 0.12
GROUND_LIFT_M = -0.10
KERB_SKIRT_M = 0.5  # beyond a sidewalk the ground falls to its own level over this distance
VERGE_M = 4.0  # beyond a road without sidewalk, over this

_MOST_ATTEMPTS = 60


@dataclass(frozen=True)
class Network:
    """All roads of a world. circuits[0] is the ego's route."""

    kind: str
    nodes: tuple[Node, ...]  # node i has id i
    edges: tuple[Edge, ...]  # edge i has id i
    crossings: tuple[Crossing, ...]
    circuits: tuple[Circuit, ...]
    num_groups: int  # of signals
    corner_m: tuple[float, ...]  # kerb radius at each node's corners

    @property
    def row_step_m(self) -> float:
        """How far apart a road's cross sections are drawn."""
        return 4.0 if self.kind == "motorway" else 2.0

    @cached_property
    def borders(self) -> tuple[Border, ...]:
        """Rims of all roads and junctions; see `Border`."""
        return tuple(border for node in self.nodes for border in self.junction(node.id)) + tuple(
            border for edge in self.edges for border in self.sides(edge.id)
        )

    def junction(self, node: int) -> list[Border]:
        """Corners of a junction in the order of its arms; none where a road just goes on or ends."""
        if self.nodes[node].control in ("bend", "end"):
            return []
        return junction_borders(self.nodes[node], self.edges, self.corner_m[node])

    def sides(self, edge: int) -> list[Border]:
        """Right and left side of a road, and its end where it leads nowhere."""
        road = self.edges[edge]
        ends = (self.nodes[road.start].control == "end", self.nodes[road.end].control == "end")
        return road_borders(road, self.row_step_m, ends)

    @cached_property
    def _to_rim(self) -> RimDistance:
        return RimDistance([border.rim for border in self.borders], 0.25 * self.row_step_m)

    @cached_property
    def _to_kerb(self) -> RimDistance:
        return RimDistance([border.kerb for border in self.borders], 0.25 * self.row_step_m)

    @property
    def _has_sidewalks(self) -> bool:
        return self.kind in ("city", "suburb")

    def lift_m(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[...] height of the surface above the terrain: road 0, sidewalk SIDEWALK_LIFT_M, elsewhere GROUND_LIFT_M.

        From the rim the ground falls to its level over KERB_SKIRT_M or VERGE_M.
        """
        beyond = self._to_rim(x, y)
        if not self._has_sidewalks:
            return np.asarray(GROUND_LIFT_M * np.clip(beyond / VERGE_M, 0.0, 1.0))
        fall = (SIDEWALK_LIFT_M - GROUND_LIFT_M) * np.clip(beyond / KERB_SKIRT_M, 0.0, 1.0)
        return np.asarray(np.where(self._to_kerb(x, y) <= 0.0, 0.0, SIDEWALK_LIFT_M - fall))

    def clearance_m(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[...] distance to the rim of what is paved (road or sidewalk), negative on it."""
        return self._to_rim(x, y)

    def kerb_distance_m(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[...] distance to the rim of the road, negative on it, positive on sidewalks and beyond."""
        return self._to_kerb(x, y)

    @cached_property
    def _crossing_at(self) -> dict[tuple[int, bool], Crossing]:
        # A road from a node back to itself has two ends there: tell crossings by the end they are near.
        return {(c.edge, c.s_m < 0.5 * self.edges[c.edge].path.length_m): c for c in self.crossings}

    def crossing_at(self, node: int, arm: int) -> Crossing | None:
        """The zebra crossing on an arm of a node, if it has one."""
        return self._crossing_at.get(self.nodes[node].arms[arm])

    def stop_line_m(self, node: int, arm: int) -> float:
        """Station on the arm's edge that traffic towards the node must not pass; it drives backward if the edge
        starts at the node, else forward."""
        edge_id, at_start = self.nodes[node].arms[arm]
        edge = self.edges[edge_id]
        back = stop_back_m(self.crossing_at(node, arm))
        return edge.first_m + back if at_start else edge.last_m - back

    def lanes(self) -> list[dict[str, Any]]:
        """For a clip's extras: id, kind, width_m, edge, direction, points [[x, y], ...] in driving direction."""
        result = []
        for edge in self.edges:
            s = np.linspace(edge.first_m, edge.last_m, max(2, round((edge.last_m - edge.first_m) / 4.0) + 1))
            for forward in (True, False):
                for lane in range(edge.profile.num_lanes):
                    place = edge.path.beside(s, edge.profile.lane_offset_m(lane, forward))[:, :2]
                    result.append({
                        "id": f"edge{edge.id}_{'forward' if forward else 'backward'}{lane}",
                        "kind": "driving",
                        "width_m": round(edge.profile.lane_width_m, 3),
                        "edge": edge.id,
                        "direction": "forward" if forward else "backward",
                        "points": np.round(place if forward else place[::-1], 3).tolist(),
                    })  # fmt: skip
        return result


def make_network(kind: str, stream: Stream) -> Network:
    """A network of a world's kind (city, suburb, motorway, country).

    A draw whose roads would overlap or bend too sharply is drawn again from the next sub-stream.

    Raises:
        RuntimeError: no draw out of many was valid; never seen.
    """
    problem = None
    for attempt in range(_MOST_ATTEMPTS):
        own = stream.sub(attempt)
        shaped = shape_roads(kind, plan_roads(kind, own.sub("plan")), own.sub("shape"))
        if isinstance(shaped, str):
            problem = shaped
            continue
        nodes, edges, crossings, corner_m = shaped
        num_groups = sum(len(node.arms) for node in nodes if node.control == "signals")
        network = Network(kind, nodes, edges, crossings, (), num_groups, corner_m)
        stops = {
            (edge, not at_start): stop_back_m(network.crossing_at(node.id, i))
            for node in nodes
            for i, (edge, at_start) in enumerate(node.arms)
        }
        step_m = 2.0 if kind == "motorway" else 0.5
        problem = problem_with_roads(network)
        if problem is None:
            circuits = draw_circuits(nodes, edges, corner_m, stops, own.sub("circuits"), step_m)
            network = replace(network, circuits=circuits)
            problem = problem_with_circuits(network)
        if problem is None:
            return network
    raise RuntimeError(f"no valid {kind} network in {_MOST_ATTEMPTS} draws: {problem}")
