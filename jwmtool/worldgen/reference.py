"""What a scene shows from the recorded place nearest to a view: whole, but taken from elsewhere."""

# H, W: height and width, px.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.scene import Scene
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.rendering.filled import filled_view
from jwmtool.rendering.timeline import Timeline
from jwmtool.worldgen.carry import TRUST
from jwmtool.worldgen.carry import carried as carry

Floats = NDArray[np.float64]
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """For one view, or for several: [...] before the shapes below.

    Attributes:
        carried: [H, W, 3] in [0, 1], the picture from the nearest recorded place, carried to the view (`carry`).
        coverage: [H, W] in [0, 1], what of `carried` was in the picture.
        still: [H, W, 3] in [0, 1], the picture as it is.
        away_m: how far that place is; infinite before and after the recording.
    """

    carried: Picture
    coverage: Picture
    still: Picture
    away_m: NDArray[np.float32] | np.float32


def stacked(rows: Sequence[Sequence[Reference]]) -> Reference:
    """V rows of T as one of [V, T, ...]."""
    parts = (np.array([[getattr(cell, f.name) for cell in row] for row in rows], np.float32) for f in fields(Reference))
    return Reference(*parts)


class References:
    """Those of one scene; each camera's last picture is kept, since views next to each other share it.

    Args:
        scene: on the device that shall render, with a recorded path.
        timeline: of the scene.
    """

    def __init__(self, scene: Scene, timeline: Timeline) -> None:
        self._scene, self._timeline = scene, timeline
        self._last: dict[str, tuple[int, Camera, Picture]] = {}

    def of(self, camera: Camera, world_from_rig: Floats, name: str, time_us: int) -> Reference:
        """From the recorded place nearest to the rig's; of several, the latest.

        Args:
            camera: posed in the world, on the rig [4, 4].
            name: of the camera.
            time_us: of the view.
        """
        path, times_us = self._scene.ego_world_from_rig, self._scene.ego_times_us
        away_m = np.linalg.norm(path[:, :3, 3] - world_from_rig[:3, 3], axis=1)
        index = len(away_m) - 1 - int(away_m[::-1].argmin())
        pose = np.asarray(path[index], np.float64)
        last = self._last.get(name)
        if last is None or last[0] != index:
            source = replace(camera, world_from_cam=pose @ se3.inverse(world_from_rig) @ camera.world_from_cam)
            _, filled = filled_view(self._timeline, source, int(times_us[index]), name)
            last = self._last[name] = (index, source, np.ascontiguousarray(filled.color, np.float32))
        _, source, picture = last
        moved, coverage = carry(picture, source, pose, camera)
        recorded = times_us.min() <= time_us <= times_us.max()
        return Reference(
            moved, coverage / np.float32(TRUST), picture, np.float32(away_m[index] if recorded else np.inf)
        )
