"""What the scripts of events share: where the ego is when one begins, and what one adds to the world."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import STEP_S, Actor, Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.traffic.routes import Road, Routes

Floats = NDArray[np.float64]
Size = tuple[float, float, float]

PLACE_BEYOND_STOP_M = 10.0  # an event's place lies so far beyond where the ego's front can stop


@dataclass(frozen=True)
class Scene:
    """Where the ego is when the event begins; stations are along its route."""

    routes: Routes
    terrain: Terrain
    road: Road  # at `place_m`
    times_s: Floats  # [P] of the clip
    begin_s: float
    nose_m: float  # the ego's front
    v: float
    place_m: float  # where it happens
    stream: Stream

    def head_start_s(self, way_s: float) -> float:
        """By how much something that takes `way_s` begins earlier, so that a short clip shows the end of it."""
        duration = float(self.times_s[-1]) - 1.0
        return max(0.0, way_s - 0.28 * duration)

    @property
    def path(self) -> Path:
        """The ego's route."""
        return self.routes.network.circuits[0].path

    @property
    def motorway(self) -> bool:
        """A median parts the directions: what happens stays on the ego's side."""
        return self.road.profile.median_half_m > 0.5

    @property
    def far_side(self) -> float:
        """Offset up to which the road is closed by something on it."""
        return self.road.middle - self.road.profile.median_half_m if self.motorway else self.road.rim_left


@dataclass
class Act:
    """What an event adds to the world.

    Attributes:
        obstacles: [P, 7] each: x, y, yaw, length, width, vx, vy; see `driver.Obstacle`.
        corridors: [5] each, ground to keep free of things and parked cars.
        line: closed across the road: station, from d, to d.
        setback_m: fronts stop so far before it.
        closed_s: from when until when.
        only_ego: nobody else minds the line.
        finish: makes further actors from the states of the event's car.
    """

    actors: list[Actor] = field(default_factory=list)
    obstacles: list[Floats] = field(default_factory=list)
    corridors: list[Floats] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)
    line: tuple[float, float, float] | None = None
    setback_m: float = 8.0
    closed_s: tuple[float, float] = (0.0, math.inf)
    only_ego: bool = False
    finish: Callable[[Floats], list[Actor]] | None = None


def obstacle_rows(states: Floats, size: Size) -> Floats:
    """[P, 7] for `driver.Obstacle` from states [P, 6]."""
    x, y = states[:, 0], states[:, 1]
    vx, vy = (np.gradient(p, STEP_S) for p in (x, y))
    same = np.ones_like(x)
    return np.stack([x, y, states[:, 3], size[0] * same, size[1] * same, vx, vy], -1)


def corridor(scene: Scene, s: float, low_d: float, high_d: float, width_m: float) -> Floats:
    """[5] rectangle across the road at station `s`."""
    x, y, yaw = scene.path.beside(s, 0.5 * (low_d + high_d))
    return np.array([x, y, yaw + 0.5 * math.pi, high_d - low_d, width_m])
