"""The sky at infinity: a cubemap sampled by ray direction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sample_sky(
    cubemap: Tensor,  # [6, R, R, 3]
    directions: Tensor,  # [..., 3] in the scene frame, any length
) -> Tensor:  # [..., 3]
    """Sample bilinearly. Faces are +x, -x, +y, -y, +z, -z; on face `a` the two other axes, in order, are (u, v)."""
    flat = directions.reshape(-1, 3)
    axis = flat.abs().argmax(dim=1)
    major = flat.gather(1, axis[:, None])[:, 0]
    face = axis * 2 + (major < 0)
    others = torch.tensor([[1, 2], [0, 2], [0, 1]], device=flat.device)[axis]
    uv = flat.gather(1, others) / major.abs()[:, None].clamp(min=1e-12)
    # One tall texture: face k in rows k R to (k + 1) R; clamping within the face keeps faces apart.
    size = cubemap.shape[1]
    limit = 1.0 - 1.0 / size
    u = uv[:, 0].clamp(-limit, limit)
    v = (uv[:, 1].clamp(-limit, limit) + 1.0 + 2.0 * face) / 6.0 - 1.0
    texture = cubemap.permute(3, 0, 1, 2).reshape(1, 3, 6 * size, size)
    sampled = functional.grid_sample(texture, torch.stack([u, v], -1)[None, None], align_corners=False)
    return sampled[0, :, 0].T.reshape(directions.shape)


def sky_directions(size: int) -> Tensor:
    """Directions [6, size, size, 3] through the texels' centers, not of unit length."""
    at = (torch.arange(size) + 0.5) * (2.0 / size) - 1.0
    v, u = torch.meshgrid(at, at, indexing="ij")
    faces = []
    for face in range(6):
        axis, sign = face // 2, 1.0 - 2.0 * (face % 2)
        others = [k for k in range(3) if k != axis]
        parts = {axis: torch.full_like(u, sign), others[0]: u, others[1]: v}
        faces.append(torch.stack([parts[k] for k in range(3)], -1))
    return torch.stack(faces)


def turned_sky(
    cubemap: Tensor,  # [6, R, R, 3]
    rotation: Tensor,  # [3, 3] new axes from old
) -> Tensor:  # [6, R, R, 3]
    """The same sky in the axes of another frame."""
    return sample_sky(cubemap, sky_directions(cubemap.shape[1]).to(cubemap) @ rotation.to(cubemap))
