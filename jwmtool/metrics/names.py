"""Names of the scores, in the order in which they are shown."""

from __future__ import annotations

IMAGE_NAMES = ("psnr", "ssim")
DEPTH_NAMES = ("depth_abs_rel", "depth_rmse_m", "depth_delta1", "depth_coverage", "depth_points")
ALL_NAMES = (*IMAGE_NAMES, *DEPTH_NAMES)
LABELS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "depth_abs_rel": "depth: abs. rel. error",
    "depth_rmse_m": "depth: RMSE (m)",
    "depth_delta1": "depth: share within 1.25",
    "depth_coverage": "depth: covered",
    "depth_points": "lidar points a picture",
}


def formatted(name: str, value: float) -> str:
    """A score with the digits that mean something."""
    if name == "depth_points":
        return f"{value:.0f}"
    return f"{value:.2f}" if name in ("psnr", "depth_rmse_m") else f"{value:.4f}"
