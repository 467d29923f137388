"""One picture rendered from a scene, and all that it is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.errors import InputError
from jwmtool.imaging.similarity import SSIM_BORDER_PX
from jwmtool.metrics.depth import DepthTruth, true_depth
from jwmtool.metrics.moving import moving_regions
from jwmtool.metrics.scores import DepthPair, Pair
from jwmtool.rendering.frames import picture_of
from jwmtool.rendering.timeline import Timeline
from jwmtool.rendering.view import render_view

Key = tuple[int, str]  # frame, camera
Tick = Callable[[int, int], None]  # called with (done, total)


def scene_pair(timeline: Timeline, clip: Clip, key: Key, against: DepthTruth | None, moving: bool) -> Pair:
    """Render one picture of a clip.

    Args:
        timeline: of a scene on the device that shall render.
        clip: at the size at which to render.
        key: frame and camera.
        against: what depth is scored against; None: not at all.
        moving: also say where something moves.

    Raises:
        InputError: a picture, mask, sweep or truth is missing or damaged.
    """
    frame, name = key
    time_us, camera = clip.frames[frame].images[name].time_us, clip.camera_at(frame, name)
    with torch.no_grad():
        rendering = render_view(timeline.at(time_us, camera, name), camera, time_us, name)
    truth_m = None if against is None else true_depth(clip, frame, name, against)
    depth = None
    if truth_m is not None:
        depth = DepthPair(rendering.depth.cpu().numpy(), rendering.alpha.cpu().numpy(), truth_m)
    return Pair(
        frame,
        name,
        time_us,
        picture_of(rendering),
        clip.load_image(frame, name),
        picture_mask(clip, frame, name),
        depth,
        moving_regions(clip, frame, name) if moving else {},
    )


def picture_mask(clip: Clip, frame: int, name: str) -> NDArray[np.bool_] | None:
    """[H, W], False: ignore; None if all pixels count.

    Raises:
        InputError: the mask keeps nothing that can be scored.
    """
    mask = clip.load_mask(frame, name)
    inner = None if mask is None else mask[SSIM_BORDER_PX:-SSIM_BORDER_PX, SSIM_BORDER_PX:-SSIM_BORDER_PX]
    if inner is not None and not inner.any():
        raise InputError(clip.root / str(clip.frames[frame].images[name].mask), "a mask that keeps pixels", "none")
    return mask


def cameras_told(clip: Clip) -> str:
    """`1 camera`, `3 cameras`."""
    return f"{len(clip.cameras)} camera{'s' if len(clip.cameras) > 1 else ''}"
