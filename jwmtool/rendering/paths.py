"""Which cameras to render, from where and at which times: recorded ones, other times, paths, offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jwmtool import console
from jwmtool.artifacts.clip import Clip, ClipCamera
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.trajectory_io import TRAJECTORY_SUFFIXES, read_trajectory
from jwmtool.errors import UsageError
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.trajectory import Offset, Trajectory
from jwmtool.geometry.trajectory_text import DEFAULT_SPEED_MPS, flattened, parse_trajectory_text, trace_segments


@dataclass(frozen=True)
class View:
    """One picture to render.

    Attributes:
        camera: intrinsics, size, world pose.
        time_us: when the camera is there.
        camera_name: whose exposure to use; None for none.
        scene_time_us: the moment to show, where it differs (a frozen moment).
    """

    camera: Camera
    time_us: int
    camera_name: str | None = None
    scene_time_us: int | None = None

    @property
    def shown_us(self) -> int:
        """The moment that the picture shows."""
        return self.time_us if self.scene_time_us is None else self.scene_time_us


def ego_path(scene: Scene) -> Trajectory:
    """The path on which the scene was recorded.

    Raises:
        UsageError: the scene has none (an imported PLY, say).
    """
    if len(scene.ego_times_us) == 0:
        raise UsageError("the scene has no recorded path; give --trajectory FILE, or --compare CLIP for its cameras")
    return Trajectory(scene.ego_times_us, scene.ego_world_from_rig)


def choose_camera(cameras: dict[str, ClipCamera], name: str | None) -> ClipCamera:
    """The named camera, or the first.

    Raises:
        UsageError: no such camera, or none at all.
    """
    if not cameras:
        raise UsageError("expected a scene with cameras, found none; --compare CLIP lends those of a clip")
    if name is None:
        return next(iter(cameras.values()))
    if name not in cameras:
        raise UsageError(f"--camera: expected one of {', '.join(cameras)}, found {name!r}")
    return cameras[name]


def path_views(camera: ClipCamera, path: Trajectory, size: tuple[int, int] | None = None) -> list[View]:
    """One view a pose of `path`, seen by `camera` mounted on the rig; `size` scales to cover and crops."""
    model = Camera(camera.K, camera.width, camera.height, np.eye(4))
    model = model if size is None else model.resized(*size)
    return [
        View(model.moved(pose @ camera.rig_from_cam), int(time_us), camera.name)
        for time_us, pose in zip(path.times_us, path.world_from_rig, strict=True)
    ]


def recorded_views(clip: Clip, camera: str, size: tuple[int, int] | None = None) -> list[View]:
    """The exact poses and times of the pictures that `camera` took (cameras of a rig may fire at different times)."""
    views = []
    for i, frame in enumerate(clip.frames):
        if camera in frame.images:
            model = clip.camera_at(i, camera)
            model = model if size is None else model.resized(*size)
            views.append(View(model, frame.images[camera].time_us, camera))
    return views


def shifted_views(views: Sequence[View], camera: ClipCamera, offset: Offset) -> list[View]:
    """The same views from a rig that rides along at `offset`."""
    cam_from_shifted = np.linalg.inv(camera.rig_from_cam) @ offset.rig_from_shifted @ camera.rig_from_cam
    return [replace(v, camera=v.camera.moved(v.camera.world_from_cam @ cam_from_shifted)) for v in views]


def frozen_views(views: Sequence[View], time_us: int) -> list[View]:
    """The same path while the scene stands still at `time_us`."""
    return [replace(v, scene_time_us=time_us) for v in views]


def resolve_trajectory(
    text: str,
    recorded: Trajectory | None,
    cameras: dict[str, ClipCamera],
    rate_hz: float | None = None,
    start_us: int | None = None,
) -> Trajectory:
    """Turn `--trajectory FILE|TEXT` into a path.

    Args:
        text: a file (see `read_trajectory`), or words (see `parse_trajectory_text`).
        recorded: the recorded path; words start on it, level with the world, at its mean speed.
        cameras: the rig, to read camera poses.
        rate_hz: sample at this rate; None: the recorded rate for words, as it is for a file.
        start_us: where on the recorded path words start; None: at its beginning.

    Raises:
        UsageError: words without a recorded path to start on, or that are not understood.
        InputError: a bad file.
    """
    file = Path(text)
    if file.suffix.lower() in TRAJECTORY_SUFFIXES:
        path = read_trajectory(file, {name: c.rig_from_cam for name, c in cameras.items()})
        path = path if rate_hz is None else path.resampled(rate_hz)
        return path if recorded is None else _in_time(path, recorded)
    if recorded is None:
        raise UsageError(f"--trajectory {text!r}: expected a file, since the scene has no recorded path to start on")
    start_us = int(recorded.times_us[0]) if start_us is None else start_us
    mean_mps = recorded.length_m / recorded.duration_s if recorded.duration_s > 0 else 0.0
    segments = parse_trajectory_text(text, mean_mps if mean_mps > 1.0 else DEFAULT_SPEED_MPS)
    return trace_segments(segments, flattened(recorded.at(start_us)[0]), rate_hz or recorded.rate_hz, start_us)


def time_from_start_us(recorded: Trajectory | None, views: Sequence[View], seconds: float) -> int:
    """The time `seconds` after the first recorded pose (or the first view).

    Raises:
        UsageError: beyond the last one.
    """
    first = int(recorded.times_us[0]) if recorded is not None else views[0].time_us
    last = int(recorded.times_us[-1]) if recorded is not None else views[-1].time_us
    time_us = first + round(seconds * 1e6)
    if time_us > last + 1000:  # a duration printed in milliseconds may round up
        raise UsageError(f"--time: expected at most {(last - first) * 1e-6:.3f} s, found {seconds:g} s")
    return min(time_us, last)


def _in_time(path: Trajectory, recorded: Trajectory) -> Trajectory:
    """Shift a path whose clock has nothing to do with the recording's (starts at 0, say) to the recording's start."""
    if path.times_us[-1] < recorded.times_us[0] or path.times_us[0] > recorded.times_us[-1]:
        console.notice("the trajectory's times lie outside the recording: it is played from the recording's start")
        return path.starting_at(int(recorded.times_us[0]))
    return path
