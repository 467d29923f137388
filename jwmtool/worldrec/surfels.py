"""Surfels: flat Gaussians that cover, on the surface that a depth map shows, the cells of a lattice of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.views import Views

_STEEPEST = 0.15  # relative change of depth a pixel; what is steeper is an edge, not a surface
_THICKNESS = 0.08  # of a surfel, in footprints


@dataclass(frozen=True)
class Pixels:
    """M places in pictures.

    Attributes:
        view: [M] int64.
        xy: [M, 2] px, continuous; centers of pixels at .5.
    """

    view: Tensor
    xy: Tensor


def rays_of(views: Views, pixels: Pixels) -> Tensor:
    """Directions [M, 3] of unit depth in the camera's frame."""
    K = views.Ks[pixels.view]
    focal = torch.stack([K[:, 0, 0], K[:, 1, 1]], 1)
    return torch.cat([(pixels.xy - K[:, :2, 2]) / focal, torch.ones_like(pixels.xy[:, :1])], 1)


def lift(views: Views, pixels: Pixels, inverse: Tensor) -> Tensor:
    """Points [M, 3] in the scene frame at inverse depths [M]."""
    pose = views.scene_from_cam[pixels.view]
    points = rays_of(views, pixels) / inverse[:, None]
    return (pose[:, :3, :3] @ points[..., None])[..., 0] + pose[:, :3, 3]


def slopes(inverse: Tensor) -> Tensor:
    """Gradient [V, 2, H, W] of inverse depth [V, H, W], a pixel to the right and down.

    At an edge the side with the smaller difference counts, so that a slope belongs to one surface; inverse depth is
    linear on planes, so there it is exact.
    """
    return torch.stack([_smaller_difference(inverse, 2), _smaller_difference(inverse, 1)], 1)


def surface_at(inverse: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor]:
    """Inverse depth [M] and its slope [M, 2] at places of maps [V, H, W].

    The slope is that of the pixel that a place lies in, the inverse depth leads along it from the pixel's center.
    """
    off = pixels.xy - pixels.xy.floor() - 0.5
    slope = nearest(slopes(inverse), pixels.view, pixels.xy)
    step = (slope * off).sum(1)
    own = nearest(inverse[:, None], pixels.view, pixels.xy)[:, 0]
    inverse_there = own + torch.maximum(torch.minimum(step, _STEEPEST * own), -_STEEPEST * own)
    return inverse_there, slope


def _smaller_difference(values: Tensor, dim: int) -> Tensor:
    step = values.diff(dim=dim)
    first, last = step.narrow(dim, 0, 1), step.narrow(dim, step.shape[dim] - 1, 1)
    ahead, behind = torch.cat([step, last], dim), torch.cat([first, step], dim)
    return torch.where(ahead.abs() < behind.abs(), ahead, behind)


def shapes(
    views: Views,
    pixels: Pixels,
    inverse: Tensor,  # [M] 1/m
    slope: Tensor,  # [M, 2] its change a pixel
    spacing_px: Tensor,  # [M]
) -> tuple[Tensor, Tensor]:
    """Orientation and size of surfels whose standard deviation is `spacing_px` in their picture.

    A pixel's step to the right moves the point r / w (ray r, inverse depth w) by (r_u w - r w_u) / w^2; the two steps
    span the surfel, whose axes are those of the ellipse that they inscribe. No gradient flows through it.

    Returns:
        (quats [M, 4] wxyz, scales [M, 3] metres).
    """
    with torch.no_grad():
        K, pose = views.Ks[pixels.view], views.scene_from_cam[pixels.view]
        w = inverse[:, None].detach()
        slope = torch.maximum(torch.minimum(slope.detach(), _STEEPEST * w), -_STEEPEST * w)
        ray = rays_of(views, pixels)
        aside, down = torch.zeros_like(ray), torch.zeros_like(ray)
        aside[:, 0], down[:, 1] = 1.0 / K[:, 0, 0], 1.0 / K[:, 1, 1]
        a = (aside * w - ray * slope[:, :1]) / w.square() * spacing_px[:, None]
        b = (down * w - ray * slope[:, 1:]) / w.square() * spacing_px[:, None]
        aa, ab, bb = (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)
        turn = 0.5 * torch.atan2(2.0 * ab, aa - bb)[:, None]
        major = a * turn.cos() + b * turn.sin()
        minor = b * turn.cos() - a * turn.sin()
        long, short = major.norm(dim=1), minor.norm(dim=1)
        x, y = major / long[:, None], minor / short[:, None]
        frame = pose[:, :3, :3] @ torch.stack([x, y, torch.linalg.cross(x, y)], 2)
        footprint = spacing_px / (w[:, 0] * K[:, 0, 0])
        return quaternions(frame), torch.stack([long, short, _THICKNESS * footprint], 1)


def quaternions(rotations: Tensor) -> Tensor:
    """Unit quaternions [M, 4], wxyz, of rotation matrices [M, 3, 3]."""
    m = rotations
    x, y, z = torch.diagonal(m, dim1=1, dim2=2).unbind(1)
    # Four times the product of every two components; the row of the largest component is the well-conditioned one.
    product = torch.stack([
        torch.stack([1 + x + y + z, m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], 1),
        torch.stack([m[:, 2, 1] - m[:, 1, 2], 1 + x - y - z, m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0]], 1),
        torch.stack([m[:, 0, 2] - m[:, 2, 0], m[:, 0, 1] + m[:, 1, 0], 1 - x + y - z, m[:, 1, 2] + m[:, 2, 1]], 1),
        torch.stack([m[:, 1, 0] - m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1], 1 - x - y + z], 1),
    ], 1)  # fmt: skip
    best = torch.diagonal(product, dim1=1, dim2=2).T.contiguous().argmax(0)
    return torch.nn.functional.normalize(product[torch.arange(len(m), device=m.device), best], dim=1)
