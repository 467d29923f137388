"""Refinement of a scene that is there already (feed-forward, fused, imported): some gradient steps on its pictures.

Unlike `Fit`, nothing grows, and what moves keeps moving. A step touches only the Gaussians that its view can show, with
an Adam that leaves all others alone, so its cost hardly grows with the scene. Once every view was looked at a few
times, Gaussians of the time of the view at hand are left out of every second step: what is fitted then is how well
their neighbors in time stand in for them, and that is what a picture between the given ones needs.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.console import Progress
from jwmtool.errors import UsageError
from jwmtool.fitting.selective_adam import SelectiveAdam
from jwmtool.fitting.views import View, exposures, load_views
from jwmtool.gaussians.exposure import apply_exposure
from jwmtool.gaussians.rasterize import rasterize_tensors, view_colors
from jwmtool.gaussians.sky import sample_sky
from jwmtool.imaging.photometric import photometric_loss

_FAINT = 0.02  # opacity at a time below which a Gaussian is not there
_LONGEST = 2.8  # life spans from its middle within which it can be more than faint
_STANDING_S, _AT_ONCE_S = 10.0, 1e-3  # lives that are no view's own; times that are one


@dataclass(frozen=True)
class RefineSettings:
    """Settings of `refine`.

    Attributes:
        budget_s: seconds for everything, loading included; max_steps: steps instead (repeats exactly with a seed).
        seed: of the order of views.
        lr_*: Adam's learning rates at the start; lr_mean in pixels of the nearest view. All decay to `lr_end` of that.
        ssim_weight: share of 1 - SSIM in the loss.
        anchor_weight: pull of positions toward where they were, per pixel squared.
        left_out: share of steps without the Gaussians of the view's own time, after `whole` steps for each view.
    """

    budget_s: float = 15.0
    max_steps: int | None = None
    seed: int = 0
    lr_mean: float = 0.6
    lr_scale: float = 0.15
    lr_quat: float = 0.01
    lr_opacity: float = 0.2
    lr_sh: float = 0.03
    lr_life: float = 0.2
    lr_sky: float = 0.005
    lr_exposure: float = 0.001
    lr_end: float = 0.15
    ssim_weight: float = 0.2
    anchor_weight: float = 1e-4
    left_out: float = 0.5
    whole: int = 3


def refine(
    scene: Scene,
    clip: Clip,
    settings: RefineSettings,
    device: str = "cpu",
    *,
    started: float,
    bar: Progress | None = None,
) -> Scene:
    """Refine a scene on the pictures of a clip that are not withheld.

    Args:
        scene: in the clip's world.
        started: `time.monotonic()` from which the budget counts.
        bar: told the progress.

    Raises:
        InputError: nothing to fit. UsageError: an empty scene.
    """
    if not len(scene.gaussians):
        raise UsageError("--refine: the scene has no Gaussians")
    run = Refinement(scene, clip, settings, device)
    while run.progress(started) < 1.0:
        loss = run.take_step(run.progress(started))
        if bar is not None:
            bar.update(run.progress(started), f"loss {loss:.4f}")
    return run.scene()


class Refinement:
    """A run of `refine`."""

    def __init__(self, scene: Scene, clip: Clip, settings: RefineSettings, device: str) -> None:
        self.before, self.clip, self.settings, self.device = scene, clip, settings, device
        self.views = load_views(clip, scene.world_from_scene)
        self.generator = torch.Generator().manual_seed(settings.seed)
        g = scene.gaussians.to(device)
        self.gaussians = g
        self.unit = _units(g.means, self.views)
        times_s = torch.tensor(sorted({scene.seconds(view.time_us) for view in self.views}), device=device)
        self.own_s = _nearest(times_s, g.time_mid)
        opacities = g.opacities.clamp(1e-4, 1.0 - 1e-4)
        values = {
            "offset": torch.zeros_like(g.means),
            "log_scale": g.scales.clamp(min=1e-5).log(),
            "quat": g.quats.clone(),
            "logit_opacity": torch.log(opacities / (1.0 - opacities)),
            "sh": g.sh.clone(),
            "log_life": g.time_sigma.clamp(min=1e-3).log(),
        }
        self.rows = {name: SelectiveAdam(value) for name, value in values.items()}
        sky = torch.zeros(6, 1, 1, 3) if scene.sky is None else scene.sky
        self.sky = SelectiveAdam(sky.to(device)[None].clone())
        affine = [self._exposure(view) for view in self.views]
        self.exposure = SelectiveAdam(torch.stack(affine).to(device))
        self.step_count = 0
        self._order: list[int] = []

    def _exposure(self, view: View) -> Tensor:
        exposure = self.before.exposure.get(view.camera_name)
        return torch.eye(3, 4) if exposure is None else exposure.at(view.time_us)

    def progress(self, started: float) -> float:
        """Share of the budget that is spent."""
        if self.settings.max_steps is not None:
            return self.step_count / self.settings.max_steps
        return (time.monotonic() - started) / self.settings.budget_s

    def take_step(self, progress: float) -> float:
        """One view; returns the loss."""
        if not self._order:
            self._order = torch.randperm(len(self.views), generator=self.generator).tolist()
        index = self._order.pop()
        view, s = self.views[index], self.settings
        chance = float(torch.rand((), generator=self.generator))
        leave_out = chance < s.left_out and self.step_count >= s.whole * len(self.views)
        with torch.no_grad():
            rows = self._shown(view, leave_out)
        leaves = {name: adam.value[rows].requires_grad_() for name, adam in self.rows.items()}
        sky, affine = self.sky.value.requires_grad_(), self.exposure.value[index].clone().requires_grad_()
        loss = self._loss(view, rows, leaves, sky[0], affine)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"refinement: the loss is {value} at step {self.step_count}, frame {view.frame}")
        tensors = [*leaves.values(), sky, affine]
        grads = torch.autograd.grad(loss, tensors, allow_unused=True)
        decay = s.lr_end ** min(1.0, progress)
        rates = {
            "offset": s.lr_mean,
            "log_scale": s.lr_scale,
            "quat": s.lr_quat,
            "logit_opacity": s.lr_opacity,
            "sh": s.lr_sh,
            "log_life": s.lr_life,
        }
        with torch.no_grad():
            self.sky.value.requires_grad_(False)
            for (name, adam), grad in zip(self.rows.items(), grads, strict=False):
                if grad is not None:
                    adam.step(rows, grad, rates[name] * decay)
            if grads[-2] is not None:
                self.sky.step(torch.zeros(1, dtype=torch.long, device=self.device), grads[-2], s.lr_sky * decay)
            if grads[-1] is not None:
                row = torch.tensor([index], device=self.device)
                self.exposure.step(row, grads[-1][None], s.lr_exposure * decay)
        self.step_count += 1
        return value

    def scene(self) -> Scene:
        """The scene as refined so far."""
        values = {name: adam.value.detach() for name, adam in self.rows.items()}
        g = self.gaussians.replace(
            means=self.gaussians.means + self.unit[:, None] * values["offset"],
            scales=values["log_scale"].exp(),
            quats=torch.nn.functional.normalize(values["quat"], dim=1),
            opacities=torch.sigmoid(values["logit_opacity"]),
            sh=values["sh"],
            time_sigma=values["log_life"].exp(),
        )
        sky = None if self.before.sky is None else self.sky.value[0].detach().cpu().clone()
        return replace(self.before, gaussians=g.to("cpu"), sky=sky, exposure=exposures(self.views, self.exposure.value))

    def _shown(self, view: View, leave_out: bool) -> Tensor:
        """[M] rows that the view may show, by the lives that they have by now."""
        g, time_s = self.gaussians, self.before.seconds(view.time_us)
        dt = time_s - g.time_mid
        lives = self.rows["log_life"].value.exp()
        rows = (dt.abs() < _LONGEST * lives).nonzero()[:, 0]
        height = torch.exp(-0.5 * (dt[rows] / lives[rows]).square())
        there = torch.sigmoid(self.rows["logit_opacity"].value[rows]) * height > _FAINT
        if leave_out:
            there &= (lives[rows] >= _STANDING_S) | ((self.own_s[rows] - time_s).abs() >= _AT_ONCE_S)
        rows = rows[there]
        means, scales = g.means[rows] + g.velocity[rows] * dt[rows, None], self.rows["log_scale"].value[rows].exp()
        cam = torch.as_tensor(view.camera.cam_from_world, dtype=torch.float32, device=self.device)
        seen = means @ cam[:3, :3].T + cam[:3, 3]
        K = view.camera.K
        depth = seen[:, 2]
        reach = 3.0 * scales.amax(1) + 0.1 * depth.clamp(min=0.0)
        aside = (seen[:, 0] * float(K[0, 0])).abs() < (depth + 0.5) * float(
            max(K[0, 2], view.camera.width - K[0, 2])
        ) + reach * float(K[0, 0])
        return rows[(depth > -reach) & aside]

    def _loss(self, view: View, rows: Tensor, leaves: dict[str, Tensor], sky: Tensor, affine: Tensor) -> Tensor:
        g, s = self.gaussians, self.settings
        dt = self.before.seconds(view.time_us) - g.time_mid[rows]
        means = g.means[rows] + self.unit[rows, None] * leaves["offset"] + g.velocity[rows] * dt[:, None]
        opacities = torch.sigmoid(leaves["logit_opacity"]) * torch.exp(-0.5 * (dt / leaves["log_life"].exp()) ** 2)
        bare = rasterize_tensors(
            means, leaves["quat"], leaves["log_scale"].exp(), opacities, view_colors(means, leaves["sh"], view.camera),
            torch.from_numpy(view.camera.cam_from_world), view.camera,
        )  # fmt: skip
        rays = torch.from_numpy(view.camera.rays()).float().to(self.device)
        color = apply_exposure(bare.color + (1.0 - bare.alpha)[..., None] * sample_sky(sky, rays), affine)
        mask = None if view.mask is None else view.mask.to(self.device)
        loss = photometric_loss(color, view.image(self.device), mask, s.ssim_weight)
        return loss + s.anchor_weight * leaves["offset"].square().mean()


def _nearest(times_s: Tensor, mids_s: Tensor) -> Tensor:
    """[N] the nearest of some times, rising, to each."""
    return times_s[torch.bucketize(mids_s, 0.5 * (times_s[1:] + times_s[:-1]))]


def _units(means: Tensor, views: list[View]) -> Tensor:
    """[N] metres: the size of a pixel at each Gaussian in the nearest view that has it before it."""
    unit = torch.full((len(means),), math.inf, device=means.device)
    for view in views:
        cam = torch.as_tensor(view.camera.cam_from_world, dtype=torch.float32, device=means.device)
        depth = means @ cam[2, :3] + cam[2, 3]
        size = torch.where(depth > 0.5, depth / float(view.camera.K[0, 0]), torch.inf)
        unit = torch.minimum(unit, size)
    return torch.where(torch.isfinite(unit), unit, torch.full_like(unit, 0.01))
