"""Where each latent cell looks, in the rig's frame: Plücker coordinates of the ray through its center."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import ClipCamera
from jwmtool.geometry.camera import Camera

CHANNELS = 6


def rays_of(
    cameras: Sequence[ClipCamera],
    size: tuple[int, int],  # (width, height) px that their pictures are brought to; multiples of `stride`
    stride: int,
) -> Tensor:  # [V, 6, height / stride, width / stride]
    """`camera_rays` of several cameras."""
    found = []
    for camera in cameras:
        view = Camera(camera.K, camera.width, camera.height, camera.rig_from_cam).resized(*size)
        found.append(camera_rays(view.K, camera.rig_from_cam, view.height, view.width, stride))
    return torch.stack(found)


def camera_rays(
    K: NDArray[np.float64],  # [3, 3] in pixels
    rig_from_cam: NDArray[np.float64],  # [4, 4]
    height: int,  # px, multiples of `stride`
    width: int,
    stride: int,
) -> Tensor:  # [6, height / stride, width / stride]
    """Unit direction, then moment (origin x direction, m)."""
    u, v = np.meshgrid(np.arange(stride / 2, width, stride), np.arange(stride / 2, height, stride))
    in_cam = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T
    directions = in_cam @ rig_from_cam[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    moments = np.cross(np.broadcast_to(rig_from_cam[:3, 3], directions.shape), directions)
    return torch.from_numpy(np.concatenate([directions, moments], axis=-1)).float().permute(2, 0, 1).contiguous()
