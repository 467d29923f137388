"""Render a list of views to pictures, one at a time, so that a long video needs no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.frame_meta import FrameMeta
from jwmtool.artifacts.scene import Scene
from jwmtool.gaussians.rasterize import Rendering
from jwmtool.imaging.colormap import depth_colors, gray
from jwmtool.rendering.bev import DEFAULT_SIZE, below_headroom, bird_view, render_bird
from jwmtool.rendering.compare import cover_resize, side_by_side
from jwmtool.rendering.paths import View
from jwmtool.rendering.timeline import Timeline
from jwmtool.rendering.view import NEAR_M, Origin, only_origin, render_view

Show = Literal["color", "depth", "alpha"]
MIN_ALPHA = 0.5  # below it, depth is that of a haze


@dataclass(frozen=True)
class Frame:
    """A picture and what is known of it."""

    image: NDArray[np.uint8]  # [H, W, 3]
    meta: FrameMeta


def render_frames(
    scene: Scene,
    views: Sequence[View],
    *,
    show: Show = "color",
    only: Origin | None = None,
    near_m: float = NEAR_M,
) -> Iterator[Frame]:
    """Render each view as color, depth (see `depth_colors`) or alpha."""
    timeline = Timeline(only_origin(scene, only))
    for view in views:
        with torch.no_grad():
            shown = timeline.at(view.shown_us, view.camera, view.camera_name)
            rendering = render_view(shown, view.camera, view.shown_us, view.camera_name, near_m=near_m)
        camera = view.camera
        meta = FrameMeta(
            view.time_us,
            view.camera_name,
            camera.world_from_cam,
            camera.K,
            (camera.width, camera.height),
            coverage=float(rendering.alpha.mean()),
            scene_time_us=view.scene_time_us,
        )
        yield Frame(picture_of(rendering, show), meta)


def picture_of(rendering: Rendering, show: Show = "color") -> NDArray[np.uint8]:
    """[H, W, 3] uint8."""
    if show == "alpha":
        return gray(rendering.alpha.detach().cpu().numpy())
    if show == "depth":
        alpha = rendering.alpha.detach().cpu().numpy()
        return depth_colors(np.where(alpha >= MIN_ALPHA, rendering.depth.detach().cpu().numpy(), 0.0))
    return (rendering.color.detach().clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).cpu().numpy()


def compare_frames(frames: Iterator[Frame], clip: Clip, camera: str, difference: bool = False) -> Iterator[Frame]:
    """Put each frame beside the picture that `camera` took nearest in time."""
    keys = [i for i, frame in enumerate(clip.frames) if camera in frame.images]
    times_us = np.array([clip.frames[i].images[camera].time_us for i in keys], np.int64)
    for frame in frames:
        key = keys[int(np.abs(times_us - frame.meta.time_us).argmin())]
        height, width = frame.image.shape[:2]
        recorded = cover_resize(clip.load_image(key, camera), width, height)
        shown = " (withheld)" if clip.split.withholds(key, camera) else ""
        labels = ("rendered", f"recorded: frame {key}{shown}")
        image = side_by_side(frame.image, recorded, labels, difference)
        yield Frame(image, replace(frame.meta, K=None, size=None))


def bird_frames(
    scene: Scene,
    views: Sequence[View],
    egos: NDArray[np.float64],  # [F, 4, 4], world_from_rig of each view
    path: NDArray[np.float64] | None = None,  # [P, 4, 4], all the path to draw; None: `egos`
    *,
    size: tuple[int, int] | None = None,
    only: Origin | None = None,
) -> Iterator[Frame]:
    """The scene from above, once a view, with the whole path and where the ego is."""
    path = egos if path is None else path
    bird = bird_view(path, size or DEFAULT_SIZE)
    timeline = Timeline(below_headroom(only_origin(scene, only), path))
    camera = bird.camera
    for view, ego in zip(views, egos, strict=True):
        with torch.no_grad():
            image, coverage = render_bird(timeline.at(view.shown_us), bird, view.shown_us, path, ego)
        meta = FrameMeta(
            view.time_us,
            None,
            camera.world_from_cam,
            camera.K,
            (camera.width, camera.height),
            coverage=coverage,
            scene_time_us=view.scene_time_us,
        )
        yield Frame(image, meta)
