"""Things of the worlds: builders make closed, outward-looking shapes; placement keeps roads and walkers' ways free."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from jwmtool.worlds.description import Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Network, make_network
from jwmtool.worlds.roads.terrain import Terrain, make_terrain, world_from_state
from jwmtool.worlds.scenery.placing import WALKING_HALF_M
from jwmtool.worlds.scenery.things import BUILDERS, THING_CLASS, build_thing, lamp_heads, place_things, thing_rectangles
from jwmtool.worlds.shapes.footprints import Footprints, overlap
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.shapes.surfaces import Material
from jwmtool.worlds.spec import KINDS

_HOUSES = ("block", "tower", "house", "garage", "barn", "silo", "hall", "church")
_CHAINED = ("rail", "barrier", "wall", "fence", "hedge")  # pieces touch their neighbors
_SEEDS = range(4)


def _world(kind: str, seed: int, reach_m: float = 220.0) -> tuple[Network, Terrain, Path, tuple[Thing, ...]]:
    stream = Stream(seed, kind)
    network, terrain = make_network(kind, stream.sub("network")), make_terrain(kind, stream.sub("terrain"))
    route = network.circuits[0].path
    start = Stream(seed, "start").uniform(0.0, route.length_m)
    stretch = Path(route.at(start + np.arange(0.0, reach_m, 1.0))[:, :2])
    return network, terrain, stretch, place_things(kind, network, terrain, stretch, Footprints(), stream.sub("things"))


@pytest.fixture(scope="module")
def worlds() -> dict[tuple[str, int], tuple[Network, Terrain, Path, tuple[Thing, ...]]]:
    return {(kind, seed): _world(kind, seed) for kind in KINDS for seed in _SEEDS}


@pytest.fixture(scope="module")
def samples(worlds) -> list[Thing]:  # type: ignore[no-untyped-def]
    """Up to a dozen things of each kind that any world has."""
    by_kind: dict[str, list[Thing]] = {}
    for *_, things in worlds.values():
        for thing in things:
            by_kind.setdefault(thing.kind, []).append(thing)
    return [thing for kind in sorted(by_kind) for thing in by_kind[kind][:: max(1, len(by_kind[kind]) // 12)][:12]]


def test_every_kind_has_a_builder_and_a_class_and_is_used(samples) -> None:  # type: ignore[no-untyped-def]
    assert set(BUILDERS) == set(THING_CLASS)
    missing = (
        set(BUILDERS) - {thing.kind for thing in samples} - {"boulder", "cliff", "column", "gantry", "silo", "turbine"}
    )  # a cliff comes with falling rocks
    assert not missing, f"placed nowhere in {len(_SEEDS)} seeds: {missing}"


def test_shapes_are_sound_and_within_budget(samples) -> None:  # type: ignore[no-untyped-def]
    budget = {"tree": 760, "wood": 1000, "lamp": 110, "block": 450, "tower": 400}
    for thing in samples:
        mesh = BUILDERS[thing.kind](thing)
        for values in (mesh.vertices, mesh.normals, mesh.texture, mesh.surfaces):
            assert np.isfinite(values).all(), thing.kind
        assert len(mesh.faces) <= budget.get(thing.kind, 420), thing.kind
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-6), thing.kind
        assert mesh.surface.max() < len(mesh.surfaces)
        # Corner order and stored normals agree: both look outwards.
        corners = mesh.vertices[mesh.faces]
        plane = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(plane, axis=1)
        along = np.einsum("fd,fd->f", plane, mesh.normals[mesh.faces].mean(1)) / np.maximum(area, 1e-12)
        assert (along[area > 1e-6] > -0.2).all(), thing.kind
        low, high = mesh.bounds()
        if thing.kind == "turbine":  # its height is that of the hub
            continue
        assert low[2] < 0.15 and abs(high[2] - thing.size[2]) < 0.35 * thing.size[2] + 2.1, thing.kind


def _crossings(origin: np.ndarray, direction: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Signs of the facets that a ray meets: +1 where it enters."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    e1, e2 = b - a, c - a
    p = np.cross(direction, e2)
    det = np.einsum("fd,fd->f", e1, p)
    ok = np.abs(det) > 1e-12
    inverse = 1.0 / np.where(ok, det, 1.0)
    s = origin - a
    u = np.einsum("fd,fd->f", s, p) * inverse
    q = np.cross(s, e1)
    v = (q @ direction) * inverse
    t = np.einsum("fd,fd->f", e2, q) * inverse
    hit = ok & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    order = np.argsort(t[hit])
    return np.sign(det[hit])[order]


def test_houses_are_closed_from_every_side(samples) -> None:  # type: ignore[no-untyped-def]
    """Whatever ray meets a house first meets an outer face, never the inside of one."""
    stream = Stream(1, "rays")
    for thing in samples:
        if thing.kind not in (*_HOUSES, "tree", "bush", "hedge", "wall", "barrier"):
            continue
        mesh = BUILDERS[thing.kind](thing)
        low, high = mesh.bounds()
        middle, reach = 0.5 * (low + high), float(np.linalg.norm(high - low))
        corners = mesh.vertices[mesh.faces]
        met = wrong = 0
        for _ in range(60):
            away = np.array([stream.normal(), stream.normal(), abs(stream.normal()) + 0.02])
            eye = middle + reach * away / np.linalg.norm(away)
            eye[2] = max(eye[2], 0.5)
            goal = low + np.array([stream.uniform(0.05, 0.95) for _ in range(3)]) * (high - low)
            goal[2] = max(goal[2], 0.1)
            signs = _crossings(eye, goal - eye, corners)
            met += len(signs) > 0
            wrong += len(signs) > 0 and signs[0] < 0
        assert met > 15, thing.kind
        # A tree's crown and trunk are open where they join; a grazing ray may see in.
        assert wrong <= (2 if thing.kind in ("tree", "bush") else 1), f"{thing.kind} {thing.seed}: {wrong} of {met}"


def test_roads_and_walkers_ways_stay_free(worlds) -> None:  # type: ignore[no-untyped-def]
    for (kind, seed), (network, _, _, things) in worlds.items():
        edges = [(e, e.path.resampled(0.5)) for e in network.edges]
        line = np.vstack([path.points for _, path in edges])
        owner = np.concatenate([np.full(len(path.points), i) for i, (_, path) in enumerate(edges)])
        for thing in things:
            if thing.kind in ("barrier", "hill"):
                continue
            for x, y, yaw, length, width in thing_rectangles(thing):
                u, v = np.meshgrid(np.linspace(-0.5, 0.5, 7) * length, np.linspace(-0.5, 0.5, 5) * width)
                px, py = x + np.cos(yaw) * u - np.sin(yaw) * v, y + np.sin(yaw) * u + np.cos(yaw) * v
                lift = network.lift_m(px, py)
                on_median = thing.kind in ("lamp", "rail", "gantry", "signal") and kind in ("motorway", "city")
                if not on_median:
                    assert not (np.abs(lift) < 1e-6).any(), f"{kind} {seed}: {thing.kind} on the road"
                if (lift > 0.01).any() and min(length, width) < 3.0:
                    away = np.hypot(line[:, 0] - x, line[:, 1] - y)
                    edge, path = edges[owner[away.argmin()]]
                    s = (
                        float(np.argmin(np.hypot(path.points[:, 0] - x, path.points[:, 1] - y)))
                        * path.length_m
                        / (len(path.points) - 1)
                    )
                    if not edge.first_m + 1 < s < edge.last_m - 1 or edge.profile.sidewalk_m <= 0:
                        continue
                    way = edge.profile.paved_half_m + 0.5 * edge.profile.sidewalk_m
                    near = np.min(np.hypot(line[:, 0] - px[..., None], line[:, 1] - py[..., None]), axis=-1)
                    assert (np.abs(near - way) > WALKING_HALF_M - 0.08).all(), f"{kind} {seed}: {thing.kind} in the way"


def test_things_do_not_overlap(worlds) -> None:  # type: ignore[no-untyped-def]
    for (kind, seed), (*_, things) in worlds.items():
        names, rows = [], []
        for thing in things:
            if thing.kind != "hill":
                rectangles = thing_rectangles(thing)
                rows.append(rectangles)
                names += [(thing.kind, id(thing))] * len(rectangles)
        table = np.concatenate(rows)
        for i, row in enumerate(table):
            near = np.flatnonzero(np.hypot(table[:, 0] - row[0], table[:, 1] - row[1]) < 90.0)
            for j in near[overlap(row, table[near], -0.01)]:
                one, other = names[i], names[j]
                if one[1] == other[1] or (one[0] == other[0] and one[0] in _CHAINED):
                    continue
                raise AssertionError(f"{kind} {seed}: {one[0]} and {other[0]} overlap at {row[:2]}")


def test_taken_ground_is_respected() -> None:
    stream = Stream(3, "city")
    network, terrain = make_network("city", stream.sub("network")), make_terrain("city", stream.sub("terrain"))
    route = network.circuits[0].path
    stretch = Path(route.at(np.arange(0.0, 200.0, 1.0))[:, :2])
    taken = Footprints()
    corridors = np.array([[*route.beside(s, -8.0), 30.0, 6.0] for s in (40.0, 90.0, 140.0)])
    for row in corridors:
        taken.add(*row)
    things = place_things("city", network, terrain, stretch, taken, stream.sub("things"))
    rows = np.concatenate([thing_rectangles(t) for t in things if t.kind != "hill"])
    assert not overlap(corridors[:, None], rows[None]).any()
    assert len(things) > 100


def test_things_stand_on_the_ground(worlds) -> None:  # type: ignore[no-untyped-def]
    for network, terrain, _, things in worlds.values():
        state = np.array([t.state for t in things])
        ground = terrain.height(state[:, 0], state[:, 1]) + network.lift_m(state[:, 0], state[:, 1])
        above = state[:, 2] - ground
        assert above.min() > -0.3
        assert above.max() < 0.9
        small = np.array([max(t.size[:2]) < 2.0 for t in things])
        assert np.abs(above[small]).max() < 0.01


def test_signals_face_the_traffic_they_stop(worlds) -> None:  # type: ignore[no-untyped-def]
    found = 0
    for network, _, _, things in worlds.values():
        groups = {
            node.first_group + arm: (node, network.edges[edge], at_start)
            for node in network.nodes
            if node.control == "signals"
            for arm, (edge, at_start) in enumerate(node.arms)
        }
        for thing in things:
            if thing.kind != "signal":
                continue
            found += 1
            node, edge, at_start = groups[int(thing.style["group"])]
            s = edge.first_m if at_start else edge.last_m
            heading = float(edge.path.at(s)[2]) + (np.pi if at_start else 0.0)
            face = -world_from_state(thing.state)[:2, 1]
            assert face @ [np.cos(heading), np.sin(heading)] < -0.9
            to_node = np.array([node.x, node.y]) - thing.state[:2]
            assert to_node @ [np.cos(heading), np.sin(heading)] > 0
            # On the right of those who come.
            assert to_node @ [-np.sin(heading), np.cos(heading)] > 2.0
            lenses = BUILDERS["signal"](thing).surfaces
            lenses = lenses[lenses[:, 0] == Material.SIGNAL]
            assert set(lenses[:, 9]) == {0.0, 1.0, 2.0} and set(lenses[:, 8]) == {float(thing.style["group"])}
    assert found >= 4


def test_lamps_shine_from_their_heads(worlds) -> None:  # type: ignore[no-untyped-def]
    heads = 0
    for network, _, _, things in worlds.values():
        for thing in things:
            if thing.kind != "lamp":
                continue
            points, mesh = lamp_heads(thing), build_thing(thing)
            lit = mesh.vertices[mesh.faces[mesh.surfaces[mesh.surface, 0] == Material.LAMP]].reshape(-1, 3)
            for point in points:
                assert np.linalg.norm(lit - point, axis=1).min() < 0.8
                heads += 1
                if thing.style["arm_m"] > 1.0:  # the arm reaches towards the road
                    foot = network.clearance_m(thing.state[0], thing.state[1])
                    assert network.clearance_m(point[0], point[1]) < foot + 0.01
    assert heads > 20


def test_same_seed_same_things_and_quick() -> None:
    start = time.perf_counter()
    for kind in KINDS:
        one, other = _world(kind, 9)[3], _world(kind, 9)[3]
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert (a.kind, a.size, a.seed, a.style) == (b.kind, b.size, b.seed, b.style)
            assert np.array_equal(a.state, b.state)
    assert time.perf_counter() - start < 60.0


def test_worlds_of_a_kind_have_what_makes_them_that_kind(worlds) -> None:  # type: ignore[no-untyped-def]
    for (kind, seed), (*_, things) in worlds.items():
        count = Counter(t.kind for t in things)
        expected = {
            "city": {"block": 40, "tower": 5},
            "suburb": {"house": 20, "tree": 20},
            "country": {"wood": 10, "tree": 5},
            "motorway": {"rail": 4, "wood": 5},
        }[kind]
        for name, least in expected.items():
            assert count[name] >= least, f"{kind} {seed}: {count[name]} {name}"


def test_no_view_ends_in_nothing(worlds) -> None:  # type: ignore[no-untyped-def]
    """Round the middle of the drive something tall stands within 700 m in most directions."""
    for (kind, seed), (_, _, stretch, things) in worlds.items():
        x, y = stretch.at(0.5 * stretch.length_m)[:2]
        covered = np.zeros(72, bool)
        for thing in things:
            if thing.size[2] < 5.0 or thing.kind in (
                "lamp",
                "signal",
                "sign",
                "power_pole",
                "pylon",
                "turbine",
                "gantry",
            ):
                continue
            away = float(np.hypot(thing.state[0] - x, thing.state[1] - y))
            half = np.arctan2(0.5 * min(thing.size[0], thing.size[1]) + 0.2 * thing.size[0], max(away, 1.0))
            if away < 900.0:
                angle = np.arctan2(thing.state[1] - y, thing.state[0] - x)
                offset = np.angle(np.exp(1j * (np.arange(72) * 2 * np.pi / 72 - angle)))
                covered |= np.abs(offset) <= half + 0.02
        assert covered.mean() > 0.75, f"{kind} {seed}: {covered.mean():.2f}"
