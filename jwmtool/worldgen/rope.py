"""Rotary position embedding over time, height and width (RoFormer, arXiv 2104.09864; the split of a head is Wan's).

Time is a real number, so that frames need not be evenly spaced; at whole numbers the embedding equals Wan's.
"""

# B samples, V views, T frames, P patches of a frame (row by row), H heads, D numbers of a head.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """How far each pair of numbers of a head is turned.

    Attributes:
        turn: [B, 1, T, P, 1, D / 2] complex numbers of length 1.
    """

    turn: Tensor


def head_split(head_dim: int) -> tuple[int, int, int]:
    """Numbers of a head that tell of time, height and width; each even."""
    space = 2 * (head_dim // 6)
    return head_dim - 2 * space, space, space


def rotation(
    times: Tensor,  # [B, T], steps of the base latent rate
    height: int,
    width: int,
    head_dim: int,
    theta: float,
) -> Rotation:
    """Of every patch of height x width at these times; angles are float64, what comes back float32."""
    B, T = times.shape
    cells = torch.arange(max(height, width), device=times.device)
    axes = (
        times[:, :, None, None],
        cells[:height].repeat_interleave(width)[None, None, :],
        cells[:width].repeat(height)[None, None, :],
    )
    angles = [
        _angles(axis.reshape(*axis.shape[:2], -1), dim, theta)
        for axis, dim in zip(axes, head_split(head_dim), strict=True)
    ]

    shaped = [angle.expand(B, T, height * width, -1) for angle in angles]
    turned = torch.cat(shaped, dim=-1)[:, None, :, :, None]
    return Rotation(torch.complex(turned.cos().float(), turned.sin().float()))


def rotate(
    x: Tensor,  # [B, V, T, P, H, D]
    by: Rotation,
) -> Tensor:
    """Turn neighboring pairs (x_0, x_1), (x_2, x_3), ... of each head: as complex numbers, one pass over memory."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * by.turn).flatten(-2).type_as(x)


def _angles(positions: Tensor, dim: int, theta: float) -> Tensor:
    """Of positions [...]: [..., dim / 2]."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim
    return positions.double()[..., None] * theta**-exponents
