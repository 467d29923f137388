"""The readable rasterizer: plain torch in any precision. In float64 it defines the truth for both backends."""

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
) -> tuple[Tensor, Tensor]:  # [H, W, 5], [H, W]
    """Blend Gaussians to red, green, blue, accumulated depth and alpha: every Gaussian at every pixel.

    The second result says how close each pixel came to a decision (the alpha cut or the stop): within rounding of
    one, two correct rasterizers may differ.
    """
    splats, _ = _splats(means, quats, scales, opacities, colors, viewmat, intrinsics, width, height, near_m)
    alphas, before, channels = _composite(_pixels(width, height, means).reshape(-1, 2), *splats)
    return channels.reshape(height, width, 5), _margin(alphas, before).reshape(height, width)


def rasterize_tiled(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmat: Tensor,
    intrinsics: Intrinsics,
    width: int,
    height: int,
    near_m: float,
    tile_px: int = 16,
) -> Tensor:  # [H, W, 5]
    """The vectorized torch twin that `bench/rasterize` compares the kernels with.

    The same arithmetic as `rasterize_reference`, but each tile only with the Gaussians whose box touches it.
    """
    splats, variances = _splats(means, quats, scales, opacities, colors, viewmat, intrinsics, width, height, near_m)
    with torch.no_grad():
        extent = torch.sqrt(2.0 * torch.log(splats[2] / ALPHA_MIN))[:, None] * variances.sqrt()
        low, high = splats[0] - extent, splats[0] + extent
    pixels = _pixels(width, height, means)
    rows = []
    for top in range(0, height, tile_px):
        in_row = torch.nonzero((high[:, 1] > top) & (low[:, 1] < top + tile_px))[:, 0]
        left, right = low[in_row, 0], high[in_row, 0]
        row = []
        for x in range(0, width, tile_px):
            inside = in_row[(right > x) & (left < x + tile_px)]
            tile = pixels[top : top + tile_px, x : x + tile_px]
            _, _, channels = _composite(tile.reshape(-1, 2), *(s[inside] for s in splats))
            row.append(channels.reshape(*tile.shape[:2], 5))
        rows.append(torch.cat(row, 1))
    return torch.cat(rows)


def _pixels(width: int, height: int, like: Tensor) -> Tensor:
    """Pixel centres [H, W, 2]."""
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([u, v], -1).to(like) + 0.5


def _splats(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmat: Tensor,
    intrinsics: Intrinsics,
    width: int,
    height: int,
    near_m: float,
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """What is drawn, front to back: (means2d [M, 2], conics [M, 3], opacities [M], values [M, 4]), variances [M, 2]."""
    means2d, conics, variances, depths = project(means, quats, scales, viewmat, intrinsics, width, height)
    drawn = (depths >= near_m) & (opacities >= ALPHA_MIN)
    order = torch.argsort(depths.detach().float(), stable=True)
    order = order[drawn[order]]
    values = torch.cat([colors, depths[:, None]], 1)
    return (means2d[order], conics[order], opacities[order], values[order]), variances[order]


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Alphas [M, P], transmittances before each Gaussian [M, P], and channels [P, 5]."""
    d = pixels[None] - means2d[:, None]
    dx, dy = d[..., 0], d[..., 1]
    sigma = 0.5 * (conics[:, None, 0] * dx * dx + conics[:, None, 2] * dy * dy) + conics[:, None, 1] * dx * dy
    alpha = (opacities[:, None] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
    seen = alpha >= ALPHA_MIN
    after = torch.cumprod(torch.where(seen, 1.0 - alpha, 1.0), 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(seen & (after > T_STOP), alpha * before, 0.0)
    return alpha, before, torch.cat([weights.T @ values, weights.sum(0)[:, None]], 1)


@torch.no_grad()
def _margin(alpha: Tensor, before: Tensor) -> Tensor:
    """Distance [P] of the nearest decision: of an alpha from its cut, of a transmittance from the stop."""
    ones = torch.ones_like(alpha[:1]) if len(alpha) else torch.ones(1, alpha.shape[1], dtype=alpha.dtype)
    after = before * (1.0 - alpha)
    cut = torch.where(before > 0.5 * T_STOP, (alpha - ALPHA_MIN).abs(), 1.0)
    stop = torch.where(alpha >= ALPHA_MIN, (after - T_STOP).abs(), 1.0)
    return torch.cat([ones, cut, stop]).amin(0)
