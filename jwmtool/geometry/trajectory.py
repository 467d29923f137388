"""A path of the rig over time: interpolate, resample, shift, extend. `artifacts/trajectory_io.py` reads files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.errors import UsageError
from jwmtool.geometry import se3

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """Rig poses over time (rig: x forward, y left, z up; metres).

    Attributes:
        times_us: [F] int64, strictly increasing, F >= 1.
        world_from_rig: [F, 4, 4] float64.

    Raises:
        ValueError: shapes that do not fit, no pose at all, or times that do not increase.
    """

    times_us: NDArray[np.int64]
    world_from_rig: Matrix

    def __post_init__(self) -> None:
        frames = len(self.times_us)
        if frames == 0 or self.world_from_rig.shape != (frames, 4, 4):
            raise ValueError(
                f"Trajectory: expected F >= 1 times and poses [F, 4, 4], found {frames} times and "
                f"poses {list(self.world_from_rig.shape)}"
            )
        if (np.diff(self.times_us) <= 0).any():
            raise ValueError("Trajectory: expected strictly increasing times")

    def __len__(self) -> int:
        return len(self.times_us)

    @property
    def duration_s(self) -> float:
        """Seconds from the first pose to the last."""
        return float(self.times_us[-1] - self.times_us[0]) * 1e-6

    @property
    def rate_hz(self) -> float:
        """Poses a second, from the median step; 10 for a single pose."""
        return 10.0 if len(self) < 2 else float(1e6 / np.median(np.diff(self.times_us)))

    @property
    def length_m(self) -> float:
        """Metres driven."""
        return float(np.linalg.norm(np.diff(self.world_from_rig[:, :3, 3], axis=0), axis=1).sum())

    def at(self, times_us: ArrayLike) -> Matrix:
        """Poses [Q, 4, 4] at `times_us` [Q]; the first and last pose beyond the ends."""
        # Counting from the start keeps microseconds exact in float64, whatever the epoch.
        query = np.atleast_1d(np.asarray(times_us, np.int64)) - self.times_us[0]
        return se3.interpolate(self.times_us - self.times_us[0], self.world_from_rig, query)

    def resampled(self, rate_hz: float) -> Trajectory:
        """Poses every 1 / rate_hz seconds from the first time on, up to the last."""
        times_us = self.times_us[0] + sample_times_us(self.duration_s, rate_hz)
        return Trajectory(times_us, self.at(times_us))

    def shifted(self, offset: Offset) -> Trajectory:
        """The path of a point that rides along at `offset` from the rig."""
        return Trajectory(self.times_us, self.world_from_rig @ offset.rig_from_shifted)

    def starting_at(self, time_us: int) -> Trajectory:
        """The same path at other times: the first pose at `time_us`."""
        return Trajectory(self.times_us + (int(time_us) - self.times_us[0]), self.world_from_rig)

    def extended(self, duration_s: float, rate_hz: float | None = None) -> Trajectory:
        """Go on for `duration_s` with the speed and curvature of the last half second, in the last pose's ground plane.

        `rate_hz` defaults to the path's own. A path that stands still (or has one pose) stands still.
        """
        times_us = sample_times_us(duration_s, rate_hz or self.rate_hz)[1:]
        speed_mps, yaw_rate_radps = self.motion_at_end()
        poses = [self.world_from_rig[-1] @ arc(speed_mps, yaw_rate_radps, t * 1e-6) for t in times_us]
        return Trajectory(
            np.concatenate([self.times_us, self.times_us[-1] + times_us]),
            np.concatenate([self.world_from_rig, np.reshape(poses, (-1, 4, 4))]),
        )

    def motion_at_end(self, window_s: float = 0.5) -> tuple[float, float]:
        """Signed speed (m/s, along x of the rig) and yaw rate (rad/s, left positive) over the last `window_s`."""
        if len(self) < 2:
            return 0.0, 0.0
        end_us = int(self.times_us[-1])
        start_us = min(max(int(self.times_us[0]), end_us - round(window_s * 1e6)), int(self.times_us[-2]))
        start_from_end = se3.inverse(self.at(start_us)[0]) @ self.world_from_rig[-1]
        seconds = (end_us - start_us) * 1e-6
        yaw_rad = math.atan2(start_from_end[1, 0], start_from_end[0, 0])
        chord_m = float(np.hypot(start_from_end[0, 3], start_from_end[1, 3]))
        half = yaw_rad / 2
        # The chord of an arc is shorter than the arc; along it the car moves, forward or in reverse.
        length_m = chord_m * (half / math.sin(half) if abs(half) > 1e-6 else 1.0)
        forward = start_from_end[0, 3] * math.cos(half) + start_from_end[1, 3] * math.sin(half)
        return math.copysign(length_m, forward) / seconds, yaw_rad / seconds


@dataclass(frozen=True)
class Offset:
    """A shift in the rig frame: x forward, y left, z up in metres, then a turn to the left in radians."""

    x_m: float = 0.0
    y_m: float = 0.0
    z_m: float = 0.0
    yaw_rad: float = 0.0

    @property
    def rig_from_shifted(self) -> Matrix:
        """[4, 4]."""
        return se3.translation([self.x_m, self.y_m, self.z_m]) @ se3.rotation_z(self.yaw_rad)

    def __str__(self) -> str:
        parts = [f"{k}={v:g}" for k, v in (("x", self.x_m), ("y", self.y_m), ("z", self.z_m)) if v]
        return ",".join(parts + ([f"yaw={math.degrees(self.yaw_rad):g}deg"] if self.yaw_rad else [])) or "x=0"


def sample_times_us(duration_s: float, rate_hz: float) -> NDArray[np.int64]:
    """Times 0, 1 / rate, 2 / rate ... up to and including `duration_s`, in microseconds, without accumulating error.

    Raises:
        UsageError: a rate outside (0, 1000] Hz.
    """
    if not 0.0 < rate_hz <= 1000.0:
        raise UsageError(f"rate: expected more than 0 and at most 1000 Hz, found {rate_hz:g}")
    # A measured rate (10.0003 Hz, say) must not lose the last frame of a path sampled at it.
    count = math.floor(duration_s * rate_hz + 1e-2) + 1
    return np.minimum(np.round(np.arange(count) * (1e6 / rate_hz)), round(duration_s * 1e6)).astype(np.int64)


def arc(speed_mps: float, yaw_rate_radps: float, seconds: float) -> Matrix:
    """start_from_end [4, 4] after driving an arc in the start's xy plane at constant speed and yaw rate."""
    yaw = yaw_rate_radps * seconds
    distance = speed_mps * seconds
    # sinc form of (sin yaw / yaw, (1 - cos yaw) / yaw): exact at yaw = 0.
    forward = distance * np.sinc(yaw / math.pi)
    left = distance * math.sin(yaw / 2) * np.sinc(yaw / 2 / math.pi)
    return se3.translation([forward, left, 0.0]) @ se3.rotation_z(yaw)
