"""A pinhole camera at one moment: intrinsics, size and pose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry import se3


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. The centre of the first pixel is at (0.5, 0.5); axes x right, y down, z forward.

    Attributes:
        K: [3, 3] float64 intrinsics in pixels, no skew.
        width, height: image size in pixels.
        world_from_cam: [4, 4] float64. The frame may be the world's or a scene's; its user decides.
    """

    K: NDArray[np.float64]
    width: int
    height: int
    world_from_cam: NDArray[np.float64]

    @property
    def cam_from_world(self) -> NDArray[np.float64]:
        """[4, 4]."""
        return se3.inverse(self.world_from_cam)

    def moved(self, world_from_cam: NDArray[np.float64]) -> Camera:
        """The same camera at another pose."""
        return replace(self, world_from_cam=world_from_cam)

    def in_frame(self, frame_from_world: NDArray[np.float64]) -> Camera:
        """The same camera with its pose told in another frame (a scene's, say)."""
        return replace(self, world_from_cam=frame_from_world @ self.world_from_cam)

    def resized(self, width: int, height: int) -> Camera:
        """Scale to cover `width` x `height`, then crop about the centre; K follows. See `cover_crop`."""
        scale_x, scale_y, x0, y0 = cover_crop(self.width, self.height, width, height)
        K = self.K.copy()
        K[0] *= scale_x
        K[1] *= scale_y
        K[0, 2] -= x0
        K[1, 2] -= y0
        return replace(self, K=K, width=width, height=height)

    def project(self, points_world: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Project points [M, 3]; return pixels [M, 2] and depths [M] in metres (not positive: behind)."""
        cam = se3.apply(self.cam_from_world, points_world)
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = cam[:, :2] / cam[:, 2:3] @ self.K[:2, :2].T + self.K[:2, 2]
        return pixels, cam[:, 2]

    def rays(self) -> NDArray[np.float64]:
        """Directions [H, W, 3] in the world through every pixel centre, scaled to unit depth (z_cam = 1)."""
        u, v = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        cam = np.stack([(u - self.K[0, 2]) / self.K[0, 0], (v - self.K[1, 2]) / self.K[1, 1], np.ones_like(u)], -1)
        return cam @ self.world_from_cam[:3, :3].T


def cover_crop(width: int, height: int, new_width: int, new_height: int) -> tuple[float, float, int, int]:
    """Return (scale_x, scale_y, x0, y0): how an image is scaled to cover a new size and where it is cropped.

    The scaled image has rounded size (width * scale_x, height * scale_y), both integers.
    """
    scale = max(new_width / width, new_height / height)
    scaled_w, scaled_h = max(round(width * scale), new_width), max(round(height * scale), new_height)
    return scaled_w / width, scaled_h / height, (scaled_w - new_width) // 2, (scaled_h - new_height) // 2


def intrinsics_problem(K: NDArray[np.float64], width: int, height: int) -> str | None:
    """Say why a K [3, 3] cannot belong to an image of this size (px), or None if it can.

    The principal point may lie outside the image by at most half its size: crops are real, typing errors are too.
    """
    if K.shape != (3, 3):
        return f"K of shape {K.shape} instead of (3, 3)"
    if width <= 0 or height <= 0:
        return f"an image of {width}x{height} px"
    if not np.isfinite(K).all():
        return "NaN or infinity in K"
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        return f"focal lengths {K[0, 0]:g}, {K[1, 1]:g} px"
    if max(K[0, 0], K[1, 1]) > 1000 * max(width, height):
        return f"focal lengths {K[0, 0]:g}, {K[1, 1]:g} px for {width}x{height} px"
    rest = K - np.array([[K[0, 0], 0, K[0, 2]], [0, K[1, 1], K[1, 2]], [0, 0, 1]])
    if np.abs(rest).max() > 1e-6:
        return "a skew or a last row other than [0, 0, 1]"
    for size, center in ((width, K[0, 2]), (height, K[1, 2])):
        if not -0.5 * size <= center <= 1.5 * size:
            return f"principal point {K[0, 2]:g}, {K[1, 2]:g} px for {width}x{height} px"
    return None
