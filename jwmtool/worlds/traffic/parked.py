"""Cars that stand: in parking lanes, in driveways, on the shoulder."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Actor
from jwmtool.worlds.figures.models import MODELS, draw_size
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Edge, Network
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.traffic.fleet import draw_car_model
from jwmtool.worlds.traffic.motion import grounded

Floats = NDArray[np.float64]

_NEAR_M = 75.0
_MOST = 48
_KERB_GAP_M = 0.12


def make_parked(
    kind: str, network: Network, terrain: Terrain, near: Floats, footprints: Footprints, stream: Stream
) -> list[Actor]:
    """Parked cars near the ego's way `near` [M, 2]; their ground is added to `footprints`."""
    actors: list[Actor] = []
    share = stream.uniform(0.25, 0.85)
    for edge in network.edges:
        stations = np.arange(0.0, edge.path.length_m, 8.0)
        away = np.hypot(*(near[::3, None] - edge.path.at(stations)[None, :, :2]).transpose(2, 0, 1)).min(0)
        if away.min() > _NEAR_M:
            continue
        for forward in (True, False):
            draw = stream.sub(f"{edge.id} {forward}")
            if edge.profile.parking_m >= 1.9:
                places = _lane_places(network, edge, forward, share, draw)
            elif kind == "suburb":
                places = _driveway_places(network, edge, forward, draw)
            elif kind == "motorway":
                places = _shoulder_places(edge, forward, draw)
            else:
                places = []
            for s, x, y, yaw, model, size in places:
                seed = draw.word()
                if len(actors) >= _MOST or np.interp(s, stations, away) > _NEAR_M:
                    continue
                if footprints.fits(x, y, yaw, size[0], size[1], 0.3):
                    footprints.add(x, y, yaw, size[0], size[1])
                    state = grounded(network, terrain, np.array([x]), np.array([y]), np.array([yaw]), size[1])
                    name = f"parked_{len(actors) + 1:02d}"
                    actors.append(
                        Actor(name, MODELS[model].category, model, size, seed, state, np.zeros(1), parked=True)
                    )
    return actors


Place = tuple[float, float, float, float, str, tuple[float, float, float]]


def _lane_places(network: Network, edge: Edge, forward: bool, share: float, stream: Stream) -> list[Place]:
    places: list[Place] = []
    busy = [c.s_m for c in network.crossings if c.edge == edge.id]
    s = edge.first_m + stream.uniform(4.0, 9.0)
    kerb = edge.profile.parking_offset_m(forward)
    outwards = -1.0 if forward else 1.0
    while s < edge.last_m - 6.0:
        model = draw_car_model(stream)
        size = draw_size(model, stream)
        wide = size[1] > edge.profile.parking_m - 0.05
        d = (
            kerb
            + outwards * max(0.5 * (edge.profile.parking_m - size[1]) - _KERB_GAP_M, 0.0)
            + stream.uniform(-0.05, 0.05)
        )
        middle = s + 0.5 * size[0]
        free = all(abs(middle - b) > 0.5 * size[0] + 5.0 for b in busy)
        if stream.chance(share) and free and not wide and middle + 0.5 * size[0] < edge.last_m - 4.0:
            x, y, yaw = edge.path.beside(middle, d)
            turn = 0.0 if forward else math.pi
            places.append((middle, x, y, yaw + turn + stream.uniform(-0.02, 0.02), model, size))
        s += size[0] + stream.uniform(0.7, 1.6)
    return places


def _driveway_places(network: Network, edge: Edge, forward: bool, stream: Stream) -> list[Place]:
    places: list[Place] = []
    s = edge.first_m + stream.uniform(6.0, 25.0)
    side = -1.0 if forward else 1.0
    while s < edge.last_m - 6.0:
        model = draw_car_model(stream)
        size = draw_size(model, stream)
        d = side * (edge.profile.total_half_m + 0.7 + stream.uniform(0.0, 2.0) + 0.5 * size[0])
        x, y, yaw = edge.path.beside(s, d)
        inwards = yaw + side * math.pi / 2 + (math.pi if stream.chance(0.4) else 0.0)
        if float(network.clearance_m(x, y)) > 0.5 * size[0] + 0.2:
            places.append((s, x, y, inwards + stream.uniform(-0.04, 0.04), model, size))
        s += stream.uniform(16.0, 45.0)
    return places


def _shoulder_places(edge: Edge, forward: bool, stream: Stream) -> list[Place]:
    if edge.profile.shoulder_m < 2.2 or not stream.chance(0.6):
        return []
    model = stream.choice(("sedan", "hatchback", "lorry", "van"))
    size = draw_size(model, stream)
    s = stream.uniform(edge.first_m, edge.last_m)
    d = edge.profile.paved_half_m - 0.5 * size[1] - 0.05
    x, y, yaw = edge.path.beside(s, -d if forward else d)
    return [(s, x, y, yaw + (0.0 if forward else math.pi), model, size)]
