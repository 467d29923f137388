"""CPU backend of the rasterizer: runs the Numba kernels on a thread pool and joins them to autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from jwmtool.device import num_threads
from jwmtool.gaussians import cpu_kernels as kernels
from jwmtool.gaussians.ewa import Intrinsics, jacobian_limits
from jwmtool.threads import CHUNK, chunks_of, in_threads


def rasterize_cpu(
    means: Tensor,  # [N, 3] metres
    quats: Tensor,  # [N, 4] wxyz, any norm but zero
    scales: Tensor,  # [N, 3] metres
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4] cam_from_scene, float64
    intrinsics: Intrinsics,
    width: int,
    height: int,
    near_m: float,
) -> Tensor:  # [H, W, 5]
    """Blend Gaussians to red, green, blue, accumulated depth and alpha. Differentiable in the first six arguments."""
    view = _View(intrinsics, jacobian_limits(intrinsics, width, height), width, height, near_m)
    result: Tensor = _Rasterize.apply(view, means, quats, scales, opacities, colors, viewmat)
    return result


@dataclass(frozen=True)
class _View:
    intrinsics: Intrinsics
    limits: Intrinsics
    width: int
    height: int
    near_m: float


@dataclass(frozen=True)
class _Splats:
    """Projected Gaussians, and which tiles they touch."""

    values: NDArray[np.float64]  # [N, 12], see cpu_kernels
    counts: NDArray[np.int64]  # [N] tiles touched
    first_slot: NDArray[np.int64]  # [N] where each Gaussian's gradients begin
    tile_start: NDArray[np.int64]  # [tiles + 1]
    isect_splat: NDArray[np.uint32]  # [I] Gaussians, by tile, front to back
    isect_slot: NDArray[np.int64]  # [I] their slots
    groups: list[NDArray[np.int64]]  # tiles of about equal work


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, view: _View, *tensors: Tensor) -> Tensor:
        splats = _project_and_bin(view, tensors)
        out = np.empty((view.height, view.width, 5), np.float32)

        def run(tiles: NDArray[np.int64]) -> None:
            kernels.composite(tiles, splats.tile_start, splats.isect_splat, splats.values, view.width, view.height, out)

        in_threads(run, splats.groups)
        ctx.save_for_backward(*tensors)
        ctx.view, ctx.splats, ctx.out = view, splats, out
        ctx.num_intersections = len(splats.isect_slot)
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        tensors, view, splats, upstream = ctx.saved_tensors, ctx.view, ctx.splats, _array(grad_out)
        grads = np.empty((ctx.num_intersections, kernels.NUM_GRADS), np.float32)

        def composite(tiles: NDArray[np.int64]) -> None:
            kernels.composite_backward(
                tiles, splats.tile_start, splats.isect_splat, splats.isect_slot, splats.values,
                view.width, view.height, ctx.out, upstream, grads,
            )  # fmt: skip

        in_threads(composite, splats.groups)
        means, quats, scales = (_array(t) for t in tensors[:3])
        matrix = _matrix(tensors[5])
        results = [np.zeros(t.shape, np.float32) for t in tensors[:5]]
        chunks = chunks_of(len(means))
        grad_views = np.zeros((len(chunks), 4, 4))  # one a chunk, summed in order

        def project(chunk: tuple[int, int]) -> None:
            begin, end = chunk
            kernels.project_backward(  # type: ignore[call-arg]
                begin, end, means, quats, scales, matrix, view.intrinsics, view.limits,
                splats.values, splats.first_slot, splats.counts, grads,
                *results, grad_views[begin // CHUNK],
            )  # fmt: skip

        in_threads(project, chunks)
        grad_view = torch.from_numpy(grad_views.sum(0)).to(tensors[5].dtype)
        return None, *(torch.from_numpy(r) for r in results), grad_view


def _project_and_bin(view: _View, tensors: Sequence[Tensor]) -> _Splats:
    means, quats, scales, opacities, colors = (_array(t) for t in tensors[:5])
    matrix = _matrix(tensors[5])
    n = len(means)
    values, counts = np.empty((n, 12), np.float64), np.empty(n, np.int64)

    def project(chunk: tuple[int, int]) -> None:
        kernels.project(
            *chunk, means, quats, scales, opacities, colors, matrix, view.intrinsics, view.limits,
            view.width, view.height, view.near_m, values, counts,
        )  # fmt: skip

    in_threads(project, chunks_of(n))
    first_slot = np.cumsum(counts) - counts
    drawn = np.flatnonzero(counts)
    # Depth first, index second: positive floats sort like their bits.
    keys = values[drawn, 9].astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)
    order = np.sort(keys | drawn.astype(np.uint64)).astype(np.uint32)
    num_tiles = -(-view.width // kernels.TILE) * -(-view.height // kernels.TILE)
    tile_start = np.empty(num_tiles + 1, np.int64)
    isect_splat, isect_slot = np.empty(counts.sum(), np.uint32), np.empty(counts.sum(), np.int64)
    kernels.bin_tiles(order, values, first_slot, view.width, view.height, tile_start, isect_splat, isect_slot)
    return _Splats(values, counts, first_slot, tile_start, isect_splat, isect_slot, _balanced(tile_start))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _matrix(viewmat: Tensor) -> NDArray[np.float64]:
    return viewmat.detach().to(torch.float64).contiguous().numpy()


def _balanced(tile_start: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split the tiles into groups of about equal work, a few for each thread."""
    work = np.cumsum(np.diff(tile_start) + 4)
    num_groups = min(len(work), 8 * num_threads())
    group = np.minimum((work - 1) * num_groups // work[-1], num_groups - 1)
    return [g for g in np.split(np.arange(len(work)), np.searchsorted(group, np.arange(1, num_groups))) if len(g)]
