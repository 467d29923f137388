"""Telling Gaussians in another frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.harmonics import sh_basis
from jwmtool.geometry.se3 import to_quat


def moved(gaussians: Gaussians, new_from_old: Tensor) -> Gaussians:
    """Tell positions, orientations, velocities and colors in another frame; [4, 4] rigid, best in float64."""
    exact = new_from_old.double().to(gaussians.means.device)
    R, t = exact[:3, :3].float(), exact[:3, 3].float()
    return gaussians.replace(
        means=gaussians.means @ R.T + t,
        quats=torch.nn.functional.normalize(quat_product(_quaternion(exact).float(), gaussians.quats), dim=1),
        velocity=gaussians.velocity @ R.T,
        sh=rotated_sh(gaussians.sh, exact[:3, :3]),
    )


def quat_product(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton product [N, 4], wxyz, of [4] or [N, 4] with [N, 4]."""
    a, b, c, d = first.unbind(-1)
    w, x, y, z = second.unbind(-1)
    return torch.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        -1,
    )


def rotation_matrices(quats: Tensor) -> Tensor:
    """[N, 3, 3] of unit quaternions [N, 4], wxyz."""
    w, x, y, z = quats.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def shortest_axes(quats: Tensor, scales: Tensor) -> Tensor:
    """[N, 3] directions in which Gaussians are thinnest: the normals of flat ones."""
    return rotation_matrices(quats)[torch.arange(len(quats)), :, scales.argmin(1)]


def rotated_sh(sh: Tensor, rotation: Tensor) -> Tensor:
    """Coefficients [N, K, 3] that show from direction R d what `sh` shows from d.

    The map between coefficients is found by least squares over directions spread on the sphere, where it is exact.
    """
    if sh.shape[1] == 1:
        return sh
    degree = {4: 1, 9: 2, 16: 3}[sh.shape[1]]
    index = torch.arange(64, dtype=torch.float64, device=sh.device) + 0.5
    height = 1.0 - index / 32.0
    turn = math.pi * (1.0 + 5.0**0.5) * index
    across = (1.0 - height.square()).sqrt()
    directions = torch.stack([across * turn.cos(), across * turn.sin(), height], 1)
    seen = sh_basis(degree, directions @ rotation.double())  # from R^T d
    turned = torch.linalg.lstsq(sh_basis(degree, directions), seen).solution
    return torch.einsum("kj,njc->nkc", turned.to(sh.dtype), sh)


def _quaternion(transform: Tensor) -> Tensor:
    return torch.from_numpy(to_quat(transform.cpu().numpy())).to(transform)
