"""Nobody is ever inside anybody: finds actors whose footprints meet, and leaves the more important one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Actor
from jwmtool.worlds.shapes.footprints import overlap
from jwmtool.worlds.traffic.ego import ego_rectangles

Floats = NDArray[np.float64]

MARGIN_M = 0.1
_EVERY = 3  # states: ten times a second
_CHUNK = 64  # moments at a time
_EGO_HEIGHT_M = 2.0


def overlapping(actors: list[Actor], ranks: list[int], ego: Floats) -> set[int]:
    """Which actors have to go: those that ever come within 0.1 m of the ego or of one of higher rank.

    Args:
        actors: all of them.
        ranks: [N], the larger the more important; of equals the earlier one stays.
        ego: [P, 6] its states.
    """
    pairs = meetings(actors, ego)
    gone = {i for i, j in pairs if j == len(actors)}
    for i, j in sorted(pairs, key=lambda p: (-max(_rank(ranks, p[0]), _rank(ranks, p[1])), p)):
        if j < len(actors) and i not in gone and j not in gone:
            gone.add(i if ranks[i] < ranks[j] else j)
    return gone


def _rank(ranks: list[int], index: int) -> int:
    return ranks[index] if index < len(ranks) else 1 << 30


def meetings(actors: list[Actor], ego: Floats, margin_m: float = MARGIN_M) -> list[tuple[int, int]]:
    """Pairs i < j that ever meet; index len(actors) is the ego. Who is well above the other does not count."""
    count = len(actors) + 1
    moments = np.unique(np.append(np.arange(0, len(ego), _EVERY), len(ego) - 1))
    middles = np.empty((count, len(moments), 5))
    low = np.empty((count, len(moments)))
    for k, actor in enumerate(actors):
        states = actor.states[moments] if len(actor.states) > 1 else np.repeat(actor.states, len(moments), 0)
        middles[k, :, :3] = states[:, [0, 1, 3]]
        middles[k, :, 3:] = actor.size[:2]
        low[k] = states[:, 2]
    middles[-1], low[-1] = ego_rectangles(ego[moments]), ego[moments, 2]
    high = low + np.array([a.size[2] for a in actors] + [_EGO_HEIGHT_M])[:, None]
    radius = 0.5 * np.hypot(middles[:, 0, 3], middles[:, 0, 4])
    moving = np.array([len(a.states) > 1 for a in actors] + [True])
    first, second = np.triu_indices(count, 1)
    either = moving[first] | moving[second]
    found = np.zeros(len(first), bool)
    # Static pairs stand still: one moment is enough for them.
    for part, rows in ((~either, [0]), (either, None)):
        i, j = first[part], second[part]
        hit = np.zeros(len(i), bool)
        span = range(0, 1) if rows else range(0, len(moments), _CHUNK)
        for begin in span:
            at = slice(begin, 1 if rows else begin + _CHUNK)
            x, y = middles[:, at, 0].astype(np.float32), middles[:, at, 1].astype(np.float32)
            reach = (radius[i] + radius[j] + margin_m + 0.01).astype(np.float32)[:, None]
            # Those whose ways' bounds are apart need no closer look.
            box = [x.min(1), x.max(1), y.min(1), y.max(1)]
            close = (box[0][i] - box[1][j] < reach[:, 0]) & (box[0][j] - box[1][i] < reach[:, 0])
            close &= (box[2][i] - box[3][j] < reach[:, 0]) & (box[2][j] - box[3][i] < reach[:, 0])
            near = np.nonzero(close & ~hit)[0]
            pair, moment = np.nonzero(
                (x[i[near]] - x[j[near]]) ** 2 + (y[i[near]] - y[j[near]]) ** 2 < reach[near] ** 2
            )
            pair, moment = near[pair], moment + begin
            a, b = i[pair], j[pair]
            together = overlap(middles[a, moment], middles[b, moment], margin_m)
            depth = np.minimum(high[a, moment], high[b, moment]) - np.maximum(low[a, moment], low[b, moment])
            hit[pair[together & (depth > 0.0)]] = True
        found[part] = hit
    return list(zip(first[found].tolist(), second[found].tolist(), strict=True))
