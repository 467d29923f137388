"""Which part of a recording is taken: a stretch of time, a rate, some cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jwmtool.errors import InputError, UsageError
from jwmtool.readers.recording import Recording, SourceFrame


@dataclass(frozen=True)
class Selection:
    """What to take. Times count from the recording's first frame.

    Attributes:
        start_s, duration_s: frames with start <= t < start + duration; a quarter of the median step (or of a shorter
            duration) of tolerance, so that 10 s at a jittering 10 Hz are 100 frames.
        every: keep each Nth of those.
        rate_hz: or keep those nearest to this rate.
        key_frames: or keep the recording's key frames.
        cameras: names to keep, in this order; None keeps all.
        withhold: rules of `--withhold` (see artifacts/withhold.py).
    """

    start_s: float = 0.0
    duration_s: float | None = None
    every: int = 1
    rate_hz: float | None = None
    key_frames: bool = False
    cameras: tuple[str, ...] | None = None
    withhold: tuple[str, ...] = ()


def select(recording: Recording, selection: Selection) -> Recording:
    """Return the recording with the selected frames and cameras, and the lidar and tracks of that stretch of time.

    Raises:
        UsageError: a selection that makes no sense or leaves no frame.
    """
    frames = _choose_cameras(recording, selection)
    times_s = np.array([f.time_us - recording.begin_us for f in frames]) * 1e-6
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    if selection.start_s < 0 or (selection.duration_s is not None and selection.duration_s <= 0):
        raise UsageError("--start must not be negative and --duration must be positive")
    shortest_s = step_s if selection.duration_s is None else min(step_s, selection.duration_s)
    begin_s = selection.start_s - 0.25 * shortest_s
    end_s = np.inf if selection.duration_s is None else begin_s + selection.duration_s
    kept = [f for f, t in zip(frames, times_s, strict=True) if begin_s <= t < end_s]
    if not kept:
        raise UsageError(f"--start, --duration: no frame there; the recording has {times_s[-1] + step_s:g} s")
    kept = _thin(kept, selection, step_s)
    # Sweeps and boxes between thinned-out frames stay: they help to see the scene.
    first_us, last_us = kept[0].time_us - 0.5e6 * step_s, kept[-1].time_us + 0.5e6 * step_s
    if len(kept) == len(recording.frames):
        first_us, last_us = -np.inf, np.inf
    lidar = [s for s in recording.lidar if first_us <= s.time_us <= last_us]
    tracks = []
    for track in recording.tracks:
        inside = (track.times_us >= first_us) & (track.times_us <= last_us)
        if inside.any():
            sizes = None if track.sizes is None else track.sizes[inside]
            poses = track.world_from_box[inside]
            tracks.append(replace(track, times_us=track.times_us[inside], world_from_box=poses, sizes=sizes))
    present = {name for frame in kept for name in frame.images}
    order = selection.cameras or tuple(recording.cameras)
    cameras = {name: recording.cameras[name] for name in order if name in present}
    return replace(recording, cameras=cameras, frames=kept, lidar=lidar, tracks=tracks)


def _choose_cameras(recording: Recording, selection: Selection) -> list[SourceFrame]:
    if selection.cameras is None:
        return recording.frames
    unknown = [name for name in selection.cameras if name not in recording.cameras]
    if unknown or not selection.cameras:
        known, found = ", ".join(recording.cameras), ", ".join(unknown) or "none"
        raise UsageError(f"--cameras: expected some of {known}, found {found}")
    frames = [replace(f, images={n: f.images[n] for n in selection.cameras if n in f.images}) for f in recording.frames]
    return [f for f in frames if f.images]


def _thin(frames: list[SourceFrame], selection: Selection, step_s: float) -> list[SourceFrame]:
    if selection.every < 1:
        raise UsageError(f"--every: expected a positive integer, found {selection.every}")
    if selection.key_frames:
        if selection.every != 1 or selection.rate_hz is not None:
            raise UsageError("--key-frames, --every and --rate: give one of them")
        kept = [frame for frame in frames if frame.key]
        if not kept:
            raise UsageError("--key-frames: the recording has none there")
        return kept
    if selection.rate_hz is None:
        return frames[:: selection.every]
    if selection.every != 1:
        raise UsageError("--every and --rate: give one of them")
    if selection.rate_hz <= 0 or step_s == 0 or selection.rate_hz * step_s > 1.05:
        most = f"{1 / step_s:.4g} Hz, as recorded" if step_s > 0 else "nothing: there is one frame"
        raise UsageError(f"--rate: expected above 0 and at most {most}, found {selection.rate_hz:g}")
    times_s = np.array([f.time_us for f in frames]) * 1e-6
    wanted_s = np.arange(times_s[0], times_s[-1] + 0.5 * step_s, 1.0 / selection.rate_hz)
    nearest = np.abs(times_s[None] - wanted_s[:, None]).argmin(1)
    return [frames[i] for i in dict.fromkeys(nearest.tolist())]


def override_masks(recording: Recording, rules: tuple[str, ...]) -> Recording:
    """Replace the cameras' masks by the rules of `--mask`: `CAMERA=FILE` (a picture, 0 = ignore) or `CAMERA=none`.

    Raises:
        UsageError: a rule of another form or an unknown camera. InputError: no such file.
    """
    cameras = dict(recording.cameras)
    for rule in rules:
        name, equals, value = rule.partition("=")
        if name not in cameras or not equals or not value:
            known = ", ".join(cameras)
            raise UsageError(f"--mask: expected CAMERA=FILE or CAMERA=none, CAMERA one of {known}, found {rule!r}")
        file = None if value == "none" else Path(value)
        if file is not None and not file.is_file():
            raise InputError(file, f"a mask for camera {name}", "no such file")
        cameras[name] = replace(cameras[name], mask=file, mask_given=True)
    return replace(recording, cameras=cameras)
