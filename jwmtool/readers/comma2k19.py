"""comma2k19: DONGLE|DATE--TIME/SEGMENT/{video.hevc, global_pose/, processed_log/CAN/}, a minute at 20 Hz.

Conventions: global_pose/frame_* are .npy files without the suffix, one row for each picture. frame_positions: the
camera, ECEF metres; frame_orientations: quaternions w, x, y, z of ecef_from_device, device x forward, y right, z down
(the data set's own README words it the other way round; velocities tell); frame_times: seconds since the phone was
started, as in the CAN log. One camera, of a phone behind the windshield: K = 910, 582, 437 for 1164x874 px, where 582,
437 is the middle counted from the picture's corner, so pixel centers are at halves. It is taken as a pinhole with a
global shutter, which is nearly so.

World: x east, y north, z up at the first position. The rig stands at the camera (about 1.2 m above the road), x
forward, y left, z up with the phone: pitched by some degrees against the car.

video.hevc is a bare stream: to reach a picture, all before it are decoded. Without it, preview.png is the only picture.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from jwmtool import console
from jwmtool.artifacts.images import image_size
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.geometry.earth import ecef_from_enu, geodetic
from jwmtool.readers.recording import (
    Matrix,
    Recording,
    SourceCamera,
    SourceFrame,
    SourceImage,
    find_licence,
    safe_name,
)
from jwmtool.readers.video_frames import VideoFrames

_CAMERA = "road"
_K = np.array([[910.0, 0.0, 582.0], [0.0, 910.0, 437.0], [0.0, 0.0, 1.0]])
_SIZE = (1164, 874)
_RIG_FROM_DEVICE = np.diag([1.0, -1.0, -1.0])
_PROOF = ("global_pose", "frame_positions")  # what every segment has
_MAY_LACK = 0.01  # share of the pictures at the end that a video may lack with no more than a notice
_EARTH_M = (6.3e6, 6.5e6)  # how far from the earth's center a road can be


def detects(path: Path) -> bool:
    """True for a segment (global_pose/frame_positions), or a route, chunk or data set of them."""
    return path.is_dir() and bool(_segments(path))


def scenes(path: Path) -> list[str]:
    """Names of the segments in `path`, as `b0c9d2329ad1606b|2018-08-02--08-34-47/40`.

    Raises:
        InputError: no segment.
    """
    return [_name(segment) for segment in _found_segments(path)]


def read(path: Path, scene: str | None = None) -> Recording:
    """Read one segment; `scene` is its number or ROUTE/NUMBER, or a part of that which only one has.

    Raises:
        InputError: missing or misshapen arrays, fewer pictures than poses, no picture at all.
    """
    segment = _choose(path, scene)
    poses = segment / "global_pose"
    times_s = _rows(poses / "frame_times", 1)[:, 0]
    count = len(times_s)
    positions = _rows(poses / "frame_positions", 3, count)
    quats = _rows(poses / "frame_orientations", 4, count)
    world_from_rig = _world_from_rig(poses, positions, quats)
    times_us = np.round(times_s * 1e6).astype(np.int64).tolist()
    sources, size = _pictures(segment, count)
    camera = SourceCamera(_CAMERA, _K, *size, rig_from_cam=se3.RIG_FROM_CAM_AXES)
    frames = [
        SourceFrame(time_us, pose, {_CAMERA: SourceImage(source, time_us, pose @ camera.rig_from_cam)})
        for time_us, pose, source in zip(times_us, world_from_rig, sources, strict=False)
    ]
    lat, lon, height_m = geodetic(positions[0])
    origin = {"latitude_deg": float(np.degrees(lat)), "longitude_deg": float(np.degrees(lon)), "height_m": height_m}
    return Recording(
        name=safe_name(_name(segment)),
        format="comma2k19",
        path=segment,
        cameras={_CAMERA: camera},
        frames=frames,
        index_files=tuple(poses / f"frame_{key}" for key in ("times", "positions", "orientations")),
        licence=_licence(segment),
        extras={"origin": origin, **_can(segment, times_s[: len(frames)])},
    )


def _world_from_rig(folder: Path, positions: Matrix, quats: Matrix) -> list[Matrix]:
    radii_m = np.linalg.norm(positions, axis=1)
    if not ((radii_m > _EARTH_M[0]) & (radii_m < _EARTH_M[1])).all():
        found = f"{radii_m.min():g} to {radii_m.max():g} m from the earth's center"
        raise InputError(folder / "frame_positions", "ECEF metres of places on the ground", found)
    norms = np.linalg.norm(quats, axis=1)
    if np.abs(norms - 1).max() > 1e-3:
        expected = "unit quaternions w, x, y, z"
        raise InputError(folder / "frame_orientations", expected, f"norms {norms.min():g} to {norms.max():g}")
    ecef_from_rig = np.tile(np.eye(4), (len(quats), 1, 1))
    ecef_from_rig[:, :3, :3] = Rotation.from_quat(quats, scalar_first=True).as_matrix() @ _RIG_FROM_DEVICE
    ecef_from_rig[:, :3, 3] = positions
    return list(se3.inverse(ecef_from_enu(positions[0])) @ ecef_from_rig)


def _pictures(segment: Path, count: int) -> tuple[list[Any], tuple[int, int]]:
    """A source for each picture, as many as there are, and their size."""
    video, preview = segment / "video.hevc", segment / "preview.png"
    if not video.is_file():
        if not preview.is_file():
            raise InputError(video, "the segment's video", "no such file (nor preview.png)")
        console.notice(f"{segment}: video.hevc is missing; only preview.png is taken, the first picture")
        return [preview], _checked_size(preview, image_size(preview))
    frames = VideoFrames(video)
    if len(frames) < (1 - _MAY_LACK) * count:
        raise InputError(video, f"{count} pictures, as global_pose has it (cut short?)", str(len(frames)))
    if len(frames) != count:
        console.notice(f"{video}: {len(frames)} pictures for {count} poses; what has no other half is left out")
    return [partial(frames.frame, index) for index in range(min(count, len(frames)))], _checked_size(video, frames.size)


def _checked_size(file: Path, size: tuple[int, int]) -> tuple[int, int]:
    if size != _SIZE:
        raise InputError(file, f"pictures of {_SIZE[0]}x{_SIZE[1]} px, to which K belongs", f"{size[0]}x{size[1]} px")
    return size


def _can(segment: Path, times_s: NDArray[np.float64]) -> dict[str, Any]:
    """What the car itself told at the pictures' times: speed and the angle of the steering wheel (left positive)."""
    told: dict[str, Any] = {}
    for key, name in (("speed_mps", "speed"), ("steering_angle_deg", "steering_angle")):
        folder = segment / "processed_log" / "CAN" / name
        if not (folder / "t").is_file() or not (folder / "value").is_file():
            continue
        at_s = _rows(folder / "t", 1)[:, 0]
        value = _rows(folder / "value", 1, len(at_s))[:, 0]
        order = np.argsort(at_s, kind="stable")
        told[key] = np.round(np.interp(times_s, at_s[order], value[order]), 4).tolist()
    return {"can": {"times_us": np.round(times_s * 1e6).astype(np.int64).tolist(), **told}} if told else {}


def _rows(file: Path, width: int, count: int | None = None) -> Matrix:
    """A .npy file without the suffix as finite [N, width]."""
    try:
        values = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(file, "an array (.npy without the suffix)", "no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(file, "an array (.npy without the suffix)", str(error)) from None
    rows = "N" if count is None else str(count)
    if values.ndim == 1 and width == 1:
        values = values[:, None]
    wrong = values.ndim != 2 or values.shape[1] != width or len(values) == 0 or count not in (None, len(values))
    if wrong or values.dtype.kind not in "fiu":
        raise InputError(file, f"numbers [{rows}, {width}]", f"{values.dtype} {list(values.shape)}")
    if not np.isfinite(values).all():
        raise InputError(file, "finite numbers", f"NaN or infinity in row {int(np.argmin(np.isfinite(values).all(1)))}")
    return values.astype(np.float64)


def _licence(segment: Path) -> str:
    """MIT, as the data set's repository has it, unless a file near by says otherwise."""
    for folder in (segment, segment.resolve().parent.parent):
        found = find_licence(folder, "")
        if found:
            return found
    return "MIT License (comma2k19)"


def _segments(path: Path) -> list[Path]:
    """Segments: `path` itself, or those one to three folders below (route, chunk, data set)."""
    for depth in range(4):
        found = list(path.glob("/".join(("*",) * depth + _PROOF)))
        if found:
            return sorted((file.parent.parent for file in found), key=_order)
    return []


def _order(segment: Path) -> tuple[str, int, str]:
    name = segment.resolve().name
    return str(segment.resolve().parent), int(name) if name.isdigit() else 0, name


def _name(segment: Path) -> str:
    resolved = segment.resolve()
    return f"{resolved.parent.name}/{resolved.name}"


def _found_segments(path: Path) -> list[Path]:
    segments = _segments(path)
    if not segments:
        raise InputError(path, "comma2k19 segments (ROUTE/NUMBER/global_pose/frame_positions)", "none")
    return segments


def _choose(path: Path, scene: str | None) -> Path:
    segments = _found_segments(path)
    chosen = segments
    if scene is not None:
        exact = [s for s in segments if scene in (_name(s), safe_name(_name(s)), s.resolve().name)]
        chosen = exact or [s for s in segments if scene in _name(s)]
    if len(chosen) != 1:
        names = [_name(segment) for segment in (chosen or segments)]
        found = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        expected = "one segment (--scene chooses)" if len(chosen) > 1 else f"a segment {scene!r}"
        raise InputError(path, expected, found)
    return chosen[0]
