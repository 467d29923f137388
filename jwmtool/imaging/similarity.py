"""PSNR and SSIM, differentiable; the same functions serve as loss and as score."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SSIM_BORDER_PX = 5


def psnr(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of images [H, W, 3] in [0, 1] (data range 1); `mask` [H, W] keeps pixels."""
    error = (image - reference) ** 2
    mse = error.mean() if mask is None else error[mask].mean()
    return -10.0 * torch.log10(mse.clamp(min=1e-12))


def ssim_map(
    image: Tensor,  # [H, W, 3] in [0, 1]
    reference: Tensor,  # [H, W, 3]
) -> Tensor:  # [3, H, W]
    """Structural similarity (Wang et al. 2004): Gaussian window 11, sigma 1.5, data range 1, population covariance.

    Outside the image the window is renormalized, so that every pixel has a value.
    """
    x, y = image.permute(2, 0, 1), reference.permute(2, 0, 1)
    mu_x, mu_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y])).split(3)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
    return luminance * (2 * (xy - mu_x * mu_y) + c2) / ((xx - mu_x**2) + (yy - mu_y**2) + c2)


def ssim(image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of `ssim_map` without the border, where the window is cut: scikit-image's figure.

    `mask` [H, W] keeps the values whose window has its center on a kept pixel.

    Raises:
        ValueError: images smaller than the window (11 px).
    """
    inner = slice(SSIM_BORDER_PX, -SSIM_BORDER_PX)
    if min(image.shape[:2]) <= 2 * SSIM_BORDER_PX:
        raise ValueError(f"ssim: expected at least {2 * SSIM_BORDER_PX + 1} px a side, found {list(image.shape[:2])}")
    values = ssim_map(image, reference)[:, inner, inner]
    return values.mean() if mask is None else values[:, mask[inner, inner]].mean()


def _blur(images: Tensor) -> Tensor:
    """Blur [C, H, W] with the window, renormalized at the borders."""
    offsets = torch.arange(-5, 6, device=images.device, dtype=images.dtype)
    window = torch.exp(-0.5 * (offsets / 1.5) ** 2)

    def along(x: Tensor, shape: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        return functional.conv2d(x, window.reshape(1, 1, *shape), padding=padding)

    def both(x: Tensor) -> Tensor:
        return along(along(x, (11, 1), (5, 0)), (1, 11), (0, 5))

    return (both(images[:, None]) / both(torch.ones_like(images[:1, None])))[:, 0]
