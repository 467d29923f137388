"""A prior for generation: a render whose holes are filled, and how much of it the scene covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.gaussians.rasterize import Rendering
from jwmtool.geometry.camera import Camera
from jwmtool.imaging.push_pull import push_pull

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FilledView:
    """What a scene shows of a view.

    Attributes:
        color: [H, W, 3] in [0, 1], without holes.
        coverage: [H, W] in [0, 1]: 1 where Gaussians, or the sky above the horizon, are what is seen.
    """

    color: Floats
    coverage: Floats


def fill_holes(
    rendering: Rendering,
    camera: Camera,  # pose in the world, z up
    has_sky: bool,
) -> FilledView:
    """Fill what the scene does not cover from what it covers nearby.

    Above the horizon, where no Gaussian is, the sky is seen; below it the sky would shine through a hole.

    Args:
        rendering: color with the sky behind it, and the Gaussians' alpha.
        has_sky: the scene has a sky.
    """
    color, alpha = (x.detach().cpu().numpy().astype(np.float32) for x in (rendering.color, rendering.alpha))
    above = camera.rays()[..., 2] > 0.0
    coverage = np.where(above & has_sky, np.float32(1.0), alpha).clip(0.0, 1.0)
    if not has_sky:
        return FilledView(push_pull(color, alpha), coverage)
    # Through thin Gaussians the sky tints their color: the less of them, the less it counts; and no sky fills the road.
    below = push_pull(color, alpha**2) if alpha.any() else color
    return FilledView(np.where(above[..., None], color, below), coverage)
