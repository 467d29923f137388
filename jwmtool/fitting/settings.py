"""What can be set in per-scene fitting. Saved in the scene's history, so that a figure can be made again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """Settings of `fit_scene`. Lengths in units of a pixel are the pixel's size at the Gaussian's nearest view.

    Attributes:
        budget_s: wall-clock seconds from the start of the command; the schedule stretches to fill it.
        max_steps: steps instead of seconds (the same seed then gives the same scene); None: `budget_s` rules.
        seed: of the order of views and of everything drawn.
        max_gaussians: growth stops there.
        seed_stride_px: one Gaussian to start with in every square of this many pixels; more where `max_gaussians`
            leaves no room.
        sh_degree: 0 to 3: color that changes with the direction of view.
        sky_px: side of a face of the sky cubemap.
        lr_*: Adam learning rates at the start; position decays to `lr_mean_end`, the others to `lr_end` of the start.
        ssim_weight: share of 1 - SSIM in the photometric loss.
        depth_weight: of the rendered depth against stereo or lidar depth, in relative inverse depth; decays to 0.
        alpha_weight: of transparency where lidar met something solid, so that the sky paints no road.
        opacity_weight, scale_weight: pull toward fewer and smaller Gaussians (Kheradmand et al. 2024).
        exposure_weight: pull of exposure toward identity.
        grow_every: steps between growing and pruning.
        grow_until: share of the budget after which the number of Gaussians only falls.
        grow_fraction: Gaussians added each time, as a share of those there.
        prune_opacity: Gaussians fainter than this go.
    """

    budget_s: float = 300.0
    max_steps: int | None = None
    seed: int = 0
    max_gaussians: int = 150_000
    seed_stride_px: int = 3
    sh_degree: int = 0
    sky_px: int = 48
    lr_mean: float = 0.15
    lr_mean_end: float = 0.003
    lr_scale: float = 0.01
    lr_quat: float = 0.002
    lr_opacity: float = 0.03
    lr_sh: float = 0.01
    lr_sky: float = 0.005
    lr_exposure: float = 0.001
    lr_end: float = 0.1
    ssim_weight: float = 0.2
    depth_weight: float = 0.05
    alpha_weight: float = 0.2
    opacity_weight: float = 0.002
    scale_weight: float = 0.002
    exposure_weight: float = 0.1
    grow_every: int = 100
    grow_until: float = 0.6
    grow_fraction: float = 0.04
    prune_opacity: float = 0.02
