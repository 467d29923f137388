"""Score a reconstruction network on the windows of clips kept away from training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.imaging.colormap import depth_colors
from jwmtool.imaging.sheet import contact_sheet
from jwmtool.imaging.similarity import psnr, ssim
from jwmtool.training.worldrec.depth_loss import FARTHEST, known_depth, log_errors
from jwmtool.training.worldrec.sample import Sample, depth_of
from jwmtool.worldrec.reconstruction import DepthMaps, Reconstruction
from jwmtool.worldrec.views import Views

Reconstruct = Callable[[Views], Reconstruction]

_SHEET_SAMPLES = 4


def held_out_scores(reconstruct: Reconstruct, samples: Sequence[Sample], renders: bool) -> dict[str, float]:
    """Means over windows.

    Returns:
        `psnr` and `ssim` of rendered targets (if `renders`), `depth_log_error` of coarse and `rendered_log_error` of
        rendered depth (|log ratio| where truth is finite), `sky_accuracy` of the coarse sky; what cannot be told from
        these windows is left out.
    """
    found: dict[str, list[float]] = {}
    for sample in samples:
        made = reconstruct(sample.given)
        scores = depth_scores(made.depth, sample)
        if renders:
            scores |= render_scores(made, sample)
        for name, value in scores.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def depth_scores(depth: DepthMaps, sample: Sample) -> dict[str, float]:
    """Scores of the context's coarse depth."""
    views = sample.context
    inverse, known = known_depth(depth_of(views), views.usable)
    finite = known & (inverse > 0.0)
    scores = {}
    if bool(finite.any()):
        scores["depth_log_error"] = float(log_errors(depth.inverse, inverse)[finite].mean())
    if sample.exact:
        right = (depth.sky > 0.0) == depth_of(views).isinf()
        scores["sky_accuracy"] = float(right[views.usable].float().mean())
    return scores


def render_scores(made: Reconstruction, sample: Sample) -> dict[str, float]:
    """Scores of the rendered targets; their means."""
    targets = sample.targets
    found: dict[str, list[float]] = {}
    for target in range(len(targets)):
        color, bare = made.render(targets.camera(target), float(targets.times_s[target]))
        image, usable = targets.images[target].permute(1, 2, 0), targets.usable[target]
        shown = color.float().clamp(0.0, 1.0)
        found.setdefault("psnr", []).append(float(psnr(shown, image, usable)))
        found.setdefault("ssim", []).append(float(ssim(shown, image, usable)))
        depth_m = depth_of(targets)[target]
        finite = (depth_m > 0.0) & torch.isfinite(depth_m) & usable
        if bool(finite.any()):
            # A hole counts as the farthest that there is.
            inverse = torch.where(bare.alpha > 0.01, 1.0 / bare.depth.clamp(min=1e-3), torch.zeros_like(bare.depth))
            errors = log_errors(inverse, 1.0 / depth_m.clamp(min=1e-3))
            found.setdefault("rendered_log_error", []).append(float(errors[finite].mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def held_out_sheet(reconstruct: Reconstruct, samples: Sequence[Sample], renders: bool) -> NDArray[np.uint8] | None:
    """Rows of a few windows: the true picture, the rendered one and its depth; without rendering, picture, coarse depth
    and true depth."""
    pictures: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    for sample in samples[:_SHEET_SAMPLES]:
        made = reconstruct(sample.given)
        if renders and len(sample.targets):
            row = len(sample.targets) // 2
            views = sample.targets
            color, bare = made.render(views.camera(row), float(views.times_s[row]))
            pictures += [_picture(views.images[row].permute(1, 2, 0)), _picture(color), _depth(bare.depth)]
            value = float(psnr(color.float().clamp(0.0, 1.0), views.images[row].permute(1, 2, 0), views.usable[row]))
            labels += [f"{sample.name} {float(views.times_s[row]):+.2f} s", f"rendered, {value:.2f} dB", "its depth"]
        else:
            row, views = len(sample.context) // 2, sample.context
            inverse = made.depth.inverse[row].float()
            error = depth_scores(made.depth, sample).get("depth_log_error", float("nan"))
            # What is farther than anything that is told apart is shown as no surface, as the sky is.
            coarse = torch.where(inverse > FARTHEST, 1.0 / inverse.clamp(min=1e-6), torch.zeros_like(inverse))
            pictures += [_picture(views.images[row].permute(1, 2, 0)), _depth(coarse), _depth(depth_of(views)[row])]
            labels += [sample.name, f"coarse depth, log error {error:.3f}", "true depth"]
    # Windows of different shapes share a sheet.
    return contact_sheet(pictures, labels, columns=3) if pictures else None


def _picture(color: Tensor) -> NDArray[np.uint8]:
    return (color.float().clamp(0.0, 1.0).cpu().numpy() * 255.0 + 0.5).astype(np.uint8)


def _depth(depth_m: Tensor) -> NDArray[np.uint8]:
    values = depth_m.float().cpu().numpy()
    return depth_colors(np.where(np.isfinite(values), values, 0.0))
