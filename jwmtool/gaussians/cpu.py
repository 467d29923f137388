"""CPU backend of the rasterizer: runs the Numba kernels on a thread pool and joins them to autograd."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from jwmtool.device import num_threads
from jwmtool.gaussians import cpu_kernels as kernels

_CHUNK = 8192  # Gaussians a task
_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process, threads, pool)


def rasterize_cpu(
    means: Tensor,  # [N, 3] metres
    quats: Tensor,  # [N, 4] wxyz, any norm but zero
    scales: Tensor,  # [N, 3] metres
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4] cam_from_scene, float64
    intrinsics: tuple[float, float, float, float],  # fx, fy, cx, cy in pixels
    width: int,
    height: int,
    near_m: float,
) -> Tensor:  # [H, W, 5]
    """Blend Gaussians to red, green, blue, accumulated depth and alpha. Differentiable in the first six arguments."""
    result: Tensor = _Rasterize.apply(
        means, quats, scales, opacities, colors, viewmat, intrinsics, width, height, near_m
    )  # type: ignore[no-untyped-call]
    return result


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        tensors, (intrinsics, width, height, near_m) = inputs[:6], inputs[6:]
        means, quats, scales, opacities, colors = (_array(t) for t in tensors[:5])
        view = tensors[5].detach().to(torch.float64).numpy()
        limits = jacobian_limits(intrinsics, width, height)
        n = len(means)
        splats = np.empty((n, 12), np.float64)
        counts = np.empty(n, np.int64)
        chunks = [(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK)]
        _parallel(
            lambda begin, end: kernels.project(
                begin, end, means, quats, scales, opacities, colors, view, intrinsics, limits,
                width, height, near_m, splats, counts,
            ),
            chunks,
        )  # fmt: skip
        first_slot = np.cumsum(counts) - counts
        drawn = np.flatnonzero(counts)
        # Depth first, index second: positive floats sort like their bits.
        keys = splats[drawn, 9].astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)
        order = np.sort(keys | drawn.astype(np.uint64)).astype(np.uint32)
        num_tiles = -(-width // kernels.TILE) * -(-height // kernels.TILE)
        tile_start = np.empty(num_tiles + 1, np.int64)
        isect_splat, isect_slot = np.empty(counts.sum(), np.uint32), np.empty(counts.sum(), np.int64)
        kernels.bin_tiles(order, splats, first_slot, width, height, tile_start, isect_splat, isect_slot)
        out = np.empty((height, width, 5), np.float32)
        tiles = _balanced(tile_start)
        _parallel(
            lambda group: kernels.composite(group, tile_start, isect_splat, splats, width, height, out),
            [(t,) for t in tiles],
        )
        ctx.save_for_backward(*tensors)
        ctx.num_intersections = len(isect_slot)
        ctx.rest = (
            intrinsics,
            limits,
            width,
            height,
            splats,
            counts,
            first_slot,
            tile_start,
            isect_splat,
            isect_slot,
            out,
            tiles,
        )
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        tensors = ctx.saved_tensors
        means, quats, scales, _, _ = (_array(t) for t in tensors[:5])
        view = tensors[5].detach().to(torch.float64).numpy()
        (
            intrinsics,
            limits,
            width,
            height,
            splats,
            counts,
            first_slot,
            tile_start,
            isect_splat,
            isect_slot,
            out,
            tiles,
        ) = ctx.rest
        upstream = _array(grad_out)
        grads = np.empty((len(isect_slot), kernels.NUM_GRADS), np.float32)
        _parallel(
            lambda group: kernels.composite_backward(
                group, tile_start, isect_splat, isect_slot, splats, width, height, out, upstream, grads
            ),
            [(t,) for t in tiles],
        )
        n = len(means)
        results = [np.zeros(t.shape, np.float32) for t in tensors[:5]]
        chunks = [(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK)]
        grad_views = np.zeros((len(chunks), 4, 4))
        _parallel(
            lambda begin, end: kernels.project_backward(  # type: ignore[call-arg]
                begin, end, means, quats, scales, view, intrinsics, limits, splats, first_slot, counts, grads,
                *results, grad_views[begin // _CHUNK],
            ),
            chunks,
        )  # fmt: skip
        grad_view = torch.from_numpy(grad_views.sum(0)).to(tensors[5].dtype)
        return (*(torch.from_numpy(r) for r in results), grad_view, None, None, None, None)


def jacobian_limits(
    intrinsics: tuple[float, float, float, float], width: int, height: int
) -> tuple[float, float, float, float]:
    """Bounds of -x/z, x/z, -y/z, y/z used in the projection's Jacobian: the view widened by 15 % a side, as gsplat."""
    fx, fy, cx, cy = intrinsics
    pad_x, pad_y = 0.15 * width / fx, 0.15 * height / fy
    return cx / fx + pad_x, (width - cx) / fx + pad_x, cy / fy + pad_y, (height - cy) / fy + pad_y


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _balanced(tile_start: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split the tiles into groups of about equal work, a few for each thread."""
    work = np.cumsum(np.diff(tile_start) + 4)
    num_groups = min(len(work), 8 * num_threads())
    group = np.minimum((work - 1) * num_groups // work[-1], num_groups - 1)
    return [g for g in np.split(np.arange(len(work)), np.searchsorted(group, np.arange(1, num_groups))) if len(g)]


def _parallel(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Call on every tuple, on the pool; kernels release the GIL. A forked child makes a pool of its own."""
    global _pool
    threads = num_threads()
    if threads == 1 or len(arguments) <= 1:
        for a in arguments:
            function(*a)
        return
    if _pool is None or _pool[:2] != (os.getpid(), threads):
        _pool = (os.getpid(), threads, ThreadPoolExecutor(threads, thread_name_prefix="jwm-rasterize"))
    for _ in _pool[2].map(lambda a: function(*a), arguments):
        pass
