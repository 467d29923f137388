"""One view of a scene as a camera would record it: Gaussians, then sky behind them, then exposure."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from jwmtool.artifacts.scene import Scene
from jwmtool.gaussians.exposure import apply_exposure
from jwmtool.gaussians.rasterize import Rendering, rasterize
from jwmtool.gaussians.sky import sample_sky
from jwmtool.geometry.camera import Camera

Origin = Literal["observed", "imagined"]
NEAR_M = 0.01


def render_view(
    scene: Scene,
    camera: Camera,  # pose in the world
    time_us: int,
    camera_name: str | None = None,
    *,
    near_m: float = NEAR_M,
    only: Origin | None = None,
) -> Rendering:
    """Render a view; differentiable where the scene's tensors are.

    Args:
        scene: on the device that shall do the work.
        camera: intrinsics, size and world pose.
        time_us: the moment to show.
        camera_name: whose exposure to apply; None, or a camera without one: none.
        near_m: what is nearer is cut away.
        only: keep only Gaussians that were observed, or only those that were imagined. For many views, filter once
            with `only_origin`.

    Returns:
        color [H, W, 3] in [0, 1] with sky and exposure; depth [H, W] and alpha [H, W] of the Gaussians alone.
    """
    scene = only_origin(scene, only)
    local = scene.local(camera)
    rendering = rasterize(scene.gaussians, local, scene.seconds(time_us), near_m=near_m)
    color = rendering.color
    if scene.sky is not None:
        directions = torch.from_numpy(local.rays()).to(color)
        color = color + (1.0 - rendering.alpha)[..., None] * sample_sky(scene.sky.to(color), directions)
    exposure = scene.exposure.get(camera_name) if camera_name is not None else None
    if exposure is not None:
        color = apply_exposure(color, exposure.at(time_us).to(color))
    return Rendering(color.clamp(0.0, 1.0), rendering.depth, rendering.alpha)


def only_origin(scene: Scene, only: Origin | None) -> Scene:
    """The scene with only its observed or only its imagined Gaussians (and, if only imagined, no sky)."""
    if only is None:
        return scene
    keep = (scene.gaussians.imagined != 0) == (only == "imagined")
    sky = scene.sky if only == "observed" else None
    return replace(scene, gaussians=scene.gaussians.select(keep), sky=sky)


def on_device(scene: Scene, device: str) -> Scene:
    """The scene with what is heavy moved to `device` (the Gaussians decide where a view is rendered)."""
    sky = None if scene.sky is None else scene.sky.to(device)
    return replace(scene, gaussians=scene.gaussians.to(device), sky=sky)
