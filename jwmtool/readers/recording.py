"""What a reader yields: a recording as it lies on disk, told in our frames and units, before ingest copies anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Track
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import intrinsics_problem

Matrix = NDArray[np.float64]
MaskSource = Path | NDArray[np.bool_]  # a picture (0 = ignore) or [H, W], False = ignore
DistortionModel = Literal["none", "opencv", "fisheye"]
_NUM_COEFFICIENTS = {"none": (0,), "opencv": (4, 5, 8), "fisheye": (4,)}
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class SourceCamera:
    """One camera as recorded. K has the first pixel's center at (0.5, 0.5): readers convert.

    Attributes:
        K: [3, 3] px; width, height: px.
        rig_from_cam: [4, 4].
        model, distortion: `none` (), `opencv` (k1, k2, p1, p2[, k3[, k4, k5, k6]]), `fisheye` (k1, k2, k3, k4).
        mask: what to ignore in every image of this camera (own car), before undistortion.
        mask_given: the user said what the mask is, be it none; else the own car is looked for where there is none.
    """

    name: str
    K: Matrix
    width: int
    height: int
    rig_from_cam: Matrix
    model: DistortionModel = "none"
    distortion: tuple[float, ...] = ()
    mask: MaskSource | None = None
    mask_given: bool = False

    @property
    def distorted(self) -> bool:
        """True if ingest has something to undo."""
        return self.model == "fisheye" or any(self.distortion)


@dataclass(frozen=True)
class SourceImage:
    """One picture: a file, or a function that returns [H, W, 3] uint8 sRGB (video); its own time and pose."""

    source: Path | Callable[[], NDArray[np.uint8]]
    time_us: int
    world_from_cam: Matrix  # [4, 4]
    mask: MaskSource | None = None


@dataclass(frozen=True)
class SourceFrame:
    """One time step of the rig."""

    time_us: int
    world_from_rig: Matrix  # [4, 4]
    images: dict[str, SourceImage]  # by camera name
    key: bool = False  # a key frame, in formats that annotate some of their frames


@dataclass(frozen=True)
class SourceSweep:
    """One lidar sweep; `load` returns float32 [M, 4]: x, y, z metres in the sensor's frame, intensity."""

    time_us: int
    world_from_lidar: Matrix  # [4, 4]
    load: Callable[[], NDArray[np.float32]]


@dataclass(frozen=True)
class Recording:
    """A recording: world z up, rig x forward y left z up, cameras x right y down z forward, metres, microseconds.

    Attributes:
        name: short name, safe as a file name.
        format: the reader's name in `readers.FORMATS`.
        path: the file or folder read (errors name it).
        index_files: the small files that define it (poses, calibration), hashed for provenance.
        licence: what the recording's files say about their use, "not stated" if nothing.
        points: returns xyz [M, 3] float64 (world, metres) and rgb [M, 3] uint8, or None.
        origin_us: the time that --start counts from; None: the first frame's. Readers that compute only the stretch
            that was asked for say where the whole begins.
        posed: False where the files hold no poses at all: then all are the identity, and ingest takes one frame only.
    """

    name: str
    format: str
    path: Path
    cameras: dict[str, SourceCamera]
    frames: list[SourceFrame]
    index_files: tuple[Path, ...] = ()
    licence: str = "not stated"
    lidar: list[SourceSweep] = field(default_factory=list)
    points: Callable[[], tuple[Matrix, NDArray[np.uint8]]] | None = None
    tracks: list[Track] = field(default_factory=list)
    tags: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    posed: bool = True
    origin_us: int | None = None

    @property
    def begin_us(self) -> int:
        """What --start counts from."""
        return self.frames[0].time_us if self.origin_us is None else self.origin_us


@dataclass(frozen=True)
class Hints:
    """What a user says of a recording whose files do not say it. Readers that make use of it have `TAKES_HINTS = True`.

    Attributes:
        intrinsics: fx, fy, cx, cy px (first pixel's center at 0.5, 0.5), or None.
        camera_height_m: of the camera above the road, which gives reconstructed paths their scale, or None.
        start_s, duration_s, rate_hz: the stretch that is wanted (`select.Selection`), for readers that compute.
    """

    intrinsics: tuple[float, float, float, float] | None = None
    camera_height_m: float | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    rate_hz: float | None = None

    @property
    def given(self) -> list[str]:
        """The flags that a reader must not leave aside."""
        named = {"--intrinsics": self.intrinsics, "--camera-height": self.camera_height_m}
        return [flag for flag, value in named.items() if value is not None]


def checked(recording: Recording) -> Recording:
    """Return the recording with poses made exactly rigid, or say what is wrong with it.

    Raises:
        InputError: no frame, times out of order, a pose that is NaN or not rigid, intrinsics that do not fit the image.
    """
    path = recording.path
    if not recording.frames or not recording.cameras:
        raise InputError(path, "at least one frame with an image", "none")
    for name, camera in recording.cameras.items():
        if not _SAFE_NAME.fullmatch(name):
            raise InputError(path, "camera names of letters, digits, dot, dash and underscore", repr(name))
        problem = intrinsics_problem(camera.K, camera.width, camera.height)
        if problem is None and len(camera.distortion) not in _NUM_COEFFICIENTS[camera.model]:
            problem = f"{len(camera.distortion)} distortion coefficients for model {camera.model}"
        if problem is None and not np.isfinite(camera.distortion).all():
            problem = "NaN or infinity in the distortion"
        if problem:
            raise InputError(path, f"intrinsics of camera {name} that fit its image", problem)
    cameras = {
        n: replace(c, rig_from_cam=_rigid(path, f"rig_from_cam of {n}", c.rig_from_cam))
        for n, c in recording.cameras.items()
    }
    frames: list[SourceFrame] = []
    for index, frame in enumerate(recording.frames):
        if frames and frame.time_us <= frames[-1].time_us:
            found = f"frame {index} at {frame.time_us} us after {frames[-1].time_us} us"
            raise InputError(path, "frames in order of time", found)
        unknown = sorted(set(frame.images) - set(cameras))
        if unknown or not frame.images:
            raise InputError(path, f"images of known cameras in frame {index}", ", ".join(unknown) or "none")
        images = {
            name: replace(image, world_from_cam=_rigid(path, f"pose of frame {index}, {name}", image.world_from_cam))
            for name, image in frame.images.items()
        }
        world_from_rig = _rigid(path, f"ego pose of frame {index}", frame.world_from_rig)
        frames.append(replace(frame, world_from_rig=world_from_rig, images=images))
    lidar = [
        replace(s, world_from_lidar=_rigid(path, f"pose of lidar sweep {i}", s.world_from_lidar))
        for i, s in enumerate(recording.lidar)
    ]
    return replace(recording, cameras=cameras, frames=frames, lidar=lidar)


def find_licence(folder: Path, default: str = "not stated") -> str:
    """The first line of a LICENSE file in `folder` or beside it, else `default`."""
    for place in (folder, folder.resolve().parent):
        for file in sorted(place.glob("LICEN[SC]E*")):
            if file.is_file():
                with file.open(errors="replace") as stream:
                    line = next((text.strip() for text in stream if text.strip()), "")
                return f"{line} ({file.name})" if line else default
    return default


def safe_name(text: str) -> str:
    """Turn any text into a name that is safe for files and cameras."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._-") or "recording"


def _rigid(path: Path, what: str, matrix: Matrix) -> Matrix:
    problem = se3.rigid_problem(matrix)
    if problem:
        raise InputError(path, f"a rigid transform as {what}", problem)
    return se3.orthonormalized(np.asarray(matrix, np.float64))
