"""Telling a scene in another frame and from another time origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.scene import Scene
from jwmtool.errors import UsageError
from jwmtool.gaussians.model import STATIC_SIGMA_S
from jwmtool.gaussians.rigid import moved
from jwmtool.gaussians.sky import turned_sky
from jwmtool.geometry import se3

FARTHEST_M = 20_000.0  # float32 metres are exact to a millimetre so far out
DAY_S = 86_400.0  # and float32 seconds to a hundredth


def retold(scene: Scene, world_from_scene: NDArray[np.float64], time_origin_us: int) -> Scene:
    """The same scene in another frame, its times from another origin.

    A day or more from that origin float32 seconds would be too coarse: then what stands stays for all time, and what
    moves or ends is left out.

    Raises:
        UsageError: the frames are too far apart.
    """
    check_near(world_from_scene, scene.world_from_scene)
    new_from_old = se3.inverse(world_from_scene) @ scene.world_from_scene
    later_s = (scene.time_origin_us - time_origin_us) * 1e-6
    if abs(later_s) >= DAY_S:
        scene, later_s = timeless(scene), 0.0
    transform = torch.from_numpy(new_from_old)
    gaussians = moved(scene.gaussians, transform)
    return replace(
        scene,
        gaussians=gaussians.replace(time_mid=gaussians.time_mid + later_s),
        tokens=None if scene.tokens is None else scene.tokens.moved(transform).later(later_s),
        sky=None if scene.sky is None else turned_sky(scene.sky, transform[:3, :3]),
        sky_weight=None if scene.sky_weight is None else _turned_weight(scene.sky_weight, transform[:3, :3]),
        world_from_scene=world_from_scene,
        time_origin_us=time_origin_us,
    )


def _turned_weight(weight: Tensor, rotation: Tensor) -> Tensor:
    return turned_sky(weight[..., None].expand(*weight.shape, 3), rotation)[..., 0].clamp(min=0.0)


def check_near(world_from_one: NDArray[np.float64], world_from_other: NDArray[np.float64]) -> None:
    """Refuse frames that are too far apart.

    Raises:
        UsageError: they are.
    """
    far_m = float(np.linalg.norm(world_from_one[:3, 3] - world_from_other[:3, 3]))
    if far_m > FARTHEST_M:
        expected = f"scenes of one world, within {FARTHEST_M / 1000:g} km of each other"
        raise UsageError(f"fuse: expected {expected}, found {far_m / 1000:.0f} km")


def timeless(scene: Scene) -> Scene:
    """Only what stands, for all time."""
    gaussians, tokens = scene.gaussians, scene.tokens
    stays = (gaussians.time_sigma >= STATIC_SIGMA_S) & (gaussians.velocity == 0).all(1)
    if tokens is not None:
        stands = tokens.free & (tokens.support > 0)
        stays |= for_gaussians(stands, tokens.of_gaussian)
    gaussians = gaussians.select(stays)
    still = torch.zeros_like(gaussians.velocity)
    return replace(
        scene,
        gaussians=gaussians.replace(time_sigma=torch.full_like(gaussians.time_sigma, STATIC_SIGMA_S), velocity=still),
        tokens=None if tokens is None else tokens.select_gaussians(stays),
    )


def for_gaussians(values: Tensor, of_gaussian: Tensor) -> Tensor:
    """What holds for tokens [Q, ...], for their Gaussians [N, ...]; zero or False for those of no token."""
    return torch.cat([values, values.new_zeros(1, *values.shape[1:])])[of_gaussian.long()]
