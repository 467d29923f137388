"""Starting a fit from a scene that is there already: its depth and sky take the place of stereo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.fitting.initialize import Guide, Start, covering_seeds
from jwmtool.fitting.settings import FitSettings
from jwmtool.fitting.views import load_views
from jwmtool.gaussians.rasterize import rasterize

_SOLID = 0.5  # alpha above which the scene knows a depth
_MOVES = 0.3  # alpha of what moves above which a pixel tells nothing about what stands
_LEAST_MPS = 0.3


@torch.no_grad()
def start_from_scene(scene: Scene, clip: Clip, settings: FitSettings, device: str = "cpu") -> Start:
    """Where `Fit` starts from a scene: pixels of the clip lifted to the scene's depth, each surface once.

    What moves is taken over as it is; nothing is lifted where it is seen.

    Args:
        scene: in the clip's world.

    Raises:
        InputError: nothing to fit.
    """
    views = load_views(clip, scene.world_from_scene)
    gaussians = scene.gaussians.to(device)
    fast = gaussians.velocity.norm(dim=1) > _LEAST_MPS
    moving = gaussians.select(fast.nonzero()[:, 0])
    guides = {}
    for index, view in enumerate(views):
        time_s = scene.seconds(view.time_us)
        whole = rasterize(gaussians, view.camera, time_s)
        confidence = whole.alpha * (whole.alpha > _SOLID)
        if len(moving):
            confidence = confidence * (rasterize(moving, view.camera, time_s).alpha < _MOVES)
        guides[index] = Guide(whole.depth.cpu(), confidence.cpu())
    seeds = covering_seeds(views, guides, None, settings)
    later_s = (scene.time_origin_us - clip.frames[0].time_us) * 1e-6  # `Fit` counts from the clip's first frame
    moving = moving.replace(time_mid=moving.time_mid + later_s).to("cpu")
    return Start(views, scene.world_from_scene, seeds, guides, moving, resized_sky(scene.sky, settings.sky_px))


def resized_sky(sky: Tensor | None, size: int) -> Tensor | None:
    """A cubemap [6, R, R, 3] at another size."""
    if sky is None:
        return None
    return interpolate(sky.permute(0, 3, 1, 2), size=(size, size), mode="area").permute(0, 2, 3, 1).contiguous()
