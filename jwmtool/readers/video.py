"""A raw dash-camera video: poses, lens and points from structure from motion (`sfm`), the scale from the road.

Conventions: nothing but pictures and their times is in the file. World z up, x along the first picture's view, origin
at its camera, meters under the assumption that the camera is `--camera-height` above the road (1.5 m unless given:
lengths are right in proportion only as far as that is). The rig stands at the camera. K has the first pixel's center
at (0.5, 0.5), square pixels and the picture's middle as center unless `--intrinsics` says them; one radial
coefficient, as OpenCV's k1, is found in any case. Times are the container's, from the video's first picture; shutter
and stabilization are not modeled (a rolling shutter bends the path by what the car moves in 20 ms or so).

Where the path's unit changes on the way (`road_frame.scale_breaks`), it is cut: each sound segment is a scene, "0", "1"
... in order of time; the longest is taken unless `--scene` says another. Frames' times count from the video's start in
all of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.video import VIDEO_SUFFIXES
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.readers.ego_mask import MAX_PICTURES, MIN_PICTURES, find_ego_mask
from jwmtool.readers.recording import (
    Hints,
    Matrix,
    Recording,
    SourceCamera,
    SourceFrame,
    SourceImage,
    find_licence,
    safe_name,
)
from jwmtool.readers.road_frame import Break, Similarity, heights_along, scale_breaks, scaled, upright
from jwmtool.readers.sfm import STARTING_FOCALS, Path3d, Solution, solve
from jwmtool.readers.sfm_features import Lens
from jwmtool.readers.video_frames import VideoFrames

TAKES_HINTS = True
CAMERA = "front"
ASSUMED_HEIGHT_M = 1.5
MOST_HZ = 10.0  # frames closer than this add time, not knowledge ...
_PLENTY_FRAMES = 30  # ... unless there are fewer than this
_SUFFIXES = (*VIDEO_SUFFIXES, ".ts", ".hevc", ".h264", ".h265")
_FEWEST_FRAMES = 8
_REGISTERED = 0.7  # share of the stretch, at least
_MANY_FRAMES = 400
_DRIFT = 0.05  # spread of the road's height that is worth a word
_WIDTH_35MM = 36.0


@dataclass(frozen=True)
class _Segment:
    """Places first <= p < last of one part of a solution."""

    part: Path3d
    first: int
    last: int

    @property
    def frames(self) -> NDArray[np.int64]:
        """Positions among the pictures taken."""
        return self.part.frames[self.first : self.last]


@dataclass(frozen=True)
class _Solved:
    """What does not depend on the camera's height."""

    pictures: VideoFrames
    taken: NDArray[np.int64]  # [N] numbers of the pictures taken
    mask: NDArray[np.bool_] | None
    solution: Solution
    segments: list[_Segment]
    breaks: list[tuple[int, int, Break]]  # positions among the pictures taken

    def seconds(self, position: int) -> float:
        """Time of a picture taken, from the video's start."""
        return float(self.pictures.times_us[self.taken[position]]) * 1e-6


_last: dict[tuple[Any, ...], _Solved] = {}  # the last one: listing scenes and reading one shall not solve twice
_lock = threading.Lock()


def detects(path: Path) -> bool:
    """True for a file that is named like a video."""
    return path.is_file() and path.suffix.lower() in _SUFFIXES


def scenes(path: Path) -> list[str]:
    """The sound segments of the path, in order of time; finding them takes as long as reading.

    Raises:
        JwmError: as `read`.
    """
    return [str(i) for i in range(len(_solved(path, Hints()).segments))]


def read(path: Path, scene: str | None = None, hints: Hints = Hints()) -> Recording:
    """Find the path of a video's camera. Takes minutes: 1 to 1.5 s of one core a picture.

    Raises:
        MissingPartError: without pycolmap. UsageError: a rate above the video's, a stretch without pictures.
        InputError: no video; no texture, no motion or too few pictures with poses; no road for the scale.
    """
    solved = _solved(path, hints)
    longest = int(np.argmax([len(segment.frames) for segment in solved.segments]))
    number = longest if scene is None else _number(path, scene, len(solved.segments))
    _tell_breaks(path, solved, number)
    segment = solved.segments[number]
    part = segment.part
    inside = (part.seen.mean(1) >= segment.first) & (part.seen.mean(1) < segment.last)
    frame, drift = _metric(path, segment, part.xyz[inside], hints.camera_height_m)
    poses = frame.poses(part.world_from_cams[segment.first : segment.last])
    width, height = solved.pictures.size
    distortion = _distortion(part.lens, width, height)
    camera = SourceCamera(
        CAMERA,
        part.lens.matrix(),
        width,
        height,
        se3.RIG_FROM_CAM_AXES,
        "opencv" if distortion else "none",
        distortion,
        solved.mask,
    )
    frames = []
    for position, pose in zip(segment.frames.tolist(), poses, strict=True):
        picture = int(solved.taken[position])
        time_us = int(solved.pictures.times_us[picture])
        image = SourceImage(partial(solved.pictures.frame, picture), time_us, pose)
        frames.append(SourceFrame(time_us, pose @ se3.inverse(se3.RIG_FROM_CAM_AXES), {CAMERA: image}))
    xyz, rgb = frame.points(part.xyz[inside]), part.rgb[inside]
    several = len(solved.segments) > 1
    return Recording(
        name=safe_name(path.stem) + (f"-{number}" if several else ""),
        format="video",
        path=path,
        cameras={CAMERA: camera},
        frames=frames,
        index_files=(path,),
        origin_us=0,
        licence=find_licence(path.parent),
        points=partial(_same, xyz, rgb),
        extras={
            "intrinsics": _told_lens(path, part.lens, solved.solution.focal_sigma, hints),
            "scale": {
                "source": "camera height" if hints.camera_height_m is not None else "camera height, assumed",
                "camera_height_m": hints.camera_height_m or ASSUMED_HEIGHT_M,
                "road_height_by_quarter": drift,
            },
            "poses": {
                "source": "structure from motion",
                "scene": number,
                "scenes": len(solved.segments),
                "points": len(xyz),
                "reprojection_error_px": round(part.error_px, 3),
                "breaks_s": [[round(solved.seconds(a), 3), round(solved.seconds(b), 3)] for a, b, _ in solved.breaks],
            },
        },
    )


def _solved(path: Path, hints: Hints) -> _Solved:
    if not path.is_file():
        raise InputError(path, "a video file", "a folder" if path.is_dir() else "no such file")
    stat = path.stat()
    file = (path.resolve(), stat.st_mtime_ns, stat.st_size)
    key = (*file, hints.intrinsics, hints.start_s, hints.duration_s, hints.rate_hz)
    with _lock:
        if key not in _last:
            found = _solve(path, hints)
            _last.clear()
            _last[key] = found
        return _last[key]


def _solve(path: Path, hints: Hints) -> _Solved:
    pictures = VideoFrames(path)
    taken = taken_pictures(pictures.times_us, pictures.rate_hz, hints)
    if len(taken) < _FEWEST_FRAMES:
        raise InputError(path, f"at least {_FEWEST_FRAMES} pictures in the stretch", str(len(taken)))
    if len(taken) > _MANY_FRAMES:
        console.notice(f"{path}: {len(taken)} pictures take a while; --start, --duration and --rate take fewer")
    mask = _own_car(path, pictures, taken)
    lens: Lens | None = None
    focals: tuple[float, ...] = STARTING_FOCALS
    if hints.intrinsics is not None:
        fx, fy, cx, cy = hints.intrinsics
        lens = Lens(fx, cx, cy, aspect=fy / fx)
    else:
        stated = _stated_focal(path)
        focals = STARTING_FOCALS if stated is None else (stated,)
    solution = solve(path, [partial(pictures.frame, int(i)) for i in taken], mask, lens, focals)
    times_s = np.asarray(pictures.times_us[taken] * 1e-6, np.float64)
    registered = np.unique(np.concatenate([part.frames for part in solution.parts]))
    if len(registered) < _REGISTERED * len(taken):
        ends = sorted((int(part.frames[0]), int(part.frames[-1])) for part in solution.parts)
        stretches = ", ".join(f"{times_s[first]:.1f}-{times_s[last]:.1f} s" for first, last in ends)
        found = f"{len(registered)}: {stretches} (--start, --duration take a stretch)"
        raise InputError(path, f"poses of at least {_REGISTERED:.0%} of {len(taken)} pictures", found)
    segments, breaks = [], []
    for part in solution.parts:
        frame = upright(part.world_from_cams)
        centers = frame.poses(part.world_from_cams)[:, :3, 3]
        cuts = scale_breaks(times_s[part.frames], centers, frame.points(part.xyz), part.shared)
        breaks += [(int(part.frames[cut.first]), int(part.frames[cut.last]), cut) for cut in cuts]
        edges = [0, *(edge for cut in cuts for edge in (cut.first + 1, cut.last)), len(part.frames)]
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if last - first >= _FEWEST_FRAMES:
                segments.append(_Segment(part, first, last))
    segments.sort(key=lambda segment: int(segment.frames[0]))
    if not segments:
        found = "; ".join(_described(cut) for _, _, cut in breaks)
        raise InputError(path, f"a path of one scale through {_FEWEST_FRAMES} pictures", f"breaks: {found}")
    pictures.close()
    return _Solved(pictures, taken, mask, solution, segments, breaks)


def taken_pictures(times_us: NDArray[np.int64], rate_hz: float, hints: Hints) -> NDArray[np.int64]:
    """Numbers of the pictures of the stretch wanted, at the rate wanted or at most 10 Hz.

    Raises:
        UsageError: a rate above the video's, a stretch without pictures.
    """
    if hints.rate_hz is not None and not 0 < hints.rate_hz <= 1.05 * rate_hz:
        raise UsageError(f"--rate: expected above 0 and at most {rate_hz:.4g} Hz, as recorded, found {hints.rate_hz:g}")
    if hints.start_s < 0 or (hints.duration_s is not None and hints.duration_s <= 0):
        raise UsageError("--start must not be negative and --duration must be positive")
    times_s = (times_us - times_us[0]) * 1e-6
    begin_s = hints.start_s - 0.25 / rate_hz
    end_s = np.inf if hints.duration_s is None else begin_s + hints.duration_s
    inside = np.flatnonzero((times_s >= begin_s) & (times_s < end_s))
    if not len(inside):
        raise UsageError(f"--start, --duration: no picture there; the video has {times_s[-1] + 1 / rate_hz:.4g} s")
    if hints.rate_hz is None:
        step = int(np.ceil(rate_hz / MOST_HZ - 0.05))
        return inside[:: max(1, min(step, len(inside) // _PLENTY_FRAMES))]
    wanted_s = np.arange(times_s[inside[0]], times_s[inside[-1]] + 0.5 / rate_hz, 1.0 / hints.rate_hz)
    nearest = np.abs(times_s[inside][None] - wanted_s[:, None]).argmin(1)
    return inside[np.unique(nearest)]


def _own_car(path: Path, pictures: VideoFrames, taken: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    if len(taken) < MIN_PICTURES:
        return None
    spread = np.unique(np.linspace(0, len(taken) - 1, min(MAX_PICTURES, len(taken))).round().astype(int))
    mask = find_ego_mask([pictures.frame(int(taken[i])) for i in spread])
    if mask is not None:
        console.notice(
            f"{path}: own car masked, {1 - mask.mean():.1%} of the picture; --mask {CAMERA}=FILE gives another"
        )
    return mask


def _stated_focal(path: Path) -> float | None:
    """Focal length in widths, where the container says one for 35 mm film; phones rarely do."""
    import av

    with av.open(str(path)) as container:
        entries = {**container.metadata, **container.streams.video[0].metadata}
    for key, value in entries.items():
        if "focal" in key.lower() and "35mm" in key.lower().replace("_", "").replace(" ", ""):
            try:
                share = float(str(value).split()[0]) / _WIDTH_35MM
            except (ValueError, IndexError):
                continue
            if 0.2 < share < 5.0:
                return share
    return None


def _metric(
    path: Path, segment: _Segment, xyz: Matrix, height_m: float | None
) -> tuple[Similarity, list[float | None]]:
    """The world of a segment, and the road's height by quarter of it over that of the whole."""
    poses = segment.part.world_from_cams[segment.first : segment.last]
    frame = upright(poses)
    centers, points = frame.poses(poses)[:, :3, 3], frame.points(xyz)
    bounds = np.linspace(0, len(centers), 5).astype(int)
    quarters = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    height, *by_quarter = heights_along(centers, points, [(0, len(centers)), *quarters]).tolist()
    if not np.isfinite(height):
        raise InputError(path, "points of the road below the path, which give it its scale", "too few")
    if height_m is None:
        assumed = f"{ASSUMED_HEIGHT_M:g} m above the road is assumed"
        console.notice(f"{path}: a camera {assumed}, and lengths are as right as that; --camera-height M gives it")
    relative = [round(value / height, 3) if np.isfinite(value) else None for value in by_quarter]
    known = [value for value in relative if value is not None]
    if known and max(known) - min(known) > _DRIFT:
        told = ", ".join("?" if value is None else f"{value:.2f}" for value in relative)
        console.notice(f"{path}: the scale drifts: road height by quarter of the path {told}")
    return scaled(frame, (height_m or ASSUMED_HEIGHT_M) / height), relative


def _distortion(lens: Lens, width: int, height: int) -> tuple[float, ...]:
    """Coefficients of `opencv`, none where they would move no pixel by half its width."""
    corner = np.hypot(max(lens.cx, width - lens.cx), max(lens.cy, height - lens.cy) / lens.aspect) / lens.focal
    return (lens.k1, 0.0, 0.0, 0.0) if abs(lens.k1) * corner**3 * lens.focal >= 0.5 else ()


def _told_lens(path: Path, lens: Lens, sigma: float, hints: Hints) -> dict[str, Any]:
    told = {"focal_px": round(lens.focal, 2), "focal_sigma_px": round(sigma, 2), "k1": round(lens.k1, 5)}
    if hints.intrinsics is not None:
        return {"source": "given", **told}
    console.notice(
        f"{path}: focal length {lens.focal:.0f} px (+- {sigma:.0f}) and the center estimated; "
        "--intrinsics FX,FY,CX,CY gives them"
    )
    return {"source": "estimated", **told}


def _tell_breaks(path: Path, solved: _Solved, number: int) -> None:
    for first, last, cut in solved.breaks:
        when = f"{solved.seconds(first):.2f} and {solved.seconds(last):.2f} s"
        console.notice(f"{path}: the path's scale breaks between {when} ({_described(cut)}); it is cut there")
    if len(solved.segments) > 1:
        listed = ", ".join(
            f"{i}: {solved.seconds(int(s.frames[0])):.1f}-{solved.seconds(int(s.frames[-1])):.1f} s"
            for i, s in enumerate(solved.segments)
        )
        console.notice(f"{path}: segments {listed}; {number} is taken (--scene takes another)")


def _described(cut: Break) -> str:
    return ", ".join(cut.cues)


def _number(path: Path, scene: str, count: int) -> int:
    if not scene.isdigit() or int(scene) >= count:
        raise InputError(path, f"--scene among {', '.join(str(i) for i in range(count))}", repr(scene))
    return int(scene)


def _same(xyz: Matrix, rgb: NDArray[np.uint8]) -> tuple[Matrix, NDArray[np.uint8]]:
    return xyz, rgb
