"""Depth of a picture from posed neighbours: plane sweep, semi-global aggregation, confidence."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.device import num_threads
from jwmtool.geometry.camera import Camera
from jwmtool.stereo import aggregation, matching

Floats = NDArray[np.float32]
Picture = Tensor | NDArray[np.generic]

_RADIUS_PX = 2  # matching windows of 5 x 5
_NOISE = (1.5 / 255) ** 2  # intensity variance that is only noise
_UNSEEN = 0.05
_STEP, _JUMP, _EDGE = 0.03, 0.35, 0.06


def plane_sweep(
    reference_image: Picture,  # [H, W, 3] uint8, or float in [0, 1]
    reference_camera: Camera,
    neighbour_images: Sequence[Picture],
    neighbour_cameras: Sequence[Camera],
    *,
    near_m: float = 2.0,
    far_m: float = 150.0,
    num_planes: int | None = None,
    workers: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Match a picture with its neighbours.

    Args:
        reference_image: [H, W, 3] uint8, or float in [0, 1].
        reference_camera: its camera.
        neighbour_images: 1 to 8 pictures, all of one size.
        neighbour_cameras: theirs, in the same frame.
        near_m, far_m: range of depth along z that is searched.
        num_planes: labels, dense in the distance (see `plane_inverse_depths`); None: 64 to 128 by how far the
            picture moves (see `suggest_planes`).
        workers: threads; None: `device.num_threads()`.

    Returns:
        depth [H, W] float32 metres along z, everywhere; confidence [H, W] in [0, 1], 0 where matching cannot know.

    Raises:
        ValueError: no neighbours, sizes that differ, an empty range.
    """
    _check(reference_image, reference_camera, neighbour_images, neighbour_cameras, near_m, far_m, num_planes)
    reference = luminance(reference_image)
    stack = np.stack([luminance(image) for image in neighbour_images])
    a, b = matching.epipolar_terms(reference_camera, list(neighbour_cameras))
    num_planes = num_planes or suggest_planes(a, b, reference.shape, near_m, far_m)
    planes = plane_inverse_depths(near_m, far_m, num_planes)
    with ThreadPoolExecutor(workers or num_threads()) as pool:
        volume = _cost_volume(reference, stack, a, b, planes, pool)
        summed = aggregation.aggregate(volume, reference, pool, step=_STEP, jump=_JUMP, edge=_EDGE)
        label, cost, second = _winners(summed, pool)
        inverse_depth = np.interp(label, np.arange(num_planes), planes).astype(np.float32)
    raw = np.take_along_axis(volume, np.rint(label).astype(np.int64)[..., None], 2)[..., 0]
    unique = np.clip((second - cost) / 0.08, 0, 1)
    matched = np.clip((0.75 - raw) / 0.4, 0, 1)
    moved = parallax(a, b, inverse_depth)
    known = np.clip(moved / 1.5 - 0.33, 0, 1)
    inner = (label > 0.5) & (label < num_planes - 1.5)  # the end planes also collect what lies beyond them
    confidence = unique * np.sqrt(matched) * known * np.where(inner, 1.0, 0.3)
    return torch.from_numpy(1.0 / inverse_depth), torch.from_numpy(confidence.astype(np.float32))


def plane_inverse_depths(near_m: float, far_m: float, num_planes: int) -> Floats:
    """Inverse depths [D] from near to far, metres^-1.

    Denser in the distance than uniform steps: there the long baselines decide, close by the short ones, so that
    a step is about a pixel of motion for the neighbours that matter.
    """
    x = np.linspace(1.0, 0.0, num_planes) ** 1.35
    return (1.0 / far_m + x * (1.0 / near_m - 1.0 / far_m)).astype(np.float32)


def suggest_planes(a: Floats, b: Floats, shape: tuple[int, ...], near_m: float, far_m: float) -> int:
    """Planes, 64 to 128, so that a step moves a typical pixel about 1.5 px in the neighbour of median motion.

    Motion is taken over the farther three quarters of the range: what is nearest is large and rare.
    """
    nearer, farther = (np.full(shape, w, np.float32) for w in (0.25 / near_m, 1.0 / far_m))
    spans = []
    for n in range(len(a)):
        moves = parallax(a[n : n + 1], b[n : n + 1], nearer)
        rest = parallax(a[n : n + 1], b[n : n + 1], farther)
        inside = (moves > 0) & (rest > 0)
        if inside.any():
            spans.append(float(np.median(moves[inside] - rest[inside])))
    span_px = 4.0 * float(np.median(spans)) if spans else 0.0
    return int(np.clip(np.ceil(span_px / 1.5 / 16) * 16, 64, 128))


def parallax(a: Floats, b: Floats, inverse_depth: Floats) -> Floats:
    """The largest motion in pixels, over the neighbours, between a pixel's depth and infinity; [H, W].

    A neighbour counts where it sees the point.
    """
    height, width = inverse_depth.shape
    u, v = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    most = np.zeros((height, width), np.float32)
    for a_n, b_n in zip(a, b, strict=True):
        infinite = np.stack([a_n[k, 0] * u + a_n[k, 1] * v + a_n[k, 2] for k in range(3)])
        finite = infinite + inverse_depth * b_n[:, None, None]
        ahead = (infinite[2] > 1e-3) & (finite[2] > 1e-3)
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = finite[0] / finite[2], finite[1] / finite[2]
            motion = np.hypot(x - infinite[0] / infinite[2], y - infinite[1] / infinite[2])
        inside = ahead & (x > 0) & (x < width) & (y > 0) & (y < height)
        most = np.where(inside, np.maximum(most, motion), most)
    return most


def luminance(image: Picture) -> Floats:
    """[H, W] float32 in [0, 1] of a picture [H, W, 3], uint8 or float in [0, 1]."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    scale = 1.0 / 255.0 if array.dtype == np.uint8 else 1.0
    return np.ascontiguousarray(array.astype(np.float32) @ (np.array([0.299, 0.587, 0.114], np.float32) * scale))


def _cost_volume(reference: Floats, stack: Floats, a: Floats, b: Floats, planes: Floats, pool: Executor) -> Floats:
    """[H, W, D]."""
    height, width = reference.shape
    scratch, mean, square = np.empty(width, np.float32), np.empty_like(reference), np.empty_like(reference)
    matching.box_mean(reference, _RADIUS_PX, scratch, mean)
    matching.box_mean(reference * reference, _RADIUS_PX, scratch, square)
    variance = np.maximum(square - mean * mean, 0)
    costs = np.empty((len(planes), height, width), np.float32)

    def run(d: int) -> None:
        matching.plane_cost(
            reference, mean, variance, stack, a, b, planes[d],
            _RADIUS_PX, np.float32(_NOISE), np.float32(_UNSEEN), costs[d],
        )  # fmt: skip

    list(pool.map(run, range(len(planes))))
    return np.ascontiguousarray(costs.transpose(1, 2, 0))


def _winners(summed: Floats, pool: Executor) -> tuple[Floats, Floats, Floats]:
    label, cost, second = (np.empty(summed.shape[:2], np.float32) for _ in range(3))
    edges = np.linspace(0, summed.shape[0], 9).astype(int)
    list(pool.map(lambda i: aggregation.best_label(summed, edges[i], edges[i + 1], 3, label, cost, second), range(8)))
    return label, cost, second


def _check(
    image: Picture,
    camera: Camera,
    images: Sequence[Picture],
    cameras: Sequence[Camera],
    near_m: float,
    far_m: float,
    num_planes: int | None,
) -> None:
    if not 1 <= len(images) <= matching.MAX_NEIGHBOURS or len(images) != len(cameras):
        raise ValueError(
            f"plane_sweep: expected 1 to {matching.MAX_NEIGHBOURS} neighbours with a camera each, "
            f"found {len(images)} images and {len(cameras)} cameras"
        )
    for one, its in zip((image, *images), (camera, *cameras), strict=True):
        if tuple(one.shape) != (its.height, its.width, 3):
            raise ValueError(f"plane_sweep: expected an image [{its.height}, {its.width}, 3], found {list(one.shape)}")
    if len({tuple(one.shape) for one in images}) > 1:
        raise ValueError("plane_sweep: expected neighbours of one size")
    if not 0 < near_m < far_m or (num_planes is not None and num_planes < 8):
        raise ValueError(
            f"plane_sweep: expected 0 < near_m < far_m, num_planes >= 8; found {near_m}, {far_m}, {num_planes}"
        )
