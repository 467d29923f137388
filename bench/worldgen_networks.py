"""Estimators of the bench: how the ego moves, what weather it is, whether something happens. They are never shipped."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

MOTION_SIZE = (112, 64)  # px
MOTION_CELL = 4  # px
GEOMETRY = 4  # channels: how a pixel moves by a metre ahead, by a radian to the left
_FAR_M = 60.0  # what is above the horizon counts as so far away
_STEP_M, _STEP_RAD = 0.05, 0.002


class MotionNetwork(nn.Module):
    """Two pictures to metres ahead and radians to the left.

    Every cell has an estimate of its own, what its optical flow comes to if it shows the road (for the turn: something
    far away); the network corrects it and says how much it counts.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.begin = nn.Conv2d(2 + 2 + GEOMETRY, width, 5, stride=2, padding=2)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_block(2 * width, 2**k) for k in range(4))
        self.out = nn.Conv2d(2 * width + 2, 4, 1)

    def forward(
        self,
        pair: Tensor,  # [B, 2, 64, 112] gray in [0, 1]
        flow: Tensor,  # [B, 2, 64, 112] px, from the first to the second
        geometry: Tensor,  # [B, GEOMETRY, 64, 112]
    ) -> Tensor:  # [B, 2]
        """Metres ahead, radians to the left."""
        ahead, turn = geometry.split(2, dim=1)
        x = torch.cat([pair - 0.5, _squashed(flow), _squashed(ahead), turn / 100.0], 1)
        x = functional.silu(self.down(functional.silu(self.begin(x))))
        for block in self.blocks:
            x = x + block(x)
        pooled = functional.avg_pool2d(torch.cat([flow, geometry], 1), MOTION_CELL)
        flow, ahead, turn = pooled.split(2, dim=1)
        metres = ((flow * ahead).sum(1) / (ahead.square().sum(1) + 0.02)).clamp(-6.0, 6.0)
        radians = ((flow * turn).sum(1) / (turn.square().sum(1) + 1.0)).clamp(-0.3, 0.3)
        guesses = torch.stack([metres, radians], 1)
        scale = torch.tensor([1.0, 0.05])[None, :, None, None]
        out = self.out(torch.cat([x, guesses / scale], 1))
        counts = out[:, :2].flatten(2).softmax(2)
        told = (guesses + scale * out[:, 2:]).flatten(2)
        return (counts * told).sum(2)


class Recognizer(nn.Module):
    """A picture to scores of classes, cell by cell [B, classes, H / 8, W / 8]."""

    def __init__(self, classes: int, width: int = 24, wide: bool = False) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width)
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(4, b), nn.SiLU())
            for a, b in zip((3, *widths[:-1]), widths, strict=True)
        )
        self.blocks = nn.ModuleList(_block(widths[-1], 2**k) for k in range(4 if wide else 3))
        self.out = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1]."""
        x = pictures - 0.5
        for layer in self.down:
            x = layer(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


def flow_between(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:  # [h, w, 2]
    """Optical flow of gray pictures [h, w]."""
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)
    return np.asarray(method.calc(first, second, None), np.float32)


def gray(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 3] at the size that motion is seen at."""
    small = cv2.resize(picture, MOTION_SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def geometry_of(
    K: NDArray[np.float64],  # of pictures of `size`
    rig_from_cam: NDArray[np.float64],
    size: tuple[int, int],
) -> Tensor:  # [GEOMETRY, 64, 112]
    """How each pixel moves by a metre ahead, and by a radian to the left, where it shows the road or what is far."""
    camera = Camera(K, *size, rig_from_cam).resized(*MOTION_SIZE)
    rays, eye = camera.rays(), rig_from_cam[:3, 3]
    with np.errstate(divide="ignore"):
        away = np.where(rays[..., 2] < 0.0, -eye[2] / rays[..., 2], _FAR_M)
    points = (eye + rays * np.clip(away, 0.5, _FAR_M)[..., None]).reshape(-1, 3)
    parts = []
    for pose, step in ((se3.translation((_STEP_M, 0.0, 0.0)), _STEP_M), (se3.rotation_z(_STEP_RAD), _STEP_RAD)):
        before, _ = camera.project(points)
        after, _ = camera.moved(pose @ rig_from_cam).project(points)
        parts.append((after - before).reshape(*MOTION_SIZE[::-1], 2) / step)
    return torch.from_numpy(np.concatenate(parts, axis=-1)).float().permute(2, 0, 1)


def _squashed(flow: Tensor) -> Tensor:
    return torch.sign(flow) * torch.log1p(flow.abs())


def _block(width: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.GroupNorm(4, width), nn.SiLU(),
        nn.Conv2d(width, width, 1),
    )  # fmt: skip
