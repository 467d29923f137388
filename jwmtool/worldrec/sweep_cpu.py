"""The plane sweep's scores on a CPU: kernels (matching_kernels.py) joined to autograd.

Their twin in torch, which runs on GPUs, is `sweep.scores_torch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jwmtool.threads import in_threads
from jwmtool.worldrec.features import TEXTURE
from jwmtool.worldrec.matching_kernels import score, score_backward, sizes_of


def scores_cpu(
    features: Tensor,  # [V, C, h, w]
    groups: int,
    index: Tensor,  # [V, N] int64
    valid: Tensor,  # [V, N] bool
    maps: Tensor,  # [V, N, 3, 4] float32
    rays: Tensor,  # [V, 3, h, w]
    inverse: Tensor,  # [V, D, h, w]
    cells_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """As `sweep.matching_scores`."""
    result: tuple[Tensor, Tensor] = _Scores.apply(features, groups, index, valid, maps, rays, inverse, cells_first)
    return result


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        groups: int,
        index: Tensor,
        valid: Tensor,
        maps: Tensor,
        rays: Tensor,
        inverse: Tensor,
        cells_first: bool,
    ) -> tuple[Tensor, Tensor]:
        packed = features.permute(0, 2, 3, 1).contiguous().numpy()
        V, D, height, width = inverse.shape
        if cells_first:
            scores = np.empty((V, height, width, groups + 2, D), np.float32).transpose(0, 3, 4, 1, 2)
            seen = np.empty((V, height, width, D), np.float32).transpose(0, 3, 1, 2)
        else:
            scores = np.empty((V, groups + 2, D, height, width), np.float32)
            seen = np.empty((V, D, height, width), np.float32)
        sizes = sizes_of(packed.shape[3], groups)
        told = index.numpy(), valid.numpy(), maps.contiguous().numpy()
        fixed = rays.permute(0, 2, 3, 1).contiguous().numpy(), inverse.contiguous().numpy()
        kernel: Callable[..., None] = score

        def one(v: int) -> None:
            kernel(packed, v, *(a[v] for a in told), *(a[v] for a in fixed), sizes, scores[v], seen[v])

        in_threads(one, range(V))
        ctx.packed, ctx.told, ctx.fixed, ctx.sizes, ctx.seen = packed, told, fixed, sizes, seen
        count = torch.from_numpy(seen)
        ctx.mark_non_differentiable(count)
        return torch.from_numpy(scores), count

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_scores: Tensor, grad_seen: Tensor) -> tuple[Tensor | None, ...]:
        packed, told, fixed = ctx.packed, ctx.told, ctx.fixed
        given = grad_scores.numpy()
        kernel: Callable[..., None] = score_backward
        gradient = np.zeros_like(packed)
        # What a view sends to each of its neighbors.
        parts = np.zeros((*told[0].shape, *packed.shape[1:3], packed.shape[3] - TEXTURE), np.float32)

        def one(v: int) -> None:
            kernel(
                packed, v, *(a[v] for a in told), *(a[v] for a in fixed), ctx.sizes, ctx.seen[v], given[v],
                gradient[v], parts[v],
            )  # fmt: skip

        in_threads(one, range(len(packed)))
        for v, others in enumerate(told[0]):  # in order, so that sums do not depend on threads
            for k, other in enumerate(others):
                if told[1][v, k]:
                    gradient[other, ..., : parts.shape[-1]] += parts[v, k]
        return torch.from_numpy(gradient).permute(0, 3, 1, 2), *[None] * 7
