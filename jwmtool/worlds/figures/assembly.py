"""Puts a body together from parts that hang on joints, and fits it into its box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.figures.figure import Figure, Limb
from jwmtool.worlds.shapes.loft import fitted
from jwmtool.worlds.shapes.mesh import Mesh, merge

Floats = NDArray[np.float64]
NUM_PHASES = 8  # at which the box of a gait is measured


@dataclass(frozen=True)
class Joint:
    """See `Limb`; `parent` is the joint it hangs on, None the trunk."""

    pivot: tuple[float, float, float]
    amplitude_rad: float
    offset: float
    rest_rad: float
    parent: str | None


class Assembly:
    """Parts and joints of one body while it is being made."""

    def __init__(self) -> None:
        self._parts: list[Mesh] = []
        self._owners: list[NDArray[np.int64]] = []  # joint number of each vertex, -1 the trunk
        self._joints: dict[str, Joint] = {}

    def joint(
        self,
        name: str,
        pivot: tuple[float, float, float],
        amplitude_rad: float = 0.0,
        offset: float = 0.0,
        rest_rad: float = 0.0,
        parent: str | None = None,
    ) -> None:
        """A joint; those it hangs on come first."""
        self._joints[name] = Joint(pivot, amplitude_rad, offset, rest_rad, parent)

    def add(self, mesh: Mesh, joint: str | None = None, lower: tuple[str, ...] = ()) -> None:
        """A part that moves with a joint; what is below the pivot of one of `lower` (from the top) moves with that."""
        names = list(self._joints)
        owner = np.full(len(mesh.vertices), names.index(joint) if joint else -1)
        for name in lower:
            owner[mesh.vertices[:, 2] < self._joints[name].pivot[2] + 1e-6] = names.index(name)
        self._parts.append(mesh)
        self._owners.append(owner)

    def figure(self, size: tuple[float, float, float], grounded: bool = False) -> Figure:
        """The body, stretched so that over its whole gait it fills the box of `size`."""
        mesh, owner = merge(self._parts), np.concatenate(self._owners)
        names = list(self._joints)
        limbs = []
        for name in reversed(names):  # tips first
            carried = [i for i, other in enumerate(names) if self._hangs_on(other, name)]
            vertices = np.nonzero(np.isin(owner, carried))[0].astype(np.int64)
            joint = self._joints[name]
            limbs.append(Limb(vertices, joint.pivot, joint.amplitude_rad, joint.offset, joint.rest_rad))
        figure = Figure(mesh, tuple(limbs), grounded)
        for _ in range(12 if limbs else 1):  # turning and stretching do not quite commute
            figure = _fit(figure, size)
        return figure

    def _hangs_on(self, joint: str | None, ancestor: str) -> bool:
        while joint is not None:
            if joint == ancestor:
                return True
            joint = self._joints[joint].parent
        return False


def _fit(figure: Figure, size: tuple[float, float, float]) -> Figure:
    phases = np.arange(NUM_PHASES) / NUM_PHASES if figure.limbs else [0.0]
    poses = [figure.posed(float(phase))[0] for phase in phases]
    low, high = np.min([p.min(0) for p in poses], 0), np.max([p.max(0) for p in poses], 0)
    middle = np.array([0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), low[2]])
    factors = np.asarray(size) / (high - low)
    limbs = [replace(limb, pivot=_tuple((np.array(limb.pivot) - middle) * factors)) for limb in figure.limbs]
    return replace(figure, mesh=fitted(figure.mesh, size, low, high), limbs=tuple(limbs))


def _tuple(point: Floats) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in point)
    return x, y, z


def swing(degrees: float) -> float:
    """Degrees as radians, for tables of gaits."""
    return math.radians(degrees)
