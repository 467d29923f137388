"""What every rasterizer here agrees on: the thresholds of EWA splatting, with gsplat's values."""

from __future__ import annotations

ALPHA_MIN = 1.0 / 255.0  # fainter contributions are skipped
ALPHA_MAX = 0.999  # stronger ones are clamped
T_STOP = 1e-4  # a pixel is done before its transmittance falls to this
EPS2D = 0.3  # px^2 added to the projected variance, so that nothing is thinner than a pixel

Intrinsics = tuple[float, float, float, float]  # fx, fy, cx, cy in pixels


def jacobian_limits(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """Bounds of -x/z, x/z, -y/z, y/z used in the projection's Jacobian: the view widened by 15 % a side."""
    fx, fy, cx, cy = intrinsics
    pad_x, pad_y = 0.15 * width / fx, 0.15 * height / fy
    return cx / fx + pad_x, (width - cx) / fx + pad_x, cy / fy + pad_y, (height - cy) / fy + pad_y
