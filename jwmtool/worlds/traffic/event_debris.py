"""Rocks that fall from a slope beside the road, and cargo that falls off a vehicle's roof."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Actor, Thing
from jwmtool.worlds.figures.models import draw_size
from jwmtool.worlds.roads.network import GROUND_LIFT_M
from jwmtool.worlds.roads.terrain import state_on_ground, world_from_state
from jwmtool.worlds.scenery.cliff import CLIFF_FACE_M
from jwmtool.worlds.traffic.driver import Car, Simulation
from jwmtool.worlds.traffic.event_scene import PLACE_BEYOND_STOP_M, Act, Scene, Size, obstacle_rows
from jwmtool.worlds.traffic.motion import grounded, smooth_step, tumbling

Floats = NDArray[np.float64]

_GRAVITY = 9.81
_RACK_M = 0.08  # the load lies on a rack
_ROOF_REACH_M = 1.7  # the load lies so far from the roof's middle at most
_FRICTION_MPS2 = 6.0
CLIFF_DEPTH_M = 14.0


def act_rocks(scene: Scene) -> Act:
    """Three to seven rocks break off a rock face at the right, bounce and roll onto the ego's lane."""
    draw, road = scene.stream, scene.road
    sizes = [max(draw_size("rock", draw), draw_size("rock", draw)) for _ in range(draw.integer(3, 8))]  # rather big
    foot = road.rim_right - draw.uniform(1.2, 2.0)
    height = draw.uniform(6.0, 8.5)
    gaps = [draw.uniform(0.3, 0.9) for _ in sizes]
    reach = [0.5 * math.hypot(size[0], size[1]) for size in sizes]
    ends = np.cumsum([0.0] + [a + b + gap for a, b, gap in zip(reach, reach[1:], gaps, strict=False)])
    offsets = ends - 0.5 * float(ends[-1])
    setback = float(-offsets[0]) + 7.0
    middle = scene.place_m + setback - PLACE_BEYOND_STOP_M
    x, y, yaw = scene.path.beside(middle, foot - 0.5 * CLIFF_DEPTH_M)
    base = float(scene.terrain.height(x, y)) + GROUND_LIFT_M
    act = Act(line=(middle, road.rim_right, road.half_lane_m), setback_m=setback, closed_s=(scene.begin_s, math.inf))
    in_lane = draw.integer(0, len(sizes))
    for number, (size, offset) in enumerate(zip(sizes, offsets, strict=True)):
        inner = number in (in_lane, (in_lane + 1) % len(sizes))
        low = -0.7 * road.half_lane_m if inner else road.paved_right + 0.3
        target = draw.uniform(low, 0.6 * road.half_lane_m - 0.3 * size[0])
        begin = scene.begin_s + (0.0 if inner else draw.uniform(0.1, 1.2)) - scene.head_start_s(3.2)
        start = foot - CLIFF_FACE_M - 0.25 - 0.5 * size[0]
        x0, y0, _ = scene.path.beside(middle + float(offset), start)
        drop = base + height - float(scene.terrain.height(x0, y0)) - GROUND_LIFT_M
        states = _fall(scene, middle + float(offset), start, target, drop, size, begin)
        act.actors.append(
            Actor(f"rocks_{number + 1:02d}", "obstacle", "rock", size, draw.word(), states, np.zeros(len(states)))
        )
        act.obstacles.append(obstacle_rows(states, size))
    length = float(ends[-1] - ends[0]) + 2.0 * draw.uniform(7.0, 11.0)
    state = np.array([x, y, base, yaw, 0.0, 0.0])
    gray = draw.uniform(0.14, 0.34)
    warm = draw.uniform(0.75, 1.0)
    style = {
        "rock": (gray, gray * (0.5 + 0.5 * warm), gray * warm),
        "rock2": (0.55 * gray, 0.55 * gray * (0.5 + 0.5 * warm), 0.5 * gray * warm),
        "grass": (draw.uniform(0.07, 0.15), draw.uniform(0.13, 0.2), draw.uniform(0.03, 0.06)),
    }
    act.things.append(Thing("cliff", state, (length, CLIFF_DEPTH_M, height), draw.word(), style))
    act.corridors.append(np.array([x, y, yaw, length, CLIFF_DEPTH_M]))
    # The way of the rocks from the face to the road.
    x, y, yaw = scene.path.beside(middle, 0.5 * (foot + road.paved_right))
    act.corridors.append(np.array([x, y, yaw, float(ends[-1] - ends[0]) + 5.0, road.paved_right - foot]))
    return act


def _fall(scene: Scene, s: float, start_d: float, end_d: float, height: float, size: Size, begin_s: float) -> Floats:
    """States [P, 6]: pushed off a height, two bounces that lose speed, rolling to a stop."""
    way = end_d - start_d
    first = math.sqrt(2.0 * height / _GRAVITY)
    # (seconds, share of the first horizontal speed) in the air; bounces keep 40 % of the vertical speed.
    hops = ((first, 1.0), (0.8 * first, 0.72), (0.32 * first, 0.55))
    air, roll = sum(t * share for t, share in hops), 0.45**2 / (2.0 * 3.0)
    v = (-air + math.sqrt(air * air + 4.0 * roll * way)) / (2.0 * roll)
    t = np.maximum(scene.times_s - begin_s, 0.0)
    covered, up = np.zeros_like(t), np.where(t < first, height - 0.5 * _GRAVITY * t * t, 0.0)
    since = t
    for index, (last, share) in enumerate(hops):
        part = np.clip(since, 0.0, last)
        covered = covered + v * share * part
        if index:
            up = np.where((since > 0) & (since < last), 0.5 * _GRAVITY * part * (last - part), up)
        since = since - last
    rolling = np.clip(since, 0.0, 0.45 * v / 3.0)
    covered = covered + 0.45 * v * rolling - 0.5 * 3.0 * rolling * rolling
    x, y, heading = scene.path.beside(s, start_d + covered).T
    ground = grounded(scene.routes.network, scene.terrain, x, y, heading + 0.5 * math.pi)
    turns = max(1, round(0.6 * way / (math.pi * size[0])))
    return tumbling(ground, size, up, 2.0 * math.pi * turns * covered / way)


def act_cargo(scene: Scene, sim: Simulation, car: Car) -> Act:
    """Two to six boxes slide off the roof of the vehicle ahead, fall on the road and lie there."""
    draw = scene.stream
    index = next(i for i, c in enumerate(sim.cars) if c is car)
    car.shadow_until_s = car.steady_from_s = scene.begin_s
    v, middle = max(float(sim.v[index]), 1.0), float(sim.s[index])
    act = Act()
    pieces: list[_Piece] = []
    last = min(_ROOF_REACH_M, 0.35 * car.size[0])
    x, row = -last, 0
    while x < last and row < 3:
        names = ("crate", "carton") if row == 0 else ("crate", "carton", "mattress", "tyre")
        models = [draw.choice(names) for _ in range(2)]
        sizes = [draw_size(model, draw) for model in models]
        if max(size[1] for size in sizes) > 0.5 * car.size[1] - 0.12:  # no room for two abreast
            models, sizes = models[:1], sizes[:1]
        length = max(size[0] for size in sizes)
        for column, (model, size) in enumerate(zip(models, sizes, strict=True)):
            side = (1.0, -1.0)[column] if len(models) == 2 else 0.0
            y, drift = side * 0.26 * car.size[1], side * draw.uniform(0.03, 0.25)
            begin = scene.begin_s + 0.45 * row + draw.uniform(0.0, 0.15)
            pieces.append(_Piece(len(pieces), model, size, draw.word(), x + 0.5 * length, y, begin, drift))
        x += length + 0.25
        row += 1
    # On a slope the roof's rear end is lower than its middle; over the middle the load stays clear of the whole box.
    x, y, heading = scene.path.at(middle)
    slope = scene.terrain.gradient(x, y) @ np.array([math.cos(heading), math.sin(heading)])
    height = car.size[2] + _RACK_M + 1.3 * abs(float(slope)) * (0.5 * car.size[0] + 0.5)
    for piece in pieces:
        piece.height_m = height
    written = [(piece, piece.states_after(scene, car, middle, v)) for piece in pieces]
    act.obstacles = [obstacle_rows(states, piece.size) for piece, states in written]
    act.finish = partial(_load, written, scene, car)
    return act


def _load(pieces: list[tuple[_Piece, Floats]], scene: Scene, car: Car, car_states: Floats) -> list[Actor]:
    """The boxes' actors: on the roof until they slide, then on their own way."""
    actors = []
    for piece, after in pieces:
        offset = np.eye(4)
        offset[:3, 3] = piece.x, piece.y, piece.height_m
        states = car_states.copy()
        states[:, :3] = (world_from_state(car_states) @ offset)[:, :3, 3]
        free = scene.times_s >= piece.slides_s
        # The way from the moment it slides was written in advance; whatever the two differ by then fades out.
        if free.any() and not free[0]:
            k = int(np.argmax(free))
            slip = states[k] - after[k]
            slip[3:] = (slip[3:] + np.pi) % (2 * np.pi) - np.pi
            states[k:] = after[k:] + slip * (1.0 - smooth_step((scene.times_s[k:, None] - piece.slides_s) / 0.8))
        elif free.any():
            states = after
        states[:, 3] = np.unwrap(states[:, 3])
        name = f"cargo_{piece.number + 1:02d}"
        actors.append(Actor(name, "obstacle", piece.model, piece.size, piece.seed, states, np.zeros(len(states))))
    return actors


class _Piece:
    """A box of the load: where it lies on the roof, when it begins to slide."""

    def __init__(
        self, number: int, model: str, size: Size, seed: int, x: float, y: float, slides_s: float, drift: float
    ) -> None:
        self.number, self.model, self.size, self.seed = number, model, size, seed
        self.x, self.y, self.slides_s, self.drift = x, y, slides_s, drift
        self.height_m = 0.0  # of the roof it lies on

    def states_after(self, scene: Scene, car: Car, car_s: float, v: float) -> Floats:
        """States [P, 6] if the vehicle goes on at `v` from `car_s` at the event's begin."""
        # Way to slide until it tips over the rear edge; in a bend the vehicle's corner swings out.
        clear = self.x + 0.5 * car.size[0] + 0.5 * math.hypot(self.size[0], self.size[1]) + 0.45
        pull = min(max((0.55 * v) ** 2 / (2.0 * clear), 1.5), 9.0)
        slide_s = math.sqrt(2.0 * clear / pull)
        left_v = max(v - pull * slide_s, 0.0)
        height = self.height_m
        fall_s = math.sqrt(2.0 * height / _GRAVITY)
        t = scene.times_s - self.slides_s
        sliding = np.clip(t, 0.0, slide_s)
        falling = np.clip(t - slide_s, 0.0, fall_s)
        skid = np.clip(t - slide_s - fall_s, 0.0, left_v / _FRICTION_MPS2)
        s = car_s + self.x + v * (np.minimum(t, slide_s) + self.slides_s - scene.begin_s)
        s = s - 0.5 * pull * sliding**2 + left_v * (falling + skid) - 0.5 * _FRICTION_MPS2 * skid**2
        up = np.where(t < slide_s, height, np.maximum(height - 0.5 * _GRAVITY * falling**2, 0.0))
        drift = self.drift * (smooth_step((t - slide_s) / 2.0)) * 3.0
        x, y, heading = scene.path.beside(s, self.y + drift).T
        yaw = np.unwrap(heading) + 4.0 * self.drift * smooth_step((t - slide_s) / (fall_s + 0.8))
        ground = state_on_ground(scene.terrain, x, y, yaw)
        whole_turns = 1.0 if self.model in ("carton", "crate") else 0.0
        pitch = -2.0 * math.pi * whole_turns * smooth_step((t - slide_s) / (fall_s + 0.35))
        return tumbling(ground, self.size, up, pitch)
