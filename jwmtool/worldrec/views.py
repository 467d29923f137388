"""Pictures with their cameras as tensors: what the network is given, and what its scenes are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.lidar import lidar_at, lidar_depth
from jwmtool.artifacts.truth import read_truth
from jwmtool.geometry.camera import Camera

MULTIPLE = 16  # sizes of pictures in the network are multiples of its coarsest stride


@dataclass(frozen=True)
class Views:
    """V pictures of one size, each from its own pose and time, in a scene frame near them (metres, float32).

    Attributes:
        images: [V, 3, H, W] sRGB in [0, 1].
        Ks: [V, 3, 3] intrinsics, px; the centre of the first pixel is at (0.5, 0.5). fx and fy may differ.
        scene_from_cam: [V, 4, 4].
        times_s: [V] seconds since the scene's time origin.
        cameras: [V] int64, which camera of the rig.
        usable: [V, H, W] bool, False where the picture must be ignored (own bonnet).
        lidar_m: [V, H, W] sparse z-depth of lidar points, 0 where there is none.
        depth_m: [V, H, W] true z-depth, 0 unknown, inf sky; None without truth.
        velocity: [V, H, W, 3] true motion of what a pixel shows, m/s in the scene frame; None without truth.
    """

    images: Tensor
    Ks: Tensor
    scene_from_cam: Tensor
    times_s: Tensor
    cameras: Tensor
    usable: Tensor
    lidar_m: Tensor
    depth_m: Tensor | None = None
    velocity: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) px."""
        return self.images.shape[2], self.images.shape[3]

    def select(self, index: Tensor | Sequence[int]) -> Views:
        """Some of the views, in the order asked."""
        rows = torch.as_tensor(index, device=self.images.device)
        return self._each(lambda value: value[rows])

    def to(self, device: torch.device | str) -> Views:
        """Move every tensor."""
        return self._each(lambda value: value.to(device))

    def camera(self, view: int) -> Camera:
        """One view's camera, in the scene frame."""
        height, width = self.size
        return Camera(
            self.Ks[view].double().cpu().numpy(), width, height, self.scene_from_cam[view].double().cpu().numpy()
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Views:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(v) for name, v in values.items() if v is not None})


def working_size(clip: Clip, pixels: int) -> tuple[int, int]:
    """(width, height) for the network: the first camera's shape, at most about `pixels`, in multiples of 16."""
    camera = next(iter(clip.cameras.values()))
    scale = min(1.0, (pixels / (camera.width * camera.height)) ** 0.5)

    def rounded(length: int) -> int:
        return max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE)

    return rounded(camera.width), rounded(camera.height)


def load_views(
    clip: Clip,
    keys: Sequence[tuple[int, str]],
    scene_from_world: NDArray[np.float64],  # [4, 4]
    time_origin_us: int,
    size: tuple[int, int],
    *,
    truth: bool = False,
) -> Views:
    """Read pictures (frame, camera) of a clip.

    Each is stretched to `size` (width, height), whatever its own shape; K follows, so that geometry stays exact.

    Raises:
        InputError: a picture, mask, sweep or truth is missing or damaged.
    """
    width, height = size
    names = list(clip.cameras)
    rows = [_load(clip, frame, name, scene_from_world, (width, height), truth) for frame, name in keys]
    stacked = {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}
    times = [clip.frames[frame].images[name].time_us - time_origin_us for frame, name in keys]
    return Views(
        times_s=torch.tensor(times, dtype=torch.float64).mul(1e-6).float(),
        cameras=torch.tensor([names.index(name) for _, name in keys]),
        **stacked,
    )


def _load(
    clip: Clip, frame: int, name: str, scene_from_world: NDArray[np.float64], size: tuple[int, int], truth: bool
) -> dict[str, NDArray[Any]]:
    width, height = size
    camera = clip.camera_at(frame, name)
    shrinks = camera.width > width
    pixels = cv2.resize(
        clip.load_image(frame, name), size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    mask = clip.load_mask(frame, name)
    K = np.diag([width / camera.width, height / camera.height, 1.0]) @ camera.K
    seen = Camera(K, width, height, camera.world_from_cam)
    row: dict[str, NDArray[Any]] = {
        "images": np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32) / 255.0,
        "Ks": K.astype(np.float32),
        "scene_from_cam": (scene_from_world @ camera.world_from_cam).astype(np.float32),
        "usable": np.ones((height, width), bool) if mask is None else _nearest(mask.astype(np.uint8), size) > 0,
        "lidar_m": _lidar(clip, clip.frames[frame].images[name].time_us, seen),
    }
    if truth:
        arrays = read_truth(clip, frame, name, ("depth", "scene_flow"))
        row["depth_m"] = _nearest(arrays["depth"], size)
        moved = _nearest(arrays["scene_flow"], size) @ scene_from_world[:3, :3].T * clip.rate_hz
        row["velocity"] = moved.astype(np.float32)
    return row


def _nearest(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _lidar(clip: Clip, time_us: int, camera: Camera) -> NDArray[np.float32]:
    """Sparse depth [H, W] of the sweep nearest in time; all 0 where none is near."""
    sweep = lidar_at(clip, time_us)
    if sweep is None:
        return np.zeros((camera.height, camera.width), np.float32)
    return lidar_depth(clip.load_lidar(sweep), camera).astype(np.float32)
