"""The ego's motion in numbers: how the rig moves from each frame to the next, as the transformer is told it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.geometry import se3

NUMBERS = 8  # of a frame: told, velocity (3), turning (3), time step
# What counts as one: m/s forward, to the left and up; rad/s of roll, pitch and yaw.
_VELOCITY_MPS = np.array([10.0, 1.0, 1.0])
_TURNING_RADPS = np.array([0.05, 0.05, 0.2])
_STEP_S = 0.1


def ego_motion(
    world_from_rig: NDArray[np.float64],  # [T, 4, 4]
    times_s: NDArray[np.float64],  # [T], rising
    before: tuple[NDArray[np.float64], float] | None = None,  # pose and time of the frame before the first
) -> Tensor:  # [T, NUMBERS]
    """Motion that led to each frame, in the rig's axes before it; the first frame's is the second's unless `before`.

    A lone frame without `before` tells nothing: zeros.
    """
    if before is not None:
        world_from_rig = np.concatenate([before[0][None], world_from_rig])
        times_s = np.concatenate([[before[1]], times_s])
    if len(times_s) < 2:
        return torch.zeros(len(times_s), NUMBERS)
    steps_s = np.diff(times_s)
    then_from_now = se3.inverse(world_from_rig[:-1]) @ world_from_rig[1:]
    velocity = then_from_now[:, :3, 3] / steps_s[:, None] / _VELOCITY_MPS
    turning = _turns(then_from_now[:, :3, :3]) / steps_s[:, None] / _TURNING_RADPS
    rows = np.concatenate([np.ones((len(steps_s), 1)), velocity, turning, steps_s[:, None] / _STEP_S], axis=1)
    if before is None:
        rows = np.concatenate([rows[:1], rows])
    return torch.from_numpy(rows).float()


def _turns(rotations: NDArray[np.float64]) -> NDArray[np.float64]:  # [N, 3] rad about x, y and z
    """Rotation vectors, of turns well below half a circle."""
    r = rotations
    axis = 0.5 * np.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1)
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, 0.5 * (np.trace(r, axis1=1, axis2=2) - 1.0))
    scale = np.where(sine > math.ulp(1.0), angle / np.maximum(sine, math.ulp(1.0)), 1.0)
    turns: NDArray[np.float64] = axis * scale[:, None]
    return turns
