"""The images that may be fitted, held in memory with their cameras in the scene frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.errors import InputError
from jwmtool.gaussians.exposure import Exposure
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera


@dataclass(frozen=True)
class View:
    """One image to fit.

    Attributes:
        frame, camera_name: where it stands in the clip.
        time_us: when it was taken.
        camera: in the scene frame.
        pixels: [H, W, 3] uint8.
        mask: [H, W] bool, False where the picture must be ignored; None: all counts.
    """

    frame: int
    camera_name: str
    time_us: int
    camera: Camera
    pixels: Tensor
    mask: Tensor | None

    def image(self, device: str) -> Tensor:
        """[H, W, 3] float32 in [0, 1]."""
        return self.pixels.to(device).float() / 255.0


def scene_frame(clip: Clip) -> NDArray[np.float64]:
    """world_from_scene [4, 4]: the ego's pose at the first frame, so that float32 coordinates stay small."""
    return se3.orthonormalized(clip.frames[0].world_from_rig)


def load_views(clip: Clip, world_from_scene: NDArray[np.float64]) -> list[View]:
    """Load every image on the fitting side of the split.

    Raises:
        InputError: nothing is left to fit.
    """
    scene_from_world = se3.inverse(world_from_scene)
    views = []
    for frame, name in clip.images(withheld=False):
        mask = clip.load_mask(frame, name)
        views.append(
            View(
                frame,
                name,
                clip.frames[frame].images[name].time_us,
                clip.camera_at(frame, name).in_frame(scene_from_world),
                torch.from_numpy(clip.load_image(frame, name).copy()),
                None if mask is None else torch.from_numpy(mask.copy()),
            )
        )
    if not views:
        raise InputError(clip.root, "images to fit", "that the split withholds them all")
    return views


def exposures(views: list[View], affine: Tensor) -> dict[str, Exposure]:
    """Color maps [V, 3, 4], one for each view, by camera and in the order of time; on the CPU, off the graph."""
    found = {}
    for name in dict.fromkeys(view.camera_name for view in views):
        rows = sorted((view.time_us, i) for i, view in enumerate(views) if view.camera_name == name)
        maps = affine.detach().cpu()[[i for _, i in rows]]
        found[name] = Exposure(np.array([time_us for time_us, _ in rows], np.int64), maps.clone())
    return found
