"""CUDA backend of the rasterizer: gsplat. Imported only when tensors are on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.errors import MissingPartError
from jwmtool.gaussians.ewa import EPS2D, Intrinsics


def rasterize_gsplat(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4]
    intrinsics: Intrinsics,
    width: int,
    height: int,
    near_m: float,
) -> Tensor:  # [H, W, 5]
    """Blend Gaussians to red, green, blue, accumulated depth and alpha; see `rasterize_cpu`, its twin."""
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise MissingPartError(f"the CUDA rasterizer needs gsplat: {error}; pip install gsplat") from None
    if len(means) == 0:
        return torch.zeros(height, width, 5, device=means.device)
    fx, fy, cx, cy = intrinsics
    K = torch.tensor([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], device=means.device)
    blended, alpha, _ = rasterization(
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmat.to(device=means.device, dtype=torch.float32)[None],
        K[None],
        width,
        height,
        near_plane=near_m,
        eps2d=EPS2D,
        render_mode="RGB+D",
        packed=False,
    )
    return torch.cat([blended[0], alpha[0]], dim=-1)
