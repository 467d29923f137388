"""Comparing scenes by their Gaussians alone, cell by cell: what is left where a scene has no tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.gaussians.model import Gaussians

CELL_M = 0.5  # edge of the smallest cells; each coarser level doubles it
_ACROSS = 2.0  # a Gaussian's cell is at least so many of its standard deviations wide
_FILLED = 0.25  # of a cell's face: then a surface runs through it
_FINER = 0.05  # log size
_FAINT = 0.1


@dataclass(frozen=True)
class _Level:
    """A scene's Gaussians in cells of one size: keys of cells sorted; of each the mean log size and log life span, and
    the covered share."""

    keys: NDArray[np.int64]
    log_size: NDArray[np.float64]
    log_life: NDArray[np.float64]
    filled: NDArray[np.float64]


def coarser_in_cells(scenes: Sequence[Gaussians]) -> list[Tensor]:
    """For each scene [N] bool: Gaussians that stand in a cell that another scene fills with finer ones.

    Args:
        scenes: in one frame.
    """
    levels = [_levels(g) for g in scenes]
    lost = [torch.zeros(len(g), dtype=torch.bool) for g in scenes]
    top = max((int(level.max()) for level, _ in levels if len(level)), default=-1)
    for k in range(top + 1):
        tables = [_table(g, level, size, k) for g, (level, size) in zip(scenes, levels, strict=True)]
        for i, (g, (level, _)) in enumerate(zip(scenes, levels, strict=True)):
            rows = np.flatnonzero(level == k)
            keys = _keys(g.means.numpy()[rows], k)
            own = _at(tables[i], keys)
            for j, table in enumerate(tables):
                if j == i:
                    continue
                size, life, filled = _at(table, keys)
                finer = own[0] - size
                # Of two as fine the one that fills the cell better, then the longer-lived, then the one given first.
                even = np.abs(finer) <= _FINER
                alike = filled == own[2]
                better = (filled > own[2]) | (alike & ((life > own[1]) | ((life == own[1]) & (j < i))))
                lost[i][rows] |= torch.from_numpy((filled > _FILLED) & ((finer > _FINER) | (even & better)))
    return lost


def _levels(gaussians: Gaussians) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """[N] the level of cells that each belongs to, -1 for what moves, fades or is faint; and its size, metres."""
    size = gaussians.scales.double().sort(1).values[:, 1:].log().mean(1).exp().numpy()
    level = np.ceil(np.log2(np.maximum(_ACROSS * size / CELL_M, 1.0))).astype(np.int64)
    stands = (gaussians.velocity == 0).all(1) & (gaussians.opacities > _FAINT)
    return np.where(stands.numpy(), level, -1), size


def _table(gaussians: Gaussians, level: NDArray[np.int64], size: NDArray[np.float64], k: int) -> _Level:
    rows = np.flatnonzero((level >= 0) & (level <= k))
    keys, index = np.unique(_keys(gaussians.means.numpy()[rows], k), return_inverse=True)
    weight = gaussians.opacities.double().numpy()[rows]
    total = np.bincount(index, weight, len(keys))
    log_size = np.bincount(index, weight * np.log(size[rows]), len(keys)) / np.maximum(total, 1e-9)
    life = np.bincount(index, weight * np.log(gaussians.time_sigma.double().numpy()[rows]), len(keys))
    area = np.bincount(index, weight * np.pi * (1.5 * size[rows]) ** 2, len(keys))
    log_life = life / np.maximum(total, 1e-9)
    return _Level(keys, log_size, log_life, area / (CELL_M * 2.0**k) ** 2)


def _keys(points: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """One number for the cell of each point [M, 3]: 21 bits an axis."""
    cell = np.floor(points.astype(np.float64) / (CELL_M * 2.0**k)).astype(np.int64) + (1 << 20)
    return (cell[:, 0] << 42) | (cell[:, 1] << 21) | cell[:, 2]


def _at(table: _Level, keys: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Mean log size, mean log life span and filled share of cells; nothing fills a cell that is not there."""
    if not len(table.keys):
        return np.zeros(len(keys)), np.zeros(len(keys)), np.zeros(len(keys))
    place = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
    there = table.keys[place] == keys
    return table.log_size[place], table.log_life[place], np.where(there, table.filled[place], 0.0)
