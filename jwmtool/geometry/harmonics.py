"""Real spherical harmonics up to degree 3, in the order and sign of the 3DGS files."""

from __future__ import annotations

import torch
from torch import Tensor

C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
_C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def sh_basis(
    degree: int,
    directions: Tensor,  # [..., 3] unit, from the camera to the Gaussian
) -> Tensor:  # [..., (degree + 1)^2]
    """Evaluate the basis functions."""
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, C0)]
    if degree >= 1:
        basis += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        basis += [_C2[0] * x * y, _C2[1] * y * z, _C2[2] * (2 * zz - xx - yy), _C2[3] * x * z, _C2[4] * (xx - yy)]
    if degree >= 3:
        basis += [
            _C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            _C3[2] * y * (4 * zz - xx - yy),
            _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            _C3[4] * x * (4 * zz - xx - yy),
            _C3[5] * z * (xx - yy),
            _C3[6] * x * (xx - 3 * yy),
        ]
    return torch.stack(basis, -1)


def color_to_sh(color: Tensor) -> Tensor:
    """Degree-0 coefficients [..., 3] that show `color` [..., 3] from everywhere."""
    return (color - 0.5) / C0


def sh_to_color(sh: Tensor, directions: Tensor | None) -> Tensor:
    """Color [N, 3], not below 0, of coefficients [N, K, 3]; `directions` [N, 3] unit, needed above degree 0."""
    if sh.shape[1] == 1:
        return (0.5 + C0 * sh[:, 0]).clamp(min=0.0)
    if directions is None:
        raise ValueError("sh_to_color: directions are needed above degree 0")
    degree = {4: 1, 9: 2, 16: 3}[sh.shape[1]]
    return (0.5 + torch.einsum("nk,nkc->nc", sh_basis(degree, directions), sh)).clamp(min=0.0)
