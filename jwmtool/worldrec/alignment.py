"""Rigid correction between two scenes of one place: iterated closest points, point to plane (Chen and Medioni 1992)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from jwmtool.artifacts.scene import Scene
from jwmtool.errors import InputError
from jwmtool.gaussians.model import STATIC_SIGMA_S
from jwmtool.gaussians.rigid import shortest_axes
from jwmtool.geometry import se3

_POINTS = 20_000
_REACH_M = (4.0, 4.0, 3.0, 2.0, 2.0, 1.0, 1.0, *(0.5,) * 8)  # of pairs, step by step
_ALIKE = 0.8  # cosine between normals of a pair
_LEAST_PAIRS = 500
_LEAST_SHARE = 0.05
_STIFF = 1e-3  # of the pairs, that nothing moves along what they do not tell
_TINY = 0.1  # opacity


@dataclass(frozen=True)
class Correction:
    """What brings a scene onto another.

    Attributes:
        world_from_world: [4, 4] float64, to be applied to the scene's world.
        residual_m: median distance of pairs from each other's planes, metres; before_m: before the correction.
        share: of the points that found a partner.
    """

    world_from_world: NDArray[np.float64]
    residual_m: float
    before_m: float
    share: float


def align(scene: Scene, onto: Scene, where: Path) -> Correction:
    """Find the rigid correction of one scene's world that brings it onto another.

    Args:
        where: named by the error.

    Raises:
        InputError: the two have too little in common.
    """
    center = onto.world_from_scene[:3, 3]
    points, normals = surface(scene, center)
    planes, their_normals = surface(onto, center)
    if min(len(points), len(planes)) < _LEAST_PAIRS:
        raise InputError(where, f"at least {_LEAST_PAIRS} standing surfaces to align", f"{len(points)} {len(planes)}")
    tree = cKDTree(planes)
    total = np.eye(4)
    pairs, before_m, residual_m = 0, np.nan, np.nan
    for step, reach_m in enumerate(_REACH_M):
        moved, turned = se3.apply(total, points), normals @ total[:3, :3].T
        distance, index = tree.query(moved, distance_upper_bound=reach_m)
        found = np.flatnonzero(np.isfinite(distance))
        found = found[np.abs((turned[found] * their_normals[index[found]]).sum(1)) > _ALIKE]
        pairs = len(found)
        if pairs < _LEAST_PAIRS or pairs < _LEAST_SHARE * min(len(points), len(planes)):
            expected = f"surfaces in common with the other scene within {reach_m:g} m"
            raise InputError(where, expected, f"{pairs} of {len(points)} points with a partner")
        n, p = their_normals[index[found]], moved[found]
        off = ((planes[index[found]] - p) * n).sum(1)
        residual_m = float(np.median(np.abs(off)))
        before_m = residual_m if step == 0 else before_m
        total = _step(p, n, off) @ total
    shift = se3.translation(center)
    return Correction(shift @ total @ se3.inverse(shift), residual_m, before_m, pairs / len(points))


def corrected(scene: Scene, correction: Correction) -> Scene:
    """The scene with its frame and path moved."""
    change = correction.world_from_world
    return replace(
        scene,
        world_from_scene=se3.orthonormalized(change @ scene.world_from_scene),
        ego_world_from_rig=change @ scene.ego_world_from_rig,
    )


def surface(scene: Scene, center: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points [M, 3] on what stands and their normals, axes of the world, relative to `center`; at most _POINTS."""
    g = scene.gaussians
    stands = (g.velocity == 0).all(1) & (g.opacities > _TINY)
    lasting = stands & (g.time_sigma >= STATIC_SIGMA_S)
    if scene.tokens is not None:
        seen = torch.cat([scene.tokens.support > 0, scene.tokens.support.new_zeros(1).bool()])
        stands &= seen[scene.tokens.of_gaussian.long()]
    elif int(lasting.sum()) >= _LEAST_PAIRS:
        stands = lasting
    rows = stands.nonzero()[:, 0]
    # The finest, since they are the surest.
    size = g.scales[rows].amax(1)
    rows = rows[size.argsort()[: max(_POINTS, len(rows) // 2)]]
    rows = rows[torch.linspace(0, len(rows) - 1, min(_POINTS, len(rows))).long()] if len(rows) else rows
    normals = shortest_axes(g.quats[rows], g.scales[rows]).double().numpy()
    pose = scene.world_from_scene.copy()
    pose[:3, 3] -= center
    return se3.apply(pose, g.means[rows].double().numpy()), normals @ pose[:3, :3].T


def _step(p: NDArray[np.float64], n: NDArray[np.float64], off: NDArray[np.float64]) -> NDArray[np.float64]:
    """The small rigid motion that best brings points onto planes; far ones count less (Huber)."""
    scale = max(1.5 * float(np.median(np.abs(off))), 0.01)
    weight = scale / np.maximum(np.abs(off), scale)
    middle = p.mean(0)
    rows = np.concatenate([np.cross(p - middle, n), n], 1)
    lever = float(np.square(p - middle).sum(1).mean())
    stiff = _STIFF * weight.sum() * np.diag([lever, lever, lever, 1.0, 1.0, 1.0])
    turn = np.linalg.solve(rows.T @ (rows * weight[:, None]) + stiff, rows.T @ (weight * off))
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(turn[:3]).as_matrix()
    motion[:3, 3] = turn[3:]
    about = se3.translation(middle)
    return about @ motion @ se3.inverse(about)
