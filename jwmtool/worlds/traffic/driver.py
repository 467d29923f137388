"""A simple driver: keeps its distance (IDM), its speed in curves, stops at lines, takes its turn in junctions.

Everybody decides ten times a second. Leaders are found by geometry: whoever's rectangle lies in the corridor of my own
way ahead, whatever way it follows itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.traffic.routes import Routes
from jwmtool.worlds.traffic.signals import AMBER, GREEN, SignalPlan

Floats = NDArray[np.float64]

TICK_S = 0.1
_SPEED_UP, _SLOW_DOWN = 1.6, 2.0  # comfortable, m/s2
HARDEST_MPS2 = 7.0
STEADY_S = 3.0
NOWHERE_M = 1e4  # lateral offset of who has not entered the world yet
_STAND_M, _LINE_M = 2.0, 0.8  # gaps at a stand behind a car, before a line
_FORESIGHT_S = 0.9
_SIDE_M = 0.3  # air wanted beside whoever is passed
# Places ahead that are looked at, in grid cells (metres).
_LOOK = np.concatenate([np.arange(0, 40, 2), np.arange(40, 136, 3)])
_PAD_M = 1.6  # half their spacing, so that small obstacles between two are not missed


@dataclass
class Car:
    """One vehicle to drive: who it is and where it starts. `s` is the middle of its footprint."""

    model: str
    size: tuple[float, float, float]
    seed: int
    circuit: int
    s: float
    share: float  # of the speed limit that it wants
    headway_s: float = 1.2
    d: float = 0.0  # beside its circuit, left positive
    role: str = "traffic"  # ego, lead, traffic or event
    d_after: float = 0.0  # where an event sends it
    move_from_s: float = np.inf  # when it begins to move over
    move_for_s: float = 1.0
    move_from_m: float = np.inf  # or: it moves over between this station and `move_over_m` beyond
    move_over_m: float = 0.0
    shadow_m: float | None = None  # keep this far ahead of the ego (middle to middle) until `shadow_until_s`
    shadow_until_s: float = np.inf
    share_after: float | None = None  # its speed from then on
    starts_at_s: float = -np.inf  # stands until then
    starts_standing: bool = False
    steady_from_s: float = np.inf  # keeps its speed for STEADY_S from then on, whatever comes

    def offset(self, times_s: Floats | float, s: Floats | float) -> Floats:
        """[...] metres beside its circuit at times and stations."""
        if self.move_over_m > 0:
            part = np.clip((np.asarray(s, np.float64) - self.move_from_m) / self.move_over_m, 0.0, 1.0)
        else:
            part = np.clip((np.asarray(times_s, np.float64) - self.move_from_s) / self.move_for_s, 0.0, 1.0)
        return self.d + (self.d_after - self.d) * part * part * part * (10.0 - 15.0 * part + 6.0 * part * part)


@dataclass
class Line:
    """A line across the road that traffic must not cross while it is closed: a zebra in use, an event's place."""

    stations: list[tuple[int, float]]  # circuit, station
    setback_m: float  # stop this far before it
    hardest_mps2: float  # who would have to brake harder goes on
    closed: bool = False
    only_ego: bool = False


@dataclass
class Obstacle:
    """Something whose way is already decided: `rows` [P, 7] x, y, yaw, length, width, vx, vy at each tick."""

    rows: Floats


@dataclass
class Record:
    """What came out: [ticks, N] stations, speeds and accelerations at `times_s`."""

    times_s: Floats
    s: Floats
    v: Floats
    a: Floats


@dataclass
class Simulation:
    """All vehicles of a world; car 0 is the ego. `s` and `v` are the present state."""

    routes: Routes
    cars: list[Car]
    plan: SignalPlan
    lines: list[Line] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    ego_first: bool = False  # the ego has the right of way at junctions without signals

    def __post_init__(self) -> None:
        count = len(self.cars)
        self.circuit = np.array([c.circuit for c in self.cars])
        self.s = np.array([c.s for c in self.cars])
        self.length = np.array([c.size[0] for c in self.cars])
        self.width = np.array([c.size[1] for c in self.cars])
        self.headway = np.array([c.headway_s for c in self.cars])
        self.share = np.array([c.share for c in self.cars])
        self.v = self.share * self.routes.limit_at(self.circuit, self.s)
        self.v[[c.starts_standing for c in self.cars]] = 0.0
        self.a = np.zeros(count)
        self.d = np.array([c.d for c in self.cars])
        self.d_soon = self.d.copy()
        self.gap, self.leader = np.full(count, np.inf), np.full(count, -1)  # as last seen; -1: nobody
        self.tick = 0
        passages = self.routes.passages
        most = max(1, *(sum(p.circuit == c for p in passages) for c in range(len(self.routes.lengths))))
        self._passage = np.full((len(self.routes.lengths), most), -1)
        for c in range(len(self.routes.lengths)):
            mine = [k for k, p in enumerate(passages) if p.circuit == c]
            self._passage[c, : len(mine)] = mine
        self._stop = np.array([p.stop_m for p in passages] + [np.nan])  # the last one stands for none
        self._held: dict[tuple[int, int], float] = {}  # (car, passage): its station when it has left the junction

        for _ in range(3):  # nobody begins too fast for who is ahead
            gap, lead_v, _ = self._leaders()
            self.v = np.minimum(self.v, np.sqrt(lead_v**2 + 2.0 * _SLOW_DOWN * np.maximum(gap - 3.0, 0.0)))

    def run(self, times_s: Floats, on_tick: Callable[[Simulation, float], None]) -> Record:
        """Drive through all times (a tick apart); `on_tick(simulation, time)` may close lines and add obstacles."""
        shape = (len(times_s), len(self.cars))
        record = Record(times_s, np.empty(shape), np.empty(shape), np.empty(shape))
        for self.tick, time in enumerate(times_s.tolist()):
            for i, car in enumerate(self.cars):
                if time >= car.move_from_s:
                    soon = self.s[i] + max(self.v[i], 4.0) * _FORESIGHT_S
                    self.d[i], self.d_soon[i] = car.offset(time, self.s[i]), car.offset(time + _FORESIGHT_S, soon)
                    if car.move_over_m > 0 and time > car.starts_at_s + _FORESIGHT_S:
                        self.d_soon[i] = car.d_after  # it has been indicating long enough
                if car.share_after is not None and time >= car.shadow_until_s:
                    self.share[i] = car.share_after
            on_tick(self, time)
            wanted = self._acceleration(time)
            change = np.clip(wanted - self.a, -np.where(wanted < -4.0, 30.0, 14.0) * TICK_S, 6.0 * TICK_S)
            a = np.clip(self.a + change, -HARDEST_MPS2, 3.0)
            faster = np.maximum(self.v + a * TICK_S, 0.0)
            self.a = (faster - self.v) / TICK_S
            record.s[self.tick], record.v[self.tick], record.a[self.tick] = self.s, self.v, self.a
            self.s = self.s + 0.5 * (self.v + faster) * TICK_S
            self.v = faster
        return record

    def rectangles(self) -> Floats:
        """[N, 7] x, y, yaw, length, width, vx, vy of all cars."""
        x, y, c, s = self.routes.grid[self.routes.rows(self.circuit, self.s)].T
        into = np.mod(self.s, self.routes.lengths[self.circuit]) % self.routes.steps[self.circuit]
        x, y = x + into * c - self.d * s, y + into * s + self.d * c
        return np.column_stack([x, y, np.arctan2(s, c), self.length, self.width, self.v * c, self.v * s])

    def _acceleration(self, time_s: float) -> Floats:
        """[N] what everybody wants, m/s2."""
        wish = np.maximum(self.share * self.routes.limit_at(self.circuit, self.s + 0.5 * self.v), 0.3)
        ratio = self.v / wish
        free = np.where(ratio < 1.0, _SPEED_UP * (1.0 - ratio**4), np.maximum(-1.5 * (ratio - 1.0) * 4.0, -2.5))
        gap, lead_v, lead_a = self._leaders()
        self.gap = gap
        # The model brakes as if in panic when somebody moves in close ahead at the same speed; what the laws of motion
        # ask for is enough.
        needed = np.maximum(self.v - lead_v, 0.0) ** 2 / (2.0 * np.maximum(gap - _STAND_M, 0.3))
        way = np.maximum(gap - _STAND_M, 0.3) + lead_v**2 / (2.0 * np.maximum(-lead_a, 0.1))
        needed = np.where(lead_a < -1.0, np.maximum(needed, self.v**2 / (2.0 * way)), needed)
        a = free + np.maximum(_brake(self.v, gap, lead_v, self.headway, _STAND_M), -(1.25 * needed + 2.0))
        line = self._line_distance(time_s, gap, lead_v)
        needed = self.v**2 / (2.0 * np.maximum(line - 0.5 * _LINE_M, 0.1))
        stop = _brake(self.v, line, np.zeros_like(line), np.full_like(line, 0.6), _LINE_M)
        a = np.minimum(a, free + np.maximum(stop, -(1.2 * needed + 0.4 + np.maximum(free, 0.0))))
        for i, car in enumerate(self.cars):
            if car.shadow_m is not None and time_s < car.shadow_until_s:
                pull = 0.8 * (self.v[0] - self.v[i]) + 0.25 * (self.s[0] + car.shadow_m - self.s[i])
                a[i] = min(pull, 2.5, a[i] if a[i] < -2.0 else 2.5)
            if time_s < car.starts_at_s:
                a[i] = -3.0
            if car.steady_from_s <= time_s < car.steady_from_s + STEADY_S:
                a[i] = 0.0
        return a

    def _leaders(self) -> tuple[Floats, Floats, Floats]:
        """[N] each: gap from my front to the nearest in my way (inf: free), its speed along my way, its braking."""
        count, routes = len(self.cars), self.routes
        me = others = self.rectangles()
        moving_over = self.d_soon - self.d
        if moving_over.any():  # who moves over is seen where it will be
            others = me.copy()
            others[:, 0] -= moving_over * np.sin(me[:, 2])
            others[:, 1] += moving_over * np.cos(me[:, 2])
        if self.obstacles:
            extra = np.stack([o.rows[min(self.tick, len(o.rows) - 1)] for o in self.obstacles])
            others = np.concatenate([others, extra])
        dx, dy = others[None, :, 0] - me[:, None, 0], others[None, :, 1] - me[:, None, 1]
        reach = 30.0 + 3.4 * self.v
        near = dx * dx + dy * dy < (reach * reach)[:, None]
        near[np.arange(count), np.arange(count)] = False
        # Cars on my own circuit far behind me cannot be ahead, unless the loop is short; geometry decides the rest.
        cos, sin = np.cos(me[:, 2]), np.sin(me[:, 2])
        straight = np.abs(dx * sin[:, None] - dy * cos[:, None]) < 60.0
        i, j = np.nonzero(near & straight)
        gap, speed, slowing = np.full(count, np.inf), np.zeros(count), np.zeros(count)
        if not len(i):
            return gap, speed, slowing
        first = (np.mod(self.s, routes.lengths[self.circuit]) / routes.steps[self.circuit]).astype(np.int64)
        cells = (first[:, None] + _LOOK) % routes.counts[self.circuit][:, None] + routes.offsets[self.circuit][:, None]
        place = routes.grid[cells]  # [N, K, 4]
        px = place[..., 0] - self.d[:, None] * place[..., 3]
        py = place[..., 1] + self.d[:, None] * place[..., 2]
        o = others[j]
        oc, os = np.cos(o[:, 2])[:, None], np.sin(o[:, 2])[:, None]
        qx, qy = px[i] - o[:, 0:1], py[i] - o[:, 1:2]
        pad = np.clip(_PAD_M - 0.5 * o[:, 3:4], 0.0, _PAD_M)
        inside = np.abs(oc * qx + os * qy) < 0.5 * o[:, 3:4] + pad
        inside &= np.abs(-os * qx + oc * qy) < 0.5 * (o[:, 4:5] + self.width[i][:, None]) + _SIDE_M
        hit = inside.any(1)
        i, j, k, o = i[hit], j[hit], inside.argmax(1)[hit], o[hit]
        its_a = np.append(self.a, np.zeros(len(others) - count))[j]
        px, py, pc, ps = px[i, k], py[i, k], place[i, k, 2], place[i, k, 3]
        back = (o[:, 0] - px) * pc + (o[:, 1] - py) * ps
        turn = np.cos(o[:, 2]) * pc + np.sin(o[:, 2]) * ps
        half = 0.5 * (np.abs(turn) * o[:, 3] + np.sqrt(np.maximum(1.0 - turn * turn, 0.0)) * o[:, 4])
        into = np.mod(self.s[i], routes.lengths[self.circuit[i]]) - first[i] * routes.steps[self.circuit[i]]
        middle = _LOOK[k] * routes.steps[self.circuit[i]] - into + back  # from my middle to its middle
        # Oncoming cars keep to their lanes, however close these are in a bend; obstacles may be in mine.
        ahead = (middle > 0.3) & ((turn > -0.3) | (j >= count))
        free_m = np.maximum(middle - half - 0.5 * self.length[i], 0.05)
        along = np.maximum(o[:, 5] * pc + o[:, 6] * ps, 0.0)
        order = np.argsort(-free_m[ahead], kind="stable")  # the nearest is written last
        gap[i[ahead][order]] = free_m[ahead][order]
        speed[i[ahead][order]] = along[ahead][order]
        self.leader[:] = -1
        self.leader[i[ahead][order]] = j[ahead][order]
        slowing[i[ahead][order]] = its_a[ahead][order]
        return gap, speed, slowing

    def _line_distance(self, time_s: float, gap: Floats, lead_v: Floats) -> Floats:
        """[N] from my front to the next line at which I have to stop, inf without.

        `gap`, `lead_v`: of whoever is ahead of me.
        """
        front = self.s + 0.5 * self.length
        result = np.full(len(self.cars), np.inf)
        for line in self.lines:
            if not line.closed:
                continue
            for c, station in line.stations:
                cars = np.nonzero(self.circuit == c)[0][: 1 if line.only_ego else None]
                if line.only_ego:
                    cars = cars[cars == 0]
                lap = self.routes.lengths[c]
                ahead = np.mod(station - line.setback_m - front[cars] + 15.0, lap) - 15.0
                able = self.v[cars] ** 2 < 2.0 * line.hardest_mps2 * np.maximum(ahead - 0.3, 0.05)
                able &= (ahead < 150.0) & (ahead > -max(1.5, line.setback_m - 3.0))
                result[cars] = np.where(able, np.minimum(result[cars], np.maximum(ahead, 0.05)), result[cars])
        for key in [key for key, leaves in self._held.items() if self.s[key[0]] > leaves]:
            del self._held[key]
        if not self.routes.passages:
            return result
        passage = self._passage[self.circuit]
        ahead = np.mod(self._stop[passage] - front[:, None] + 2.0, self.routes.lengths[self.circuit][:, None]) - 2.0
        close = (passage >= 0) & (ahead < (12.0 + 0.4 * self.v**2)[:, None]) & (ahead > -1.0)
        close &= (np.abs(self.d) < 0.5 * NOWHERE_M)[:, None]
        colors = self.plan.colors(np.array(time_s))
        requests = [(float(ahead[i, n]), int(i), int(passage[i, n])) for i, n in np.argwhere(close)]
        for distance, i, k in sorted(requests):
            room = float(gap[i]) - distance if lead_v[i] < 3.0 else np.inf
            if (i, k) not in self._held and not self._enters(i, k, distance, room, colors):
                result[i] = min(result[i], max(distance, 0.05))
        return result

    def _ego_comes(self, k: int) -> bool:
        """Whether a passage has to be left to the ego, which is on its way there."""
        if not self.ego_first or self.v[0] < 2.5:
            return False
        nose, lap = float(self.s[0]) + 0.5 * float(self.length[0]), float(self.routes.lengths[0])
        for other in self._passage[0]:
            if other >= 0 and self.routes.excludes[k, other]:
                return bool((self._stop[other] - nose + 2.0) % lap < 15.0 + 5.0 * self.v[0])
        return False

    def _enters(self, i: int, k: int, distance_m: float, room_m: float, colors: NDArray[np.int8]) -> bool:
        """Whether a car may drive into a junction, or has to; if so, the junction is kept for it.

        `room_m`: from the stop line on until somebody slow; who could not leave the junction again waits before it.
        """
        p, v = self.routes.passages[k], float(self.v[i])
        needed = v * v / (2.0 * max(distance_m - 0.3, 0.05))
        color = int(colors[p.group]) if p.group >= 0 else GREEN
        may = color == GREEN or (color == AMBER and needed > 3.0)
        may &= distance_m < 8.0 + 0.25 * v * v
        may &= room_m > p.exit_m - p.stop_m + self.length[i] + 2.0
        may &= not any(self.routes.excludes[k, other] for car, other in self._held if car != i)
        may &= not (i > 0 and self._ego_comes(k))
        if not may and needed <= HARDEST_MPS2:
            return False
        self._held[(i, k)] = float(self.s[i]) + self.length[i] + distance_m + p.exit_m - p.stop_m
        return True


def _brake(v: Floats, gap: Floats, lead_v: Floats, headway_s: Floats, stand_m: float) -> Floats:
    """The braking term of the intelligent driver model (Treiber et al., 2000)."""
    wanted = stand_m + np.maximum(0.0, v * headway_s + v * (v - lead_v) / (2.0 * np.sqrt(_SPEED_UP * _SLOW_DOWN)))
    return -_SPEED_UP * (wanted / gap) ** 2
