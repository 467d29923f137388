"""Rigid transforms as 4x4 float64 matrices; quaternions are unit and `wxyz`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

Matrix = NDArray[np.float64]

# Camera axes (x right, y down, z forward) expressed in rig axes (x forward, y left, z up).
RIG_FROM_CAM_AXES = np.array([[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def inverse(transform: Matrix) -> Matrix:
    """Invert rigid transforms [..., 4, 4] exactly by transposing the rotation."""
    rotation = np.swapaxes(transform[..., :3, :3], -1, -2)
    result = np.zeros_like(transform)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, transform[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def from_quat(quat_wxyz: ArrayLike, translation: ArrayLike) -> Matrix:
    """Build a transform [4, 4] from a quaternion (wxyz, any norm but zero) and a translation in metres."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_quat(np.asarray(quat_wxyz, np.float64), scalar_first=True).as_matrix()
    transform[:3, 3] = translation
    return transform


def to_quat(transform: Matrix) -> Matrix:
    """Return the unit quaternion [..., 4] (wxyz, w >= 0) of transforms [..., 4, 4]."""
    flat = transform[..., :3, :3].reshape(-1, 3, 3)
    quat = Rotation.from_matrix(flat).as_quat(canonical=True, scalar_first=True)
    return quat.reshape(*transform.shape[:-2], 4)


def rotation_z(yaw_rad: float) -> Matrix:
    """Rotate about z by `yaw_rad` (positive turns x towards y, that is left in the rig frame)."""
    transform = np.eye(4)
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    transform[:2, :2] = [[c, -s], [s, c]]
    return transform


def translation(xyz: ArrayLike) -> Matrix:
    """Translate by `xyz` [3] metres."""
    transform = np.eye(4)
    transform[:3, 3] = xyz
    return transform


def apply(transform: Matrix, points: Matrix) -> Matrix:
    """Map points [..., 3] by one transform [4, 4]."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def rigid_problem(matrix: ArrayLike, tolerance: float = 1e-4) -> str | None:
    """Say what keeps a 4x4 matrix from being a rigid transform, or None if it is one.

    `tolerance` bounds |R^T R - I| and |det R - 1|; recordings are stored with 6 to 9 digits.
    """
    m = np.asarray(matrix, np.float64)
    if m.shape != (4, 4):
        return f"shape {m.shape} instead of (4, 4)"
    if not np.isfinite(m).all():
        return "NaN or infinity in the pose"
    if np.abs(m[3] - [0, 0, 0, 1]).max() > 1e-9:
        return f"last row {m[3].tolist()} instead of [0, 0, 0, 1]"
    rotation = m[:3, :3]
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > tolerance:
        return f"a matrix that is not a rotation (|R^T R - I| = {error:.2g})"
    if np.linalg.det(rotation) < 0:
        return "a mirrored rotation (determinant -1)"
    return None


def orthonormalized(matrix: Matrix) -> Matrix:
    """Return the nearest rigid transform to one that is rigid up to rounding."""
    result = np.array(matrix, np.float64)
    u, _, vt = np.linalg.svd(result[:3, :3])
    result[:3, :3] = u @ vt
    return result


def interpolate(times: ArrayLike, transforms: Matrix, query: ArrayLike) -> Matrix:
    """Interpolate poses at `query` times: slerp for rotation, linear for translation; clamped at the ends.

    Args:
        times: [F] strictly increasing, any unit.
        transforms: [F, 4, 4].
        query: [Q] in the same unit.

    Returns:
        [Q, 4, 4].
    """
    times = np.asarray(times, np.float64)
    query = np.atleast_1d(np.asarray(query, np.float64))
    if len(times) == 1:
        return np.repeat(transforms, len(query), axis=0)
    clamped = np.clip(query, times[0], times[-1])
    result = np.zeros((len(query), 4, 4))
    result[:, :3, :3] = Slerp(times, Rotation.from_matrix(transforms[:, :3, :3]))(clamped).as_matrix()
    for axis in range(3):
        result[:, axis, 3] = np.interp(clamped, times, transforms[:, axis, 3])
    result[:, 3, 3] = 1.0
    return result


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Matrix:
    """Return world_from_cam [4, 4] of a camera at `eye` looking at `target` (x right, y down, z forward)."""
    eye, target, up = (np.asarray(v, np.float64) for v in (eye, target, up))
    forward = target - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose
