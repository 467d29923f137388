"""One rasterizer, two backends: gsplat's CUDA kernels on a GPU, ours on a CPU. Same maths, same thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.camera import Camera
from jwmtool.geometry.harmonics import sh_to_color


@dataclass(frozen=True)
class Rendering:
    """A rendered view.

    Attributes:
        color: [H, W, 3] on black (premultiplied by alpha), not clamped.
        depth: [H, W] expected z-depth in metres; 0 where nothing was hit.
        alpha: [H, W] in [0, 1].
    """

    color: Tensor
    depth: Tensor
    alpha: Tensor


def rasterize(
    gaussians: Gaussians,
    camera: Camera,  # pose in the scene frame
    time_s: float,
    *,
    near_m: float = 0.01,
) -> Rendering:
    """Render Gaussians at a time. Differentiable in every tensor of `gaussians`; runs on their device."""
    means, opacities = gaussians.at(time_s)
    colors = view_colors(means, gaussians.sh, camera)
    viewmat = torch.from_numpy(camera.cam_from_world)
    return rasterize_tensors(
        means, gaussians.quats, gaussians.scales, opacities, colors, viewmat, camera, near_m=near_m
    )


def view_colors(
    means: Tensor,  # [N, 3] metres, scene frame
    sh: Tensor,  # [N, K, 3]
    camera: Camera,  # pose in the scene frame
) -> Tensor:  # [N, 3]
    """Colors as the camera sees them; no gradient flows to the means through the direction of view."""
    if sh.shape[1] == 1:
        return sh_to_color(sh, None)
    eye = torch.as_tensor(camera.world_from_cam[:3, 3], dtype=means.dtype, device=means.device)
    return sh_to_color(sh, torch.nn.functional.normalize(means.detach() - eye, dim=1))


def rasterize_tensors(
    means: Tensor,  # [N, 3] metres, scene frame
    quats: Tensor,  # [N, 4] wxyz
    scales: Tensor,  # [N, 3] metres
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, 3]
    viewmat: Tensor,  # [4, 4] cam_from_scene, may ask for a gradient
    camera: Camera,  # intrinsics and size; its pose is not used
    *,
    near_m: float = 0.01,
) -> Rendering:
    """Render plain tensors: static Gaussians at one moment."""
    K = camera.K
    intrinsics = (float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
    arguments = (means, quats, scales, opacities, colors, viewmat, intrinsics, camera.width, camera.height, near_m)
    if means.is_cuda:
        from jwmtool.gaussians.gsplat_backend import rasterize_gsplat

        channels = rasterize_gsplat(*arguments)
    else:
        from jwmtool.gaussians.cpu import rasterize_cpu

        channels = rasterize_cpu(*arguments)
    alpha = channels[..., 4]
    return Rendering(channels[..., :3], channels[..., 3] / alpha.clamp(min=1e-10), alpha)
