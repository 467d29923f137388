"""Animals that enter the road, and a child that runs out from behind a parked car."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Actor
from jwmtool.worlds.figures.models import MODELS, draw_size, stride_m
from jwmtool.worlds.traffic.event_scene import PLACE_BEYOND_STOP_M, Act, Scene, corridor, obstacle_rows
from jwmtool.worlds.traffic.motion import grounded, run, run_end_s, settled_phase

Floats = NDArray[np.float64]

_RUN_MPS = {"horse": (3.0, 5.0), "deer": (3.5, 6.0), "tiger": (2.2, 4.0), "dog": (2.5, 4.5)}
_WALK_MPS = {"horse": (1.4, 1.8), "deer": (1.2, 1.8), "tiger": (1.1, 1.6), "dog": (1.0, 1.6)}
_LONGEST_WAY_S = 3.5
_HIDES_CHILD = ("suv", "van", "estate")


def act_animal(scene: Scene, name: str) -> Act:
    """It comes from the roadside, stops in the ego's lane and looks, and later goes on, or stays."""
    draw, road, times = scene.stream, scene.road, scene.times_s
    size = draw_size(name, draw)
    side = -1.0 if scene.motorway or draw.chance(0.65) else 1.0  # it comes from: -1 the right, 1 the left
    start = (road.rim_right if side < 0 else road.rim_left) + side * (0.5 * size[0] + draw.uniform(0.6, 1.6))
    stand = draw.uniform(-0.7, 0.7)
    way = abs(stand - start)
    speed = max(draw.uniform(*(_RUN_MPS if draw.chance(0.6) else _WALK_MPS)[name]), way / _LONGEST_WAY_S)
    setback = draw.uniform(5.0, 7.0) if size[2] < 1.5 else draw.uniform(6.0, 8.5)  # near enough to be recognized
    s = scene.place_m + setback - PLACE_BEYOND_STOP_M
    began = scene.begin_s + 0.1 - scene.head_start_s(run_end_s(0.1, way, speed, 4.0))
    covered = run(times, began, way, speed, 4.0)
    closed_until, total = math.inf, way
    goes_on, tilt = draw.chance(0.5), draw.uniform(-0.25, 0.25)
    if goes_on and not scene.motorway:
        there = max(run_end_s(began, way, speed, 4.0), scene.begin_s + scene.v / 4.0 + 0.5)
        leaves = there + draw.uniform(1.5, 3.0)
        rest = abs((road.rim_left if side < 0 else road.rim_right) - side * (0.5 * size[0] + 1.0) - stand)
        pace = 1.2 * draw.uniform(*_WALK_MPS[name])
        covered = covered + run(times, leaves, rest, pace, 2.0)
        closed_until, total = run_end_s(leaves, rest, pace, 2.0) - 0.5, way + rest
    drift = math.tan(tilt) * (covered - way)
    x, y, heading = scene.path.beside(s, start - side * covered).T
    x, y = x + drift * np.cos(heading), y + drift * np.sin(heading)
    yaw = np.unwrap(heading) + math.atan2(-side, math.tan(tilt))
    states = grounded(scene.routes.network, scene.terrain, x, y, yaw)
    phase = settled_phase(covered / math.cos(tilt), stride_m(name, size))
    actor = Actor(f"{name}_01", MODELS[name].category, name, size, draw.word(), states, phase)
    ends = sorted((start, start - side * total))
    ground = corridor(scene, s, ends[0] - size[0], ends[1] + size[0], 4.0 + 2.0 * abs(math.tan(tilt)) * total)
    return Act(
        [actor],
        [obstacle_rows(states, size)],
        [ground],
        line=(s, road.rim_right, scene.far_side),
        setback_m=setback,
        closed_s=(scene.begin_s, closed_until),
    )


def act_child(scene: Scene) -> Act:
    """It stands hidden before a parked car, runs into the road, stops in fright, and runs on or back."""
    draw, road, times = scene.stream, scene.road, scene.times_s
    size = draw_size("child", draw)
    model = draw.choice(_HIDES_CHILD)
    car_size = draw_size(model, draw)
    car_d = road.beside_d(car_size[1])
    setback = draw.uniform(5.5, 7.5)
    s = scene.place_m + setback - PLACE_BEYOND_STOP_M
    car_s = s - 0.5 * car_size[0] - 0.9
    x, y, yaw = (np.array([p]) for p in scene.path.beside(car_s, car_d))
    car = Actor(
        "parked_child", MODELS[model].category, model, car_size, draw.word(),
        grounded(scene.routes.network, scene.terrain, x, y, yaw, car_size[1]), np.zeros(1), parked=True,
    )  # fmt: skip
    start, stand = car_d - 0.2, draw.uniform(-0.4, 0.5)
    speed = draw.uniform(2.6, 3.4)
    began = scene.begin_s - scene.head_start_s(run_end_s(0.0, stand - start, speed, 5.0))
    there = run_end_s(began, stand - start, speed, 5.0)
    leaves = max(there, scene.begin_s + scene.v / 4.5) + draw.uniform(0.8, 1.6)
    back = scene.motorway or draw.chance(0.3)
    end = start if back else road.rim_left - (0.5 * road.profile.sidewalk_m if road.profile.sidewalk_m > 1 else -0.8)
    first = run(times, began, stand - start, speed, 5.0)
    then = run(times, leaves, abs(end - stand), 0.8 * speed, 4.0)
    d = start + first + (-then if back else then)
    x, y, heading = scene.path.beside(s, d).T
    turn = np.pi * np.clip((times - leaves + 0.5) / 0.5, 0.0, 1.0) if back else np.zeros_like(times)
    states = grounded(scene.routes.network, scene.terrain, x, y, np.unwrap(heading) + 0.5 * np.pi + turn)
    stride = stride_m("child", size) * 1.5  # a run's steps are longer
    phase = settled_phase(first, stride) + settled_phase(then, stride)
    child = Actor("child_01", "pedestrian", "child", size, draw.word(), states, phase)
    clear = run_end_s(leaves, abs(end - stand), 0.8 * speed, 4.0)
    low, high = min(start, end), max(stand, end)
    return Act(
        [child, car],
        [obstacle_rows(states, size)],
        [
            corridor(scene, s, low - 0.8, high + 0.8, 1.4),
            np.array([*scene.path.beside(car_s, car_d), car_size[0], car_size[1]]),
        ],
        line=(s, road.rim_right, scene.far_side),
        setback_m=setback,
        closed_s=(scene.begin_s, clear - (0.0 if back else 0.4)),
    )
