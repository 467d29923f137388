"""All triangles of a world in one set of arrays, each with its material, instance and class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.shapes.mesh import Mesh, merge
from jwmtool.worlds.shapes.surfaces import Class

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Solid:
    """A mesh in world coordinates with the labels of the truth; instance 0 is what cannot be counted or moved."""

    mesh: Mesh
    instance: int
    semantic: Class


@dataclass(frozen=True)
class Geometry:
    """Triangles ready to be cast against.

    Attributes:
        vertices: [V, 3] metres, world.
        faces: [F, 3] vertex indices, int32.
        texture: [V, 3] metres.
        normals: [V, 3] unit.
        surface: [F] row of `surfaces`, int32.
        instance: [F] int32.
        semantic: [F] uint8, a `Class`.
        surfaces: [S, 14] see `Surface.row`.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    texture: Floats
    normals: Floats
    surface: NDArray[np.int32]
    instance: NDArray[np.int32]
    semantic: NDArray[np.uint8]
    surfaces: Floats


def assemble(solids: Sequence[Solid]) -> Geometry:
    """Everything in one; solids without triangles vanish."""
    solids = [solid for solid in solids if len(solid.mesh.faces)]
    mesh = merge([solid.mesh for solid in solids])
    counts = [len(solid.mesh.faces) for solid in solids]
    return Geometry(
        mesh.vertices,
        mesh.faces,
        mesh.texture,
        mesh.normals,
        mesh.surface,
        np.repeat(np.array([solid.instance for solid in solids], np.int32), counts),
        np.repeat(np.array([solid.semantic for solid in solids], np.uint8), counts),
        mesh.surfaces,
    )
