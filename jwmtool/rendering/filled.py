"""A view of a scene at any time, as rendered and without holes."""

from __future__ import annotations

import torch

from jwmtool.gaussians.rasterize import Rendering
from jwmtool.geometry.camera import Camera
from jwmtool.rendering.holes import FilledView, fill_holes
from jwmtool.rendering.timeline import Timeline
from jwmtool.rendering.view import render_view


@torch.no_grad()
def filled_view(
    timeline: Timeline,  # on the device that renders
    camera: Camera,  # posed in the world
    time_us: int,
    name: str,  # of the camera
) -> tuple[Rendering, FilledView]:
    """Render, and fill the holes; colors of the latter in [0, 1]."""
    scene = timeline.at(time_us, camera, name)
    rendering = render_view(scene, camera, time_us, name)
    filled = fill_holes(rendering, camera, scene.sky is not None)
    return rendering, FilledView(filled.color.clip(0.0, 1.0), filled.coverage.clip(0.0, 1.0))
