"""What the network makes of a window of views: Gaussians, a sky, an exposure for each view, and its coarse depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jwmtool.gaussians.exposure import apply_exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.gaussians.rasterize import Rendering, rasterize
from jwmtool.gaussians.sky import sample_sky
from jwmtool.geometry.camera import Camera
from jwmtool.worldrec.surfels import Pixels

if TYPE_CHECKING:
    from jwmtool.worldrec.queries import Queries


@dataclass(frozen=True)
class DepthMaps:
    """Coarse depth of V views.

    Attributes:
        inverse: [V, H, W] inverse z-depth, 1/m; 0 is infinitely far.
        log_error: [V, H, W] log of the expected absolute error of the log depth; small: certain.
        sky: [V, H, W] logit of being sky.
        plane_logits: [V, D, H/4, W/4] of the inverse-depth planes, for the loss.
    """

    inverse: Tensor
    log_error: Tensor
    sky: Tensor
    plane_logits: Tensor


@dataclass(frozen=True)
class Motion:
    """Velocities of the M queries that were swept (see motion.py).

    Attributes:
        rows: [M] which queries.
        velocity: [M, 3] scene frame, m/s.
        logits: [M, H] of the velocities tried; tried: [H, 3].
    """

    rows: Tensor
    velocity: Tensor
    logits: Tensor
    tried: Tensor


@dataclass(frozen=True)
class Reconstruction:
    """A window's scene, still on the graph.

    Attributes:
        gaussians: in the views' scene frame; times in seconds since its time origin.
        sky: cubemap [6, R, R, 3], axes of the scene frame.
        exposure: [V, 3, 4] affine color map of each view; identity at the start of training.
        depth: coarse depth of each view.
        pixels: of the Q queries; owner: [N] the query that each Gaussian came from; motion: what was found to move;
            queries: as aggregation left them. None where the method has none.
    """

    gaussians: Gaussians
    sky: Tensor
    exposure: Tensor
    depth: DepthMaps
    pixels: Pixels | None = None
    owner: Tensor | None = None
    motion: Motion | None = None
    queries: Queries | None = None

    def render(self, camera: Camera, time_s: float, exposure: Tensor | None = None) -> tuple[Tensor, Rendering]:
        """The picture [H, W, 3] with sky and exposure ([3, 4], none: as is), not clamped; and the bare rendering."""
        bare = rasterize(self.gaussians, camera, time_s)
        rays = torch.from_numpy(camera.rays()).float().to(bare.color.device)
        color = bare.color + (1.0 - bare.alpha)[..., None] * sample_sky(self.sky, rays)
        return color if exposure is None else apply_exposure(color, exposure), bare
