"""The clip: a folder with `clip.json` and the images, lidar sweeps and points that it names.

This module is the clip in memory. Reading and validating is in `clip_io.py`, the schema in `clip.schema.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class ClipCamera:
    """One camera of the rig; every image of it has this K and size (px; first pixel centre at 0.5, 0.5)."""

    name: str
    K: Matrix  # [3, 3]
    width: int
    height: int
    rig_from_cam: Matrix  # [4, 4]
    undistorted: bool = False  # True if the recording was distorted and ingest has undone it


@dataclass(frozen=True)
class ClipImage:
    """One picture: where it lies (relative to the clip), when and from where it was taken."""

    camera: str
    file: str
    time_us: int
    world_from_cam: Matrix  # [4, 4]
    mask: str | None = None  # 8-bit picture of the same size; 0 = ignore (own bonnet, say)


@dataclass(frozen=True)
class ClipFrame:
    """One time step of the rig; cameras may fire at slightly different times within it."""

    time_us: int
    world_from_rig: Matrix  # [4, 4]
    images: dict[str, ClipImage]  # by camera name


@dataclass(frozen=True)
class Split:
    """What is withheld from fitting and kept for scoring: whole frames, whole cameras."""

    frames: tuple[int, ...] = ()
    cameras: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()  # as given to --withhold

    def withholds(self, frame: int, camera: str) -> bool:
        """True if this image may not be fitted."""
        return frame in self.frames or camera in self.cameras


@dataclass(frozen=True)
class LidarSweep:
    """A sweep: a .npy file, float32 [M, 4] (x, y, z metres in the sensor's frame; intensity)."""

    file: str
    time_us: int
    world_from_lidar: Matrix  # [4, 4]


@dataclass(frozen=True)
class Track:
    """One actor. A box's frame has its origin at the box's centre, x along its length; size is (l, w, h) metres.

    Where a body changes as it moves (somebody walking), `sizes` has the box at each time and `size` the largest.
    """

    id: str
    category: str
    size: tuple[float, float, float]
    times_us: NDArray[np.int64]  # [P]
    world_from_box: Matrix  # [P, 4, 4]
    sizes: Matrix | None = None  # [P, 3]

    def size_at(self, time_us: int) -> tuple[float, float, float]:
        """Length, width, height at the track's time nearest to this one, metres."""
        if self.sizes is None:
            return self.size
        length, width, height = self.sizes[int(np.abs(self.times_us - time_us).argmin())].tolist()
        return length, width, height


@dataclass(frozen=True)
class Clip:
    """A driving recording, read from `root`."""

    root: Path
    name: str
    source: dict[str, Any]  # {"format": ..., "path": ..., ...}
    licence: str
    cameras: dict[str, ClipCamera]
    frames: list[ClipFrame]
    split: Split = Split()
    lidar: list[LidarSweep] = field(default_factory=list)
    points: str | None = None  # .npz with xyz [M, 3] float64 (world, metres), rgb [M, 3] uint8
    tracks: list[Track] = field(default_factory=list)
    tags: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)  # lanes, truth, actions: kept as written
    provenance: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate_hz(self) -> float:
        """Frames a second, from the median step; 10 for a single frame."""
        times = np.array([f.time_us for f in self.frames])
        return 10.0 if len(times) < 2 else float(1e6 / np.median(np.diff(times)))

    @property
    def times_us(self) -> NDArray[np.int64]:
        """[F] frame times."""
        return np.array([f.time_us for f in self.frames], np.int64)

    @property
    def world_from_rig(self) -> Matrix:
        """[F, 4, 4] the ego path."""
        return np.stack([f.world_from_rig for f in self.frames])

    def camera_at(self, frame: int, camera: str) -> Camera:
        """The camera of one image, in world coordinates."""
        model = self.cameras[camera]
        return Camera(model.K, model.width, model.height, self.frames[frame].images[camera].world_from_cam)

    def images(self, withheld: bool | None = None) -> list[tuple[int, str]]:
        """(frame, camera) of every image; `withheld` True or False keeps only that side of the split."""
        keys = [(i, name) for i, frame in enumerate(self.frames) for name in frame.images]
        return keys if withheld is None else [k for k in keys if self.split.withholds(*k) == withheld]

    def load_image(self, frame: int, camera: str) -> NDArray[np.uint8]:
        """[H, W, 3] sRGB."""
        from jwmtool.artifacts.images import read_image

        model = self.cameras[camera]
        return read_image(self.root / self.frames[frame].images[camera].file, (model.width, model.height))

    def load_mask(self, frame: int, camera: str) -> NDArray[np.bool_] | None:
        """[H, W], False where the picture must be ignored; None if there is no mask."""
        from jwmtool.artifacts.images import read_mask

        file, model = self.frames[frame].images[camera].mask, self.cameras[camera]
        return None if file is None else read_mask(self.root / file, (model.width, model.height))

    def load_lidar(self, index: int) -> NDArray[np.float64]:
        """Points of one sweep [M, 3] in the world, metres."""
        from jwmtool.geometry import se3

        sweep = self.lidar[index]
        return se3.apply(sweep.world_from_lidar, np.load(self.root / sweep.file)[:, :3].astype(np.float64))

    def load_points(self) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """Sparse (SfM) points: xyz [M, 3] in the world, rgb [M, 3]; both empty if there are none."""
        if self.points is None:
            return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
        with np.load(self.root / self.points) as data:
            return data["xyz"].astype(np.float64), data["rgb"]
