"""Depth of many posed pictures: neighbours, sweep, cross-check, sky and filling in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.device import num_threads
from jwmtool.geometry.camera import Camera
from jwmtool.stereo.consistency import check_consistency, remove_specks
from jwmtool.stereo.fill import fill
from jwmtool.stereo.neighbours import choose_neighbours
from jwmtool.stereo.plane_sweep import Picture, plane_sweep
from jwmtool.stereo.sky import confirm_sky, sky_mask

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DepthMap:
    """What stereo knows of one picture.

    Attributes:
        index: of the picture in the list given.
        depth: [H, W] metres along z, complete; inf in the sky.
        confidence: [H, W]: matched and cross-checked above 0.3; matched in this picture alone 0.2 to 0.25; laid on
            the road's plane 0.15; spread from around 0.05 (see `fill`); 0 in the sky and under the mask.
        sky: [H, W].
    """

    index: int
    depth: Floats
    confidence: Floats
    sky: NDArray[np.bool_]


def depth_maps(
    images: Sequence[Picture],  # [H, W, 3] uint8, or float in [0, 1]
    cameras: Sequence[Camera],
    times: Sequence[float] | None = None,
    *,
    references: Sequence[int] | None = None,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    max_neighbours: int = 6,
    near_m: float = 2.0,
    far_m: float = 150.0,
    num_planes: int | None = None,
    on_progress: Callable[[float], None] | None = None,
    workers: int | None = None,
) -> list[DepthMap]:
    """Find the depth of posed pictures.

    Args:
        images: pictures, each of its camera's size.
        cameras: theirs, in one frame with z up.
        times: seconds, one a picture; None: one after another, 0.1 s apart.
        references: which pictures to find the depth of; None: all. All pictures serve as neighbours.
        masks: per picture, False where it must be ignored (own bonnet).
        max_neighbours, near_m, far_m, num_planes: see `choose_neighbours` and `plane_sweep`.
        on_progress: called with the share done, in [0, 1], from the calling thread.
        workers: threads; None: `device.num_threads()`.

    Returns:
        One map for each reference, in their order. A picture without neighbours gets confidence 0 but for the sky.
    """
    if len(images) != len(cameras):
        raise ValueError(f"depth_maps: expected a camera for each image, found {len(images)} and {len(cameras)}")
    times = [0.1 * i for i in range(len(images))] if times is None else times
    chosen = list(range(len(images)) if references is None else references)
    pictures = [_as_float(image) for image in images]
    report = on_progress or (lambda share: None)
    swept: list[tuple[Floats, Floats]] = []
    for count, index in enumerate(chosen):
        neighbours = [
            j
            for j in choose_neighbours(times, cameras, index, max_neighbours=max_neighbours)
            if images[j].shape == images[index].shape
        ]
        if neighbours:
            depth, confidence = plane_sweep(
                pictures[index], cameras[index], [pictures[j] for j in neighbours], [cameras[j] for j in neighbours],
                near_m=near_m, far_m=far_m, num_planes=num_planes, workers=workers,
            )  # fmt: skip
            swept.append((depth.numpy(), confidence.numpy()))
        else:
            shape = pictures[index].shape[:2]
            swept.append((np.full(shape, far_m, np.float32), np.zeros(shape, np.float32)))
        mask = masks[index] if masks is not None else None
        if mask is not None:
            swept[-1] = (swept[-1][0], np.where(mask, swept[-1][1], 0).astype(np.float32))
        report(0.85 * (count + 1) / len(chosen))

    some_times, some_cameras = [times[i] for i in chosen], [cameras[i] for i in chosen]

    def cross_check(k: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        depth, confidence = swept[k]
        others = choose_neighbours(some_times, some_cameras, k, max_neighbours=6, max_baseline_m=8.0)
        if others:
            depth, confidence = check_consistency(
                depth, confidence, some_cameras[k],
                [swept[j][0] for j in others], [swept[j][1] for j in others], [some_cameras[j] for j in others],
            )  # fmt: skip
            confidence = remove_specks(depth, confidence)
        return depth, confidence, sky_mask(pictures[chosen[k]], some_cameras[k], depth, confidence)

    def finish(k: int) -> DepthMap:
        depth, confidence, sky = checked[k]
        away = _spread_out(some_cameras, k)
        sky = confirm_sky(sky, some_cameras[k], [checked[j][2] for j in away], [some_cameras[j] for j in away])
        depth, confidence = fill(depth, confidence, pictures[chosen[k]], some_cameras[k], sky, far_m=far_m)
        mask = masks[chosen[k]] if masks is not None else None
        if mask is not None:
            confidence = np.where(mask, confidence, 0).astype(np.float32)
        return DepthMap(chosen[k], depth, confidence, sky)

    with ThreadPoolExecutor(workers or num_threads()) as pool:
        checked = list(pool.map(cross_check, range(len(chosen))))
        report(0.93)
        maps = list(pool.map(finish, range(len(chosen))))
    report(1.0)
    return maps


def _spread_out(cameras: Sequence[Camera], k: int, count: int = 8) -> list[int]:
    """Up to `count` cameras 3 to 20 m from camera k, evenly over their distances: for the sky's direction."""
    centers = np.stack([camera.world_from_cam[:3, 3] for camera in cameras])
    distance = np.linalg.norm(centers - centers[k], axis=1)
    order = [int(j) for j in np.argsort(distance) if 3.0 <= distance[j] <= 20.0]
    return [order[i] for i in np.unique(np.linspace(0, len(order) - 1, count).astype(int))] if order else []


def _as_float(image: Picture) -> Floats:
    array = np.asarray(image)
    scale = 1.0 / 255.0 if array.dtype == np.uint8 else 1.0
    return np.ascontiguousarray(array, np.float32) * np.float32(scale)
