"""Triangles of the ground: roads, junctions, kerbs, sidewalks, verges and the land around them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.ground_colors import GroundColors, draw_colors, road_of
from jwmtool.worlds.roads.land import land_meshes
from jwmtool.worlds.roads.network import GROUND_LIFT_M, KERB_SKIRT_M, SIDEWALK_LIFT_M, VERGE_M, Network
from jwmtool.worlds.roads.network_parts import Edge
from jwmtool.worlds.roads.network_shapes import Border, road_stations
from jwmtool.worlds.roads.network_shaping import STOP_WIDTH_M
from jwmtool.worlds.roads.sheets import sheet
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.geometry import Solid
from jwmtool.worlds.shapes.mesh import Mesh, merge
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.shapes.surfaces import Class, Material, Surface

Floats = NDArray[np.float64]

# How far from the ego's way roads are drawn; motorways are seen from afar.
_REACH_M = {"city": 260.0, "suburb": 260.0, "country": 450.0, "motorway": 800.0}
_CHUNK = 16  # rows culled together
_COLUMN_M = 3.2
_KERB_TOP_M = 0.15
_BURIED_M = 0.35  # how deep rims dive below what they meet, so that no gap shows
_RING_M = 4.0


def build_ground(network: Network, terrain: Terrain, stretch: Path, stream: Stream) -> list[Solid]:
    """Everything flat near a stretch of road (an open path, world coordinates), as solids without instance.

    Surfaces follow the terrain: roads on it, sidewalks SIDEWALK_LIFT_M above, the land GROUND_LIFT_M below it.
    """
    colors = draw_colors(network.kind, stream.sub("colors"))
    near = _Near(stretch, _REACH_M[network.kind])
    roads: list[Mesh] = []
    sidewalks: list[Mesh] = []
    verges: list[Mesh] = []
    tones = stream.sub("tones")
    for edge in network.edges:
        tone, seed = tones.uniform(0.92, 1.08), tones.integer(0, 1000)
        roads += _road(network, edge, road_of(edge.profile, colors, tone, seed), colors, terrain, near)
    junction = Surface(Material.JUNCTION, colors.asphalt, colors.paint, 7)
    for node in network.nodes:
        corners = network.junction(node.id)
        if corners and near(np.array([[node.x, node.y]]))[0]:
            roads.append(_junction(network, node.id, corners, junction, terrain))
    for border in network.borders:
        for part in _chunks(border, near):
            if part.width.max() > 0:
                sidewalks += _sidewalk(part, colors, terrain)
            verges += _verge(part, colors, terrain)
    heading = _heading(network)
    land = land_meshes(network.kind, colors.lands, heading, terrain, stretch, GROUND_LIFT_M, stream.sub("land"))
    parts = ((roads, Class.ROAD), (sidewalks, Class.SIDEWALK), (verges + land, Class.TERRAIN))
    return [Solid(merge(meshes), 0, semantic) for meshes, semantic in parts if meshes]


class _Near:
    """Which points [N, 2] lie within reach of the stretch."""

    def __init__(self, stretch: Path, reach_m: float) -> None:
        self._tree = cKDTree(stretch.resampled(5.0).points)
        self._reach_m = reach_m

    def __call__(self, points: Floats) -> NDArray[np.bool_]:
        return np.asarray(self._tree.query(points)[0] < self._reach_m)


def _heading(network: Network) -> float:
    """Direction that the land's patches are laid out along."""
    edge = network.edges[0]
    return float(edge.path.at(0.5 * edge.path.length_m)[2])


def _road(
    network: Network, edge: Edge, surface: Surface, colors: GroundColors, terrain: Terrain, near: _Near
) -> list[Mesh]:
    """A road in segments along it: plain ones, crossings, stop lines. Each is split across by what lies there."""
    profile = edge.profile
    crossing = Surface(Material.CROSSING, surface.color, colors.paint, surface.seed, (1.0,))
    line = Surface(Material.STOP_LINE, surface.color, colors.paint, surface.seed)
    lanes_half = profile.median_half_m + profile.num_lanes * profile.lane_width_m
    specials = _specials(network, edge)
    cuts = sorted({s for a, b, _ in specials for s in (a, b)} | {edge.first_m, edge.last_m})
    base = road_stations(edge, network.row_step_m)
    base = base[np.min(np.abs(base[:, None] - np.array(cuts)[None]), axis=1) > 0.05]
    meshes = []
    for start, end in itertools.pairwise(cuts):
        what = next((name for a, b, name in specials if a <= 0.5 * (start + end) <= b), "plain")
        rows = np.concatenate([[start], base[(base > start) & (base < end)], [end]])
        bands = [(-profile.paved_half_m, profile.paved_half_m, surface)]
        if what == "crossing":
            bands = [(-profile.paved_half_m, profile.paved_half_m, crossing)]
        else:
            bays = colors.bays if colors.bays is not None and profile.parking_m > 0 else surface
            middle = colors.median if profile.median_half_m > 0 else surface
            right, left = (line if what == side else surface for side in ("stop right", "stop left"))
            bands = [
                (-profile.paved_half_m, -lanes_half, bays),
                (-lanes_half, -profile.median_half_m, right),
                (-profile.median_half_m, profile.median_half_m, middle),
                (profile.median_half_m, lanes_half, left),
                (lanes_half, profile.paved_half_m, bays),
            ]
        for first in range(0, len(rows) - 1, _CHUNK):
            part = rows[first : first + _CHUNK + 1]
            if near(edge.path.at(part[[0, -1]])[:, :2]).any():
                meshes += [
                    _band(edge, part, low, high, own, what == "crossing", terrain)
                    for low, high, own in bands
                    if high - low > 1e-6
                ]
    return meshes


def _specials(network: Network, edge: Edge) -> list[tuple[float, float, str]]:
    """(first station, last station, what) of crossings and stop lines on an edge."""
    found = []
    for node_id in dict.fromkeys((edge.start, edge.end)):
        node = network.nodes[node_id]
        for arm, (edge_id, at_start) in enumerate(node.arms):
            if edge_id != edge.id:
                continue
            crossing = network.crossing_at(node_id, arm)
            if crossing is not None:
                half = 0.5 * crossing.width_m
                found.append((crossing.s_m - half, crossing.s_m + half, "crossing"))
            if node.control == "signals" or (node.control == "priority" and is_minor(network, node_id, arm)):
                stop = network.stop_line_m(node_id, arm)
                # Traffic keeps right: it comes along the left side of an edge that starts here.
                if at_start:
                    found.append((stop - STOP_WIDTH_M, stop, "stop left"))
                else:
                    found.append((stop, stop + STOP_WIDTH_M, "stop right"))
    return found


def is_minor(network: Network, node_id: int, arm: int) -> bool:
    """Whether an arm of a junction without lights has to give way: the stem of a T, or the narrower street."""
    node = network.nodes[node_id]
    if len(node.arms) == 4:
        half = [network.edges[e].profile.paved_half_m for e, _ in node.arms]
        return half[arm] + half[(arm + 2) % 4] < half[(arm + 1) % 4] + half[(arm + 3) % 4] + 1e-9 * (arm % 2)
    directions = []
    for edge_id, at_start in node.arms:
        path = network.edges[edge_id].path
        directions.append(float(path.at(0.0)[2]) if at_start else float(path.at(path.length_m)[2]) + math.pi)
    others = [math.cos(directions[arm] - d) for i, d in enumerate(directions) if i != arm]
    return min(others, default=0.0) > -0.9


def _columns(edge: Edge, low_m: float, high_m: float) -> Floats:
    return np.linspace(low_m, high_m, max(2, math.ceil((high_m - low_m) / _COLUMN_M) + 1))


def _band(
    edge: Edge, rows: Floats, low_m: float, high_m: float, surface: Surface, crossing: bool, terrain: Terrain
) -> Mesh:
    columns = _columns(edge, low_m, high_m)
    s, d = np.meshgrid(rows, columns, indexing="ij")
    xy = edge.path.beside(s, d)[..., :2]
    texture = np.stack([d, s] if crossing else [s, d], -1)
    return sheet(xy, np.zeros(s.shape), texture, surface, terrain)


def _junction(network: Network, node_id: int, corners: Sequence[Border], surface: Surface, terrain: Terrain) -> Mesh:
    """The area where roads meet, in rings round the node."""
    node = network.nodes[node_id]
    outline = []
    for (edge_id, at_start), corner in zip(node.arms, corners, strict=True):
        edge = network.edges[edge_id]
        station = edge.first_m if at_start else edge.last_m
        d = _cross_section(edge)
        mouth = edge.path.beside(np.full(len(d), station), d)[:, :2]
        # Counter-clockwise: across the mouth from right to left as seen from the node, then round the corner.
        outline += [(mouth if at_start else mouth[::-1])[:-1], corner.kerb[:-1]]
    rim = np.concatenate(outline)
    rim = np.concatenate([rim, rim[:1]])
    middle = np.array([node.x, node.y])
    count = max(2, math.ceil(float(np.hypot(*(rim - middle).T).max()) / _RING_M))
    share = np.linspace(1.0, 0.0, count + 1)
    xy = middle + share[None, :, None] * (rim - middle)[:, None]
    return sheet(xy, np.zeros(xy.shape[:2]), xy, surface, terrain)


def _cross_section(edge: Edge) -> Floats:
    """All offsets at which a road's rows have vertices."""
    p = edge.profile
    lanes_half = p.median_half_m + p.num_lanes * p.lane_width_m
    bounds = [-p.paved_half_m, -lanes_half, -p.median_half_m, p.median_half_m, lanes_half, p.paved_half_m]
    columns = [_columns(edge, a, b)[:-1] for a, b in itertools.pairwise(bounds) if b - a > 1e-6]
    return np.concatenate([*columns, [p.paved_half_m]])


def _chunks(border: Border, near: _Near) -> list[Border]:
    """Pieces of a border that are near enough to be drawn."""
    pieces = []
    for first in range(0, len(border.kerb) - 1, _CHUNK):
        part = slice(first, first + _CHUNK + 1)
        if near(border.kerb[part][[0, -1]]).any():
            pieces.append(Border(border.kerb[part], border.normal[part], border.width[part], border.edges, border.cap))
    return pieces


def _along(border: Border) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(border.kerb, axis=0).T))])


def _beyond(border: Border, offsets: Floats) -> Floats:
    """[K, C, 2] points at offsets [K, C] away from the road."""
    return border.kerb[:, None] + offsets[..., None] * border.normal[:, None]


def _sidewalk(border: Border, colors: GroundColors, terrain: Terrain) -> list[Mesh]:
    """Kerb face, kerb stone and slabs. Columns run towards the road, which is on the line's left."""
    along, count = _along(border), len(border.kerb)
    lift = np.full((count, 2), SIDEWALK_LIFT_M)
    face_lift = np.tile([SIDEWALK_LIFT_M, -0.03], (count, 1))
    face_texture = np.stack(np.broadcast_arrays(along[:, None], face_lift), -1)
    face = sheet(
        _beyond(border, np.zeros((count, 2))), face_lift, face_texture, colors.kerb, terrain, facing=-border.normal
    )
    top = np.tile([_KERB_TOP_M, 0.0], (count, 1))
    stone = sheet(
        _beyond(border, top), lift, np.stack(np.broadcast_arrays(along[:, None], top), -1), colors.kerb, terrain
    )
    columns = max(2, math.ceil(float(border.width.max()) / 2.0) + 1)
    share = np.linspace(1.0, 0.0, columns)
    offsets = _KERB_TOP_M + share * (border.width[:, None] - _KERB_TOP_M)
    slabs = sheet(
        _beyond(border, offsets), np.full(offsets.shape, SIDEWALK_LIFT_M),
        np.stack(np.broadcast_arrays(along[:, None], offsets), -1), colors.sidewalk, terrain,
    )  # fmt: skip
    return [face, stone, slabs]


def _verge(border: Border, colors: GroundColors, terrain: Terrain) -> list[Mesh]:
    """From the rim down to the land and below it."""
    width = border.width[:, None]
    if border.width.max() > 0:
        offsets = width + np.array([KERB_SKIRT_M + 0.3, KERB_SKIRT_M, 0.0])
        lift = np.array([GROUND_LIFT_M - _BURIED_M, GROUND_LIFT_M, SIDEWALK_LIFT_M])
        slope = (SIDEWALK_LIFT_M - GROUND_LIFT_M) / KERB_SKIRT_M
        bands = [(offsets, lift, colors.lands[0], slope)]
    else:
        gravel = 0.6
        ground = GROUND_LIFT_M * gravel / VERGE_M
        far = np.array([VERGE_M + 0.6, VERGE_M, 2.2, gravel])
        far_lift = np.array([GROUND_LIFT_M - _BURIED_M, GROUND_LIFT_M, GROUND_LIFT_M * 2.2 / VERGE_M, ground])
        bands = [
            (width + far, far_lift, colors.verge, 0.03),
            (width + np.array([gravel, 0.0]), np.array([ground, 0.0]), colors.shoulder or colors.verge, 0.03),
        ]
    meshes = []
    for offsets, lift, surface, slope in bands:
        xy = _beyond(border, offsets)
        meshes.append(
            sheet(xy, np.tile(lift, (len(xy), 1)), xy, surface, terrain, facing=border.normal, steepness=slope)
        )
    return meshes
