"""Where bodies and lanes of a clip are, for drawing them into the views of another drive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip, Track
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.worldgen.drawing import boxes_at, draw_layout

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Tracks and lanes of a clip, set so that its start is that of the drive, in place and time.

    Attributes:
        tracks: in the layout's world and time.
        lanes: points [N, 3] along each line, in the layout's world.
        layout_from_world: [4, 4].
        delay_us: what is added to a time of the drive to have the layout's.
    """

    tracks: tuple[Track, ...]
    lanes: tuple[Floats, ...]
    layout_from_world: Floats
    delay_us: int

    @staticmethod
    def of_clip(clip: Clip, world_from_start: Floats, start_us: int) -> Layout:
        """Set a clip's first pose and time on those where a drive starts.

        Raises:
            InputError: the clip has no tracks.
        """
        if not clip.tracks:
            raise InputError(clip.root, "a clip with tracks as layout", "none (a clip of jwm world has them)")
        told = clip.extras.get("lanes", [])
        lanes = [np.asarray(lane["points"], np.float64) for lane in told if isinstance(lane, dict) and "points" in lane]
        first = clip.frames[0]
        return Layout(
            tuple(clip.tracks),
            tuple(points for points in lanes if points.ndim == 2 and points.shape[0] > 1 and points.shape[1] == 3),
            first.world_from_rig @ se3.inverse(world_from_start),
            first.time_us - start_us,
        )

    def draw(
        self,
        camera: Camera,  # in the drive's world
        time_us: int,  # of the drive
    ) -> NDArray[np.float32]:
        """See `draw_layout`."""
        then_us = time_us + self.delay_us
        moved = replace(camera, world_from_cam=self.layout_from_world @ camera.world_from_cam)
        return draw_layout(moved, boxes_at(self.tracks, then_us), self.lanes)
