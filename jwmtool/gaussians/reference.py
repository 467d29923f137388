"""The readable rasterizer: plain torch in any precision. In float64 it defines the truth for both backends.

With `tile_px` it is also the vectorized torch twin that `bench/rasterize` compares the kernels with: the same
arithmetic on tiles, each tile only with the Gaussians whose box touches it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.gaussians.ewa import ALPHA_MAX, ALPHA_MIN, EPS2D, T_STOP, Intrinsics, jacobian_limits


def rasterize_reference(
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
    tile_px: int | None = None,
) -> tuple[Tensor, Tensor]:  # [H, W, 5], [H, W]
    """Blend Gaussians to red, green, blue, accumulated depth and alpha.

    The second result says how close each pixel came to a decision (the alpha cut or the stop): within rounding of
    one, two correct rasterizers may differ.
    """
    means2d, conics, covars, depths = project(means, quats, scales, viewmat, intrinsics, width, height)
    drawn = (depths >= near_m) & (opacities >= ALPHA_MIN)
    order = torch.argsort(depths.detach().float(), stable=True)
    order = order[drawn[order]]
    splats = (means2d[order], conics[order], opacities[order], torch.cat([colors, depths[:, None]], 1)[order])
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v], -1).to(means) + 0.5
    if tile_px is None:
        channels, margin = _composite(pixels.reshape(-1, 2), *splats)
        return channels.reshape(height, width, 5), margin.reshape(height, width)
    with torch.no_grad():
        extent = torch.sqrt(2.0 * torch.log(opacities[order] / ALPHA_MIN))[:, None] * covars[order].sqrt()
        low, high = splats[0] - extent, splats[0] + extent
    rows, margins = [], []
    for top in range(0, height, tile_px):
        in_row = torch.nonzero((high[:, 1] > top) & (low[:, 1] < top + tile_px))[:, 0]
        row, row_margin = [], []
        for left in range(0, width, tile_px):
            inside = in_row[(high[in_row, 0] > left) & (low[in_row, 0] < left + tile_px)]
            tile = pixels[top : top + tile_px, left : left + tile_px]
            channels, margin = _composite(tile.reshape(-1, 2), *(s[inside] for s in splats))
            row.append(channels.reshape(*tile.shape[:2], 5))
            row_margin.append(margin.reshape(tile.shape[:2]))
        rows.append(torch.cat(row, 1))
        margins.append(torch.cat(row_margin, 1))
    return torch.cat(rows), torch.cat(margins)


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    viewmat: Tensor,
    intrinsics: Intrinsics,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """EWA projection (Zwicker et al. 2002): means2d [N, 2], conics [N, 3], variances [N, 2], depths [N]."""
    fx, fy, cx, cy = intrinsics
    limits = jacobian_limits(intrinsics, width, height)
    R, t = viewmat[:3, :3].to(means), viewmat[:3, 3].to(means)
    cam = means @ R.T + t
    x, y, z = cam.unbind(1)
    safe_z = torch.where(z > 1e-9, z, torch.ones_like(z))  # what lies behind is not drawn; keep its gradient finite
    tx = safe_z * (x / safe_z).clamp(-limits[0], limits[1])
    ty = safe_z * (y / safe_z).clamp(-limits[2], limits[3])
    zero = torch.zeros_like(z)
    J = torch.stack([fx / safe_z, zero, -fx * tx / safe_z**2, zero, fy / safe_z, -fy * ty / safe_z**2], 1).reshape(
        -1, 2, 3
    )
    A = J @ R @ (_rotation(quats) * scales[:, None, :])
    cov = A @ A.transpose(1, 2) + EPS2D * torch.eye(2).to(means)
    a, b, c = cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]
    det = a * c - b * b
    means2d = torch.stack([fx * x / safe_z + cx, fy * y / safe_z + cy], 1)
    return means2d, torch.stack([c / det, -b / det, a / det], 1), torch.stack([a, c], 1), z


def _rotation(quats: Tensor) -> Tensor:
    w, x, y, z = (quats / quats.norm(dim=1, keepdim=True).clamp(min=1e-12)).unbind(1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ],
        1,
    ).reshape(-1, 3, 3)  # fmt: skip


def _composite(
    pixels: Tensor,  # [P, 2]
    means2d: Tensor,  # [M, 2], front to back
    conics: Tensor,  # [M, 3]
    opacities: Tensor,  # [M]
    values: Tensor,  # [M, 4]
) -> tuple[Tensor, Tensor]:  # [P, 5], [P]
    d = pixels[None] - means2d[:, None]
    sigma = 0.5 * (conics[:, None, 0] * d[..., 0] ** 2 + conics[:, None, 2] * d[..., 1] ** 2)
    sigma = sigma + conics[:, None, 1] * d[..., 0] * d[..., 1]
    alpha = (opacities[:, None] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
    seen = alpha >= ALPHA_MIN
    kept = torch.where(seen, 1.0 - alpha, torch.ones_like(alpha))
    after = torch.cumprod(kept, 0)
    drawn = seen & (after > T_STOP)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(drawn, alpha * before, torch.zeros_like(alpha))
    channels = weights.T @ values
    with torch.no_grad():
        alive = before > T_STOP * 0.5
        cut = torch.where(alive, (alpha - ALPHA_MIN).abs(), torch.ones_like(alpha))
        stop = torch.where(seen, (after - T_STOP).abs(), torch.ones_like(alpha))
        ones = torch.ones(1, len(pixels), dtype=alpha.dtype)
        margin = torch.minimum(torch.cat([cut, ones]).amin(0), torch.cat([stop, ones]).amin(0))
    return torch.cat([channels, weights.sum(0)[:, None]], 1), margin
