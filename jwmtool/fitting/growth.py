"""Where Gaussians are added and which are dropped: new ones stand where the picture is wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.fitting.parameters import Parameters, Seeds
from jwmtool.fitting.views import View
from jwmtool.geometry.camera import Camera


def seeds_at(
    view: View,
    flat: Tensor,  # [M] pixel indices, row * W + column
    depth: Tensor,  # [H, W] metres
    image: Tensor,  # [H, W, 3]
    radius_px: float = 0.7,
    opacity: float = 0.3,
) -> Seeds:
    """Lift pixels of a view to seeds of about their size."""
    z = depth.reshape(-1)[flat]
    xyz = unproject(view.camera, flat, z)
    pixel_m = z / float(view.camera.K[0, 0])
    return Seeds(xyz, image.reshape(-1, 3)[flat], pixel_m * radius_px, pixel_m, opacity)


def unproject(camera: Camera, flat: Tensor, z: Tensor) -> Tensor:
    """Points [M, 3] in the camera's outer frame at depth z [M] through the centres of pixels `flat` [M]."""
    K, pose = camera.K, torch.as_tensor(camera.world_from_cam, dtype=torch.float32, device=flat.device)
    u, v = (flat % camera.width).float() + 0.5, (flat // camera.width).float() + 0.5
    cam = torch.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z], 1).float()
    return cam @ pose[:3, :3].T + pose[:3, 3]


def draw_wrong_pixels(
    error: Tensor,  # [H, W] not negative
    allowed: Tensor,  # [H, W] bool
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw up to `count` pixels, without repeats, with a chance that grows with their squared error."""
    chance = (error**2 * allowed).reshape(-1).cpu()
    count = min(count, int((chance > 0).sum()))
    if count == 0:
        return torch.zeros(0, dtype=torch.int64, device=error.device)
    return torch.multinomial(chance, count, generator=generator).to(error.device)


def keep_mask(parameters: Parameters) -> Tensor:
    """[N] False for Gaussians that are too faint, have blown up, or are not finite."""
    rows = parameters.rows
    with torch.no_grad():
        opaque = torch.sigmoid(rows["logit_opacity"]) > parameters.settings.prune_opacity
        size_px = rows["log_scale"].exp().amax(1) / parameters.unit
        finite = torch.isfinite(rows["offset"]).all(1) & torch.isfinite(rows["log_scale"]).all(1)
        return opaque & (size_px < 150.0) & finite
