"""Bodies of actors: a mesh, and limbs that swing as it walks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.shapes.mesh import Mesh

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Limb:
    """Vertices that swing about an axis across the body (y), with those of the limbs that hang on it.

    angle(phase) = rest + amplitude * sin(2 pi (phase + offset)), positive swings what is below forward.
    """

    vertices: NDArray[np.int64]  # indices into the mesh, those of limbs hanging on it included
    pivot: tuple[float, float, float]  # in the rest pose
    amplitude_rad: float
    offset: float  # in cycles
    rest_rad: float = 0.0


@dataclass(frozen=True)
class Figure:
    """A body in its own frame: x forward, y left, z up, origin on the ground under the middle of its box.

    `limbs` are ordered from the tips inwards (lower leg before upper leg): each is turned in its rest pose, then
    carried along by what it hangs on. A `grounded` body is lowered or raised so that its lowest point stays on the
    ground, as a walker's foot does.
    """

    mesh: Mesh
    limbs: tuple[Limb, ...] = ()
    grounded: bool = False

    def posed(self, phase: float) -> tuple[Floats, Floats]:
        """Vertices [V, 3] and normals [V, 3] at a phase of the gait (cycles)."""
        if not self.limbs:
            return self.mesh.vertices, self.mesh.normals
        vertices, normals = self.mesh.vertices.copy(), self.mesh.normals.copy()
        for limb in self.limbs:
            angle = limb.rest_rad + limb.amplitude_rad * math.sin(2.0 * math.pi * (phase + limb.offset))
            c, s = math.cos(angle), math.sin(angle)
            # Turning what hangs below towards +x is a rotation about -y.
            turn = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
            pivot = np.array(limb.pivot)
            vertices[limb.vertices] = (vertices[limb.vertices] - pivot) @ turn.T + pivot
            normals[limb.vertices] = normals[limb.vertices] @ turn.T
        if self.grounded:
            vertices[:, 2] -= vertices[:, 2].min()
        return vertices, normals
