"""Views of a plane and boxes, cast exactly: pictures, true depth and true motion for tests of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.geometry import se3
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.views import Views

Array = NDArray[np.float64]

SKY, GROUND = -1, 0
EYE_M = 1.5  # height of the cameras


@dataclass(frozen=True)
class Box:
    """A textured box at time 0: corner of least coordinates, size (m), velocity (m/s)."""

    low: tuple[float, float, float]
    size: tuple[float, float, float]
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Street:
    """Ground at z = 0, boxes (the first is number 1), and a sky; `detail` is the contrast of the textures."""

    boxes: tuple[Box, ...] = ()
    ground: bool = True
    detail: float = 1.0

    def cast(self, origin: Array, rays: Array, time_s: float) -> tuple[Array, NDArray[np.int64]]:
        """Depth along rays [..., 3] of unit depth (inf: sky), and what is hit."""
        with np.errstate(divide="ignore", invalid="ignore"):
            down = rays[..., 2] < -1e-12
            depth = np.where(down & self.ground, -origin[2] / rays[..., 2], np.inf)
            what = np.where(np.isfinite(depth), GROUND, SKY)
            for number, box in enumerate(self.boxes, start=1):
                low = np.array(box.low) + time_s * np.array(box.velocity)
                a, b = (low - origin) / rays, (low + box.size - origin) / rays
                near, far = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
                hit = (near < far) & (near > 0) & (near < depth)
                depth, what = np.where(hit, near, depth), np.where(hit, number, what)
        return depth, what

    def color(self, points: Array, what: NDArray[np.int64], rays: Array, time_s: float, blur_m: Array) -> Array:
        """[..., 3] in [0, 1]; textures move with their box, and fade where a pixel shows more than `blur_m` of them."""
        sky = np.stack([0.45 + 0.2 * _climb(rays), 0.6 + 0.15 * _climb(rays), 0.85 + 0.0 * _climb(rays)], -1)
        color = np.where((what == SKY)[..., None], sky, 0.0)
        for number in range(len(self.boxes) + 1):
            mine = what == number
            velocity = self.boxes[number - 1].velocity if number else (0.0, 0.0, 0.0)
            at = points[mine] - time_s * np.array(velocity)
            color[mine] = 0.45 + 0.1 * self.detail * _waves(at, number, blur_m[mine])
        return color


def _climb(rays: Array) -> Array:
    return rays[..., 2] / np.linalg.norm(rays, axis=-1)


def _waves(points: Array, number: int, blur_m: Array) -> Array:
    """[M, 3] smooth texture of waves 0.9 to 4 m long."""
    rng = np.random.default_rng(number)
    total = np.zeros((len(points), 3))
    for length_m in (0.9, 1.3, 2.1, 4.0):
        direction = rng.normal(size=(3, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        fades = np.exp(-0.5 * (2.0 * blur_m / length_m) ** 2)[:, None]
        total += fades * np.sin(points @ direction.T * (2 * np.pi / length_m) + rng.uniform(0, 6.28, 3))
    return total


def pose(x: float, y: float = 0.0, z: float = EYE_M, yaw_rad: float = 0.0) -> Array:
    """scene_from_cam of a level camera that looks along x, turned left by `yaw_rad`."""
    return se3.translation([x, y, z]) @ se3.rotation_z(yaw_rad) @ se3.RIG_FROM_CAM_AXES


def look(
    street: Street,
    poses: Sequence[Array],
    times_s: Sequence[float] | None = None,
    cameras: Sequence[int] | None = None,
    size: tuple[int, int] = (96, 64),
    focal_px: float = 70.0,
    supersampling: int = 3,
) -> Views:
    """Views with true depth and velocity; width and height in `size`, at 0, 0.2, 0.4 ... s unless said."""
    width, height = size
    times = [0.2 * i for i in range(len(poses))] if times_s is None else list(times_s)
    K = np.array([[focal_px, 0.0, width / 2 + 0.3], [0.0, 1.02 * focal_px, 0.45 * height], [0.0, 0.0, 1.0]])
    speeds = np.array([[0.0, 0.0, 0.0], *(box.velocity for box in street.boxes), [0.0, 0.0, 0.0]])  # last: sky
    images, depths, velocities = [], [], []
    for scene_from_cam, time_s in zip(poses, times, strict=True):
        origin, rays = scene_from_cam[:3, 3], _rays(K, scene_from_cam, width, height, 1)
        depth, what = street.cast(origin, rays, time_s)
        depths.append(depth)
        velocities.append(speeds[what])
        fine = _rays(K, scene_from_cam, width, height, supersampling)
        depth, what = street.cast(origin, fine, time_s)
        near = np.where(np.isfinite(depth), depth, 0.0)
        blur_m = near / focal_px * np.where(what == GROUND, near / EYE_M, 1.0)
        color = street.color(origin + fine * near[..., None], what, fine, time_s, blur_m)
        images.append(color.reshape(height, supersampling, width, supersampling, 3).mean((1, 3)).transpose(2, 0, 1))
    count = len(images)
    return Views(
        images=_tensor(images).clamp(0.0, 1.0),
        Ks=_tensor([K] * count),
        scene_from_cam=_tensor(poses),
        times_s=_tensor(times),
        cameras=torch.zeros(count, dtype=torch.int64) if cameras is None else torch.tensor(cameras),
        usable=torch.ones(count, height, width, dtype=torch.bool),
        lidar_m=torch.zeros(count, height, width),
        depth_m=_tensor(depths),
        velocity=_tensor(velocities),
    )


def given(views: Views) -> Views:
    """Without the truth, as the network has them."""
    return replace(views, depth_m=None, velocity=None)


def true_maps(views: Views) -> DepthMaps:
    """What a perfect coarse depth would say."""
    assert views.depth_m is not None
    inverse = 1.0 / views.depth_m  # 0 in the sky
    sky = torch.where(views.depth_m.isinf(), 6.0, -6.0)
    quarter = (len(views), 8, views.size[0] // 4, views.size[1] // 4)
    return DepthMaps(inverse, torch.full_like(inverse, -6.0), sky, torch.zeros(quarter))


def hit_by(street: Street, views: Views, pixels: Tensor, view: int) -> tuple[Tensor, Tensor]:
    """Exact depth and what is hit at continuous places [M, 2] (px) of a view."""
    K, scene_from_cam = views.Ks[view].double().numpy(), views.scene_from_cam[view].double().numpy()
    xy = pixels.double().numpy()
    cam = np.stack([(xy[:, 0] - K[0, 2]) / K[0, 0], (xy[:, 1] - K[1, 2]) / K[1, 1], np.ones(len(xy))], -1)
    depth, what = street.cast(scene_from_cam[:3, 3], cam @ scene_from_cam[:3, :3].T, float(views.times_s[view]))
    return torch.from_numpy(depth), torch.from_numpy(what)


def _rays(K: Array, scene_from_cam: Array, width: int, height: int, fine: int) -> Array:
    u, v = np.meshgrid((np.arange(width * fine) + 0.5) / fine, (np.arange(height * fine) + 0.5) / fine)
    cam = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)
    return cam @ scene_from_cam[:3, :3].T


def _tensor(values: Sequence[Array] | Array) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
