"""Traffic lights: each arm of a junction has its own green, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Network

RED, AMBER, GREEN = 0, 1, 2
AMBER_S = 2.5
CLEAR_S = 1.5  # all red between two arms


@dataclass(frozen=True)
class Cycle:
    """One group's light: green from `start_s` in every cycle, then amber, then red."""

    start_s: float
    green_s: float
    cycle_s: float


@dataclass(frozen=True)
class SignalPlan:
    """The lights of all groups at any time."""

    cycles: tuple[Cycle, ...]

    def colors(self, times_s: NDArray[np.float64]) -> NDArray[np.int8]:
        """[..., G] at times [...]."""
        times = np.asarray(times_s, np.float64)
        out = np.zeros((*times.shape, len(self.cycles)), np.int8)
        for g, c in enumerate(self.cycles):
            since = np.mod(times - c.start_s, c.cycle_s)
            out[..., g] = np.where(since < c.green_s, GREEN, np.where(since < c.green_s + AMBER_S, AMBER, RED))
        return out

    def red_for(self, group: int, time_s: float) -> float:
        """Seconds the group stays red from now, 0 if it is not."""
        c = self.cycles[group]
        since = (time_s - c.start_s) % c.cycle_s
        return c.cycle_s - since if since >= c.green_s + AMBER_S else 0.0


def make_signals(network: Network, greens_s: dict[int, tuple[int, float, float]], stream: Stream) -> SignalPlan:
    """Draw the lights; at the nodes in `greens_s` (node: arm, from, until) that arm is green at those times."""
    cycles: list[Cycle] = [Cycle(0.0, 1.0, 10.0)] * network.num_groups
    for node in network.nodes:
        if node.first_group < 0:
            continue
        draw = stream.sub(node.id)
        greens = [draw.uniform(6.0, 9.0) for _ in node.arms]
        wanted = greens_s.get(node.id)
        if wanted is not None:
            arm, first_s, last_s = wanted
            greens[arm] = max(greens[arm], last_s - first_s)
        starts = np.concatenate([[0.0], np.cumsum([g + AMBER_S + CLEAR_S for g in greens])])
        shift = draw.uniform(0.0, float(starts[-1]))
        if wanted is not None:
            arm, first_s, last_s = wanted
            shift = 0.5 * (first_s + last_s - greens[arm]) - float(starts[arm])
        for arm, green in enumerate(greens):
            cycles[node.first_group + arm] = Cycle(float(starts[arm]) + shift, green, float(starts[-1]))
    return SignalPlan(tuple(cycles))
