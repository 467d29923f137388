"""Names of the scores, in the order in which they are shown."""

from __future__ import annotations

IMAGE_NAMES = ("psnr", "ssim")
DEPTH_NAMES = ("depth_abs_rel", "depth_rmse_m", "depth_delta1", "depth_coverage", "depth_points")
MOVING_NAMES = ("moving_box_psnr", "moving_box_ssim", "moving_exact_psnr", "moving_exact_ssim")
ALL_NAMES = (*IMAGE_NAMES, *MOVING_NAMES, *DEPTH_NAMES)
LABELS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "moving_box_psnr": "moving boxes: PSNR (dB)",
    "moving_box_ssim": "moving boxes: SSIM",
    "moving_exact_psnr": "moving pixels: PSNR (dB)",
    "moving_exact_ssim": "moving pixels: SSIM",
    "depth_abs_rel": "depth: abs. rel. error",
    "depth_rmse_m": "depth: RMSE (m)",
    "depth_delta1": "depth: share within 1.25",
    "depth_coverage": "depth: covered",
    "depth_points": "depth: points a picture",
}


def formatted(name: str, value: float) -> str:
    """A score with the digits that mean something."""
    if name == "depth_points":
        return f"{value:.0f}"
    return f"{value:.2f}" if name.endswith("psnr") or name == "depth_rmse_m" else f"{value:.4f}"
