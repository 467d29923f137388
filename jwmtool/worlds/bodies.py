"""The bodies of everybody who moves, posed for a moment; those that nobody can see are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.geometry.camera import Camera
from jwmtool.worlds.description import STEP_S, Actor
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.figures.models import MODELS
from jwmtool.worlds.roads.terrain import states_between, world_from_state
from jwmtool.worlds.shapes.geometry import Geometry, Solid, assemble

Floats = NDArray[np.float64]

_NEAR_M = 40.0  # who is nearer than this counts wherever it is: mirrors, shadows
_LIDAR_M = 120.0
_SHADOW_M = 10.0  # how far shadows reach


@dataclass(frozen=True)
class Body:
    """One actor that moves."""

    actor: Actor
    instance: int
    figure: Figure

    def pose(self, time_s: float) -> Floats:
        """[4, 4] world from the figure's frame."""
        return world_from_state(states_at(self.actor, time_s))

    def posed(self, time_s: float) -> tuple[Floats, Floats]:
        """Vertices and normals [V, 3] in the world."""
        phase = np.interp(time_s, sample_times(len(self.actor.phase)), self.actor.phase)
        vertices, normals = self.figure.posed(float(phase))
        pose = self.pose(time_s)
        return vertices @ pose[:3, :3].T + pose[:3, 3], normals @ pose[:3, :3].T


class Bodies:
    """All of them, with the parts of their geometry that do not change."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self.all = tuple(bodies)
        self._rest = assemble([Solid(b.figure.mesh, b.instance, MODELS[b.actor.model].semantic) for b in bodies])
        self._vertex = np.cumsum([0, *(len(b.figure.mesh.vertices) for b in bodies)])
        self._face = np.cumsum([0, *(len(b.figure.mesh.faces) for b in bodies)])

    @property
    def num_triangles(self) -> int:
        """Of all."""
        return len(self._rest.faces)

    def in_sight(self, time_s: float, ego: Floats, cameras: Sequence[Camera], lidar: bool) -> list[int]:
        """Which may show, directly or by their shadow: near the ego [3], in a camera's view, in the lidar's range."""
        chosen = []
        for i, body in enumerate(self.all):
            place = body.pose(time_s)[:3, 3]
            away = float(np.hypot(*(place - ego)[:2]))
            reach = 0.5 * float(np.linalg.norm(body.actor.size)) + _SHADOW_M
            near = away < max(_NEAR_M, _LIDAR_M if lidar else 0.0)
            if near or any(_within_sides(camera, place, reach) for camera in cameras):
                chosen.append(i)
        return chosen

    def geometry(self, chosen: Sequence[int], time_s: float) -> Geometry:
        """Triangles of the chosen ones at a time."""
        posed = [self.all[i].posed(time_s) for i in chosen]
        g = self._rest
        starts = np.cumsum([0, *(len(vertices) for vertices, _ in posed)])
        rows = np.concatenate([np.arange(self._face[i], self._face[i + 1]) for i in chosen])
        points = np.concatenate([np.arange(self._vertex[i], self._vertex[i + 1]) for i in chosen])
        shift = np.repeat(
            [starts[k] - self._vertex[i] for k, i in enumerate(chosen)],
            [self._face[i + 1] - self._face[i] for i in chosen],
        )
        return Geometry(
            np.concatenate([vertices for vertices, _ in posed]),
            (g.faces[rows] + shift[:, None]).astype(np.int32),
            g.texture[points],
            np.concatenate([normals for _, normals in posed]),
            g.surface[rows],
            g.instance[rows],
            g.semantic[rows],
            g.surfaces,
        )

    def vertices(self, chosen: Sequence[int], time_s: float) -> Floats:
        """[V, 3] of the same triangles at another time."""
        return np.concatenate([self.all[i].posed(time_s)[0] for i in chosen])


def _within_sides(camera: Camera, place: Floats, reach_m: float) -> bool:
    """True if a ball about `place` may be between the left and right border of the picture."""
    x, _, z = camera.world_from_cam[:3, :3].T @ (place - camera.world_from_cam[:3, 3])
    for edge_px, sign in ((0.0, 1.0), (float(camera.width), -1.0)):
        slope = (edge_px - camera.K[0, 2]) / camera.K[0, 0]  # the border is the plane x = slope * z
        if sign * (x - slope * z) / np.hypot(1.0, slope) < -reach_m:
            return False
    return z > -reach_m


def sample_times(count: int) -> Floats:
    """Times of a description's samples."""
    return np.arange(count, dtype=np.float64) * np.float64(STEP_S)


def states_at(actor: Actor, times_s: ArrayLike) -> Floats:
    """[..., 6] states of an actor."""
    if len(actor.states) == 1:
        return np.broadcast_to(actor.states[0], (*np.shape(times_s), 6))
    return states_between(sample_times(len(actor.states)), actor.states, times_s)
