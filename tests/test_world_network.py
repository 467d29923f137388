"""Road networks: valid for every seed, drivable, and the ground built as high as they say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from jwmtool.worlds.description import _plain
from jwmtool.worlds.light.raycast import Caster
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.ground import build_ground, is_minor
from jwmtool.worlds.roads.network import GROUND_LIFT_M, SIDEWALK_LIFT_M, Network, make_network
from jwmtool.worlds.roads.network_check import problem_with_circuits, problem_with_roads
from jwmtool.worlds.roads.network_curves import even, rounded
from jwmtool.worlds.roads.terrain import Terrain, make_terrain
from jwmtool.worlds.shapes.geometry import assemble
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.shapes.surfaces import Class
from jwmtool.worlds.spec import KINDS


def _network(kind: str, seed: int) -> Network:
    return make_network(kind, Stream(seed, kind).sub("network"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_seed_gives_a_valid_network(kind):
    for seed in range(200):
        network = _network(kind, seed)
        what = f"{kind} {seed}"
        assert [n.id for n in network.nodes] == list(range(len(network.nodes))), what
        for edge in network.edges:
            ends = edge.path.points[[0, -1]]
            nodes = [network.nodes[i] for i in (edge.start, edge.end)]
            np.testing.assert_allclose(ends, [[n.x, n.y] for n in nodes], atol=1e-6, err_msg=what)
            assert edge.last_m - edge.first_m > 10.0, what
        for circuit in network.circuits:
            gap = np.hypot(*np.diff(np.vstack([circuit.path.points, circuit.path.points[:1]]), axis=0).T)
            assert gap.max() < (2.5 if kind == "motorway" else 0.8), what  # closed, without jumps
            curvature = np.abs(circuit.path.curvature(np.arange(0.0, circuit.path.length_m, 2.0), 1.5)).max()
            assert curvature < (1 / 380.0 if kind == "motorway" else 1 / 5.0), what
        lap_m = network.circuits[0].path.length_m
        low, high = {"city": (200, 2500), "suburb": (200, 2500), "country": (1200, 3500), "motorway": (2800, 6500)}[
            kind
        ]
        assert low < lap_m < high, f"{what}: {lap_m}"
        groups = [n.first_group + i for n in network.nodes if n.control == "signals" for i in range(len(n.arms))]
        assert groups == list(range(network.num_groups)), what


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_circuits_keep_to_their_lanes(kind, seed):
    network = _network(kind, seed)
    for circuit in network.circuits:
        for edge_id, forward, start, end in circuit.pieces:
            edge = network.edges[edge_id]
            s = np.linspace(start + 4.0, end - 4.0, 9)
            place = circuit.path.at(s)
            lane = min(circuit.lane, edge.profile.num_lanes - 1)
            along = np.linspace(edge.first_m, edge.last_m, 2000)
            line = edge.path.beside(along, edge.profile.lane_offset_m(lane, forward))
            nearest = np.hypot(line[:, 0] - place[:, :1], line[:, 1] - place[:, 1:2]).argmin(1)
            side = line[nearest]
            across = (place[:, 0] - side[:, 0]) * -np.sin(side[:, 2]) + (place[:, 1] - side[:, 1]) * np.cos(side[:, 2])
            assert np.abs(across).max() < 0.12  # tight bends are eased a little
            turned = np.cos(place[:, 2] - side[:, 2])
            assert (turned > 0.99).all() if forward else (turned < -0.99).all()
        for stop, node, arm, leave in circuit.stops:
            edge = network.edges[network.nodes[node].arms[arm][0]]
            station = network.stop_line_m(node, arm)
            x, y, _ = edge.path.at(station)
            gap = circuit.path.at(stop)[:2] - [x, y]
            ahead = edge.path.at(station)[2]
            assert abs(gap @ [np.cos(ahead), np.sin(ahead)]) < 0.15  # the stop line lies square to the road
            assert 8.0 < leave - stop < 80.0
            assert circuit.path.length_m >= stop > 0.0


def test_the_ego_meets_opposite_traffic_and_towns_have_more_circuits():
    for kind in KINDS:
        network = _network(kind, 3)
        ego = network.circuits[0]
        back = {(e, not forward) for e, forward, *_ in ego.pieces}
        assert any({piece[:2] for piece in c.pieces} == back for c in network.circuits[1:])
    assert all(len(_network("city", seed).circuits) >= 6 for seed in range(5))


def test_same_seed_same_network_and_another_seed_another():
    text = [json.dumps(_plain(_network("city", seed))) for seed in (5, 5, 6)]
    assert text[0] == text[1] != text[2]


def test_checks_find_what_is_wrong():
    network = _network("city", 1)
    assert problem_with_roads(network) is None and problem_with_circuits(network) is None
    first = network.edges[0]
    moved = dataclasses.replace(first, path=Path(first.path.points + np.array([0.0, 25.0])))
    assert problem_with_roads(dataclasses.replace(network, edges=(moved, *network.edges[1:]))) is not None
    zigzag = first.path.points.copy()
    zigzag[len(zigzag) // 2] += 3.0
    bent = dataclasses.replace(first, path=Path(zigzag))
    assert "sharply" in (problem_with_roads(dataclasses.replace(network, edges=(bent, *network.edges[1:]))) or "")
    circuit = network.circuits[0]
    aside = dataclasses.replace(circuit, path=Path(circuit.path.points + 6.0, closed=True))
    assert "leaves" in (problem_with_circuits(dataclasses.replace(network, circuits=(aside,))) or "")


def test_rounded_corners_are_circles_and_straights_stay_straight():
    path = even(rounded(np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 60.0]]), 20.0), 1.0, 0.0)
    middle = path.points[np.hypot(path.points[:, 0] - 60.0, path.points[:, 1]) < 15.0]
    np.testing.assert_allclose(np.hypot(middle[:, 0] - 40.0, middle[:, 1] - 20.0), 20.0, atol=0.02)
    eased = even(rounded(np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 60.0]]), 20.0), 1.0, 3.0)
    assert np.abs(eased.points[eased.points[:, 0] < 30.0, 1]).max() < 1e-9
    np.testing.assert_allclose(eased.points[[0, -1]], [[0.0, 0.0], [60.0, 60.0]], atol=1e-9)


def test_junctions_give_way_where_the_stem_joins():
    for seed in range(8):
        network = _network("country", seed)
        for node in network.nodes:
            if node.control == "priority":
                minor = [is_minor(network, node.id, arm) for arm in range(3)]
                stems = [network.nodes[network.edges[e].end].control == "end" for e, _ in node.arms]
                assert minor == stems


def _built(kind: str, seed: int) -> tuple[Network, Terrain, Path, Caster]:
    stream = Stream(seed, kind)
    terrain, network = make_terrain(kind, stream.sub("terrain")), make_network(kind, stream.sub("network"))
    stretch = Path(network.circuits[0].path.at(np.arange(0.0, 300.0, 2.0))[:, :2])
    return network, terrain, stretch, Caster(assemble(build_ground(network, terrain, stretch, stream.sub("ground"))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ground_is_as_high_as_the_network_says_and_has_no_holes(kind, seed):
    network, terrain, stretch, caster = _built(kind, seed)
    draw = np.random.default_rng(seed)
    around = stretch.points[draw.integers(0, len(stretch.points), 20000)] + draw.normal(0.0, 14.0, (20000, 2))
    # Joints are where cracks would be: the rims, and the mouths of junctions.
    rims = np.concatenate([b.kerb for b in network.borders] + [b.rim for b in network.borders])
    mouths = []
    for edge in network.edges:
        d = np.linspace(-0.98, 0.98, 60) * edge.profile.paved_half_m
        ends = ((edge.start, edge.first_m), (edge.end, edge.last_m))
        open_ends = [s for node, s in ends if network.nodes[node].control != "end"]
        mouths += [edge.path.beside(np.full(60, s), d)[:, :2] for s in open_ends]
    joints = np.concatenate([rims, *mouths])
    reach = np.min(np.hypot(*(joints[:, None] - stretch.points[None, ::10]).transpose(2, 0, 1)), axis=1)
    joints = joints[reach < 200.0]
    xy = np.concatenate([around, joints + draw.normal(0.0, 0.003, joints.shape)])
    z = terrain.height(*xy.T)
    hits = caster.cast(np.column_stack([xy, z + 50.0]), np.tile([0.0, 0.0, -1.0], (len(xy), 1)))
    assert (hits.face >= 0).all()
    height = 50.0 - hits.t
    semantic = caster.geometry.semantic[np.maximum(hits.face, 0)]
    kerb, rim = network.kerb_distance_m(*xy.T), network.clearance_m(*xy.T)
    error = np.abs(height - network.lift_m(*xy.T))
    road, sidewalk, land = kerb < -0.05, (kerb > 0.05) & (rim < -0.05), rim > 0.1
    assert road.sum() > 2000 and land.sum() > 1000
    assert (semantic[road] == Class.ROAD).all()
    assert (semantic[land] == Class.TERRAIN).all()
    assert np.median(error[road]) < 0.01 and error[road].max() < 0.03
    np.testing.assert_allclose(network.lift_m(*xy[road].T), 0.0, atol=1e-12)
    if kind in ("city", "suburb"):
        assert sidewalk.sum() > 500
        assert (semantic[sidewalk] == Class.SIDEWALK).all()
        assert np.median(error[sidewalk]) < 0.01 and error[sidewalk].max() < 0.03
        np.testing.assert_allclose(network.lift_m(*xy[sidewalk].T), SIDEWALK_LIFT_M)
    away = rim > 5.0
    np.testing.assert_allclose(network.lift_m(*xy[away].T), GROUND_LIFT_M)
    assert error[away].max() < 0.06
    # Nothing of the land or the verges reaches above the rim it starts from, joints included.
    assert height[rim < 0.0].max() < SIDEWALK_LIFT_M + 0.03


def test_ground_faces_up_and_reaches_the_haze():
    _, _, stretch, caster = _built("suburb", 4)
    g = caster.geometry
    a, b, c = (g.vertices[g.faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    assert normal[:, 2].min() > -1e-6
    shading = g.normals[g.faces].mean(1)
    assert ((normal * shading).sum(1) > 0.3).mean() > 0.999
    far = stretch.points[0] + 1500.0 * np.stack([np.cos(np.arange(12.0)), np.sin(np.arange(12.0))], 1)
    hits = caster.cast(np.column_stack([far, np.full(12, 100.0)]), np.tile([0.0, 0.0, -1.0], (12, 1)))
    assert (hits.face >= 0).all()


def test_lanes_lead_the_way_traffic_drives():
    network = _network("city", 2)
    lanes = network.lanes()
    assert len(lanes) == sum(2 * e.profile.num_lanes for e in network.edges)
    assert len({lane["id"] for lane in lanes}) == len(lanes)
    by_id = {lane["id"]: lane for lane in lanes}
    circuit = network.circuits[0]
    edge, forward, start, end = circuit.pieces[0]
    lane = min(circuit.lane, network.edges[edge].profile.num_lanes - 1)
    points = np.array(by_id[f"edge{edge}_{'forward' if forward else 'backward'}{lane}"]["points"])
    first, last = circuit.path.at([start, end])[:, :2]
    assert np.hypot(*(points[0] - first)) < 1.0 and np.hypot(*(points[-1] - last)) < 1.0
