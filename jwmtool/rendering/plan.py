"""What `jwm render` does: choose views, frames and rate from the request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.trajectory import Offset, Trajectory
from jwmtool.rendering.frames import Frame, Show, bird_frames, compare_frames, render_frames
from jwmtool.rendering.paths import (
    View,
    choose_camera,
    ego_path,
    frozen_views,
    path_views,
    recorded_views,
    resolve_trajectory,
    shifted_views,
    time_from_start_us,
)
from jwmtool.rendering.view import Origin


@dataclass(frozen=True)
class RenderRequest:
    """What to render; every None or False is "as recorded".

    Attributes:
        camera: name; None: the first.
        time_s: seconds since the first recorded pose. A still shows the path then; a video freezes the scene then.
        trajectory: a file, or words.
        offset: shifts the path.
        show: color, depth or alpha.
        bev: from above.
        compare: put the recording beside it.
        difference: and their difference.
        only: observed or imagined Gaussians alone.
        size: (width, height), scaled to cover and cropped.
        rate_hz: resample the path.
        still: one frame.
    """

    camera: str | None = None
    time_s: float | None = None
    trajectory: str | None = None
    offset: Offset | None = None
    show: Show = "color"
    bev: bool = False
    compare: bool = False
    difference: bool = False
    only: Origin | None = None
    size: tuple[int, int] | None = None
    rate_hz: float | None = None
    still: bool = False


@dataclass(frozen=True)
class RenderPlan:
    """Frames to come (rendered as they are taken), how many, and how fast they play."""

    frames: Iterator[Frame]
    total: int
    rate_hz: float


def plan_render(scene: Scene, request: RenderRequest, clip: Clip | None = None) -> RenderPlan:
    """Choose what to render; nothing is rendered yet.

    Args:
        scene: on the device that shall render.
        request: what to render.
        clip: the recording to compare with; lends cameras and path to a scene without.

    Raises:
        UsageError: a request that contradicts itself, or asks what the scene does not have.
        InputError: a bad trajectory file.
    """
    _check(request)
    cameras = clip.cameras if clip is not None else scene.cameras
    camera = choose_camera(cameras, request.camera)
    recorded = _recorded(scene, clip)
    as_recorded = clip is not None and request.trajectory is None and request.rate_hz is None
    start_us = None
    if request.time_s is not None and recorded is not None:
        start_us = time_from_start_us(recorded, [], request.time_s)
    if as_recorded and clip is not None:
        views = recorded_views(clip, camera.name, request.size)
        if not views:
            raise UsageError(f"--compare: the clip has no pictures of camera {camera.name}")
        path = Trajectory(np.array([v.time_us for v in views], np.int64), _rig_poses(views, camera.rig_from_cam))
    else:
        path = _path(request, scene, recorded, start_us)
        if request.still and request.trajectory is None and start_us is not None:
            views = path_views(camera, Trajectory(np.array([start_us]), path.at(start_us)), request.size)
        else:
            views = path_views(camera, path, request.size)
    if start_us is None and request.time_s is not None:
        start_us = time_from_start_us(None, views, request.time_s)
    rate_hz = request.rate_hz or path.rate_hz
    if request.offset is not None:
        views, path = shifted_views(views, camera, request.offset), path.shifted(request.offset)
    if request.still:
        gaps_us = [abs(v.time_us - start_us) if start_us is not None else 0 for v in views]
        views = [views[int(np.argmin(gaps_us))]]
    if start_us is not None and not (request.still and request.trajectory is None):
        views = frozen_views(views, start_us)
    if request.bev:
        egos = _rig_poses(views, camera.rig_from_cam)
        frames = bird_frames(scene, views, egos, path.world_from_rig, size=request.size, only=request.only)
    else:
        frames = render_frames(scene, views, show=request.show, only=request.only)
    if request.compare and clip is not None:
        frames = compare_frames(frames, clip, camera.name, request.difference)
    return RenderPlan(frames, len(views), rate_hz)


def _check(request: RenderRequest) -> None:
    if request.bev and (request.compare or request.show != "color"):
        raise UsageError("--bev: expected none of --compare, --depth, --alpha with it")
    if request.difference and (not request.compare or request.show != "color"):
        raise UsageError("--difference: expected --compare, in color")


def _recorded(scene: Scene, clip: Clip | None) -> Trajectory | None:
    if len(scene.ego_times_us):
        return ego_path(scene)
    return Trajectory(clip.times_us, clip.world_from_rig) if clip is not None else None


def _path(request: RenderRequest, scene: Scene, recorded: Trajectory | None, start_us: int | None) -> Trajectory:
    if request.trajectory is not None:
        return resolve_trajectory(request.trajectory, recorded, scene.cameras, request.rate_hz, start_us)
    path = recorded if recorded is not None else ego_path(scene)
    return path if request.rate_hz is None else path.resampled(request.rate_hz)


def _rig_poses(views: list[View], rig_from_cam: np.ndarray) -> np.ndarray:
    return np.stack([v.camera.world_from_cam for v in views]) @ se3.inverse(rig_from_cam)
