"""Fit a scene to the images of a clip: gradient descent through the rasterizer (Kerbl et al. 2023).

What differs from the original: Gaussians start from lidar, sparse points or plane-sweep stereo instead of a random
cloud; new ones are put where the picture is wrong; lengths are measured in pixels of the nearest view; the schedule
follows a budget of seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.console import Progress
from jwmtool.fitting.growth import draw_wrong_pixels, keep_mask, seeds_at
from jwmtool.fitting.initialize import Start
from jwmtool.fitting.parameters import Activated, Parameters
from jwmtool.fitting.settings import FitSettings
from jwmtool.fitting.views import View, exposures
from jwmtool.gaussians.exposure import apply_exposure
from jwmtool.gaussians.rasterize import Rendering, rasterize_tensors, view_colors
from jwmtool.gaussians.sky import sample_sky
from jwmtool.imaging.photometric import photometric_loss


class Fit:
    """One fitting run; call `run`, then `scene`. `state_dict` and `load_state_dict` make it resumable."""

    def __init__(self, clip: Clip, start: Start, settings: FitSettings, device: str) -> None:
        self.clip, self.settings, self.device = clip, settings, device
        self.views, self.world_from_scene = start.views, start.world_from_scene
        self.guides = {i: g.to(device) for i, g in start.guides.items()}
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.parameters = Parameters(start.seeds, len(self.views), settings, device)
        self.step = 0
        self.elapsed_s = 0.0  # of the budget
        self._order: list[int] = []
        self._rays: dict[str, Tensor] = {}
        self._wrong: list[tuple[int, Tensor, Tensor]] = []  # view, pixels, depth

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        s = self.settings
        return min(1.0, self.step / s.max_steps if s.max_steps is not None else self.elapsed_s / s.budget_s)

    def run(
        self,
        started: float,
        bar: Progress | None = None,
        each_step: Callable[[Fit], float] | None = None,
    ) -> None:
        """Take steps until the budget is spent.

        Args:
            started: time.monotonic() at which the budget began to count.
            bar: told the progress.
            each_step: called after each step; the seconds that it returns do not count (scoring, saving).
        """
        lost_s = 0.0
        self.elapsed_s = time.monotonic() - started
        while self.progress < 1.0:
            loss = self.take_step()
            if each_step is not None:
                lost_s += each_step(self)
            self.elapsed_s = time.monotonic() - started - lost_s
            if bar is not None:
                bar.update(self.progress, f"loss {loss:.4f}, {len(self.parameters):,} Gaussians")

    def take_step(self) -> float:
        """Fit one view; grow and prune when due. Returns the loss."""
        if not self._order:
            self._order = torch.randperm(len(self.views), generator=self.generator).tolist()
        index = self._order.pop()
        view, s, p = self.views[index], self.settings, self.parameters
        p.set_learning_rates(self.progress)
        image = view.image(self.device)
        gaussians = p.activated()
        rendering, color = self.render(view, index, gaussians)
        mask = None if view.mask is None else view.mask.to(self.device)
        loss = photometric_loss(color, image, mask, s.ssim_weight) + self._regularizers(rendering, index, gaussians)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"fitting: the loss is {value} at step {self.step}, frame {view.frame}")
        p.adam.zero_grad(set_to_none=True)
        loss.backward()
        p.adam.step()
        self.step += 1
        if self.progress < s.grow_until:
            since = self.step % s.grow_every
            if since >= s.grow_every - 24:
                self._note_wrong(index, view, image, color.detach(), rendering)
            if since == 0:
                self._grow()
        if self.step % s.grow_every == 0:
            p.keep(keep_mask(p))
        return value

    def render(self, view: View, index: int, gaussians: Activated) -> tuple[Rendering, Tensor]:
        """Render a view; the color [H, W, 3] is composited with the sky and exposed."""
        p = self.parameters
        rendering = rasterize_tensors(
            *gaussians[:4],
            view_colors(gaussians.means, gaussians.sh, view.camera),
            torch.from_numpy(view.camera.cam_from_world),
            view.camera,
        )
        rotation = torch.as_tensor(view.camera.world_from_cam[:3, :3], dtype=torch.float32, device=self.device)
        sky = sample_sky(p.sky, self._camera_rays(view) @ rotation.T)
        color = rendering.color + (1.0 - rendering.alpha[..., None]) * sky
        return rendering, apply_exposure(color, p.exposure[index])

    def scene(self) -> Scene:
        """The scene as fitted so far."""
        g = self.parameters.gaussians()
        return Scene(
            g,
            self.world_from_scene,
            time_origin_us=self.clip.frames[0].time_us,
            sky=self.parameters.sky.detach().cpu().clone(),
            exposure=exposures(self.views, self.parameters.exposure),
            cameras=dict(self.clip.cameras),
            ego_times_us=self.clip.times_us,
            ego_world_from_rig=self.clip.world_from_rig,
        )

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain values, from which `load_state_dict` goes on exactly."""
        tensors = self.parameters.state_dict() | {"generator": self.generator.get_state()}
        for i, (_, pixels, depth) in enumerate(self._wrong):
            tensors |= {f"wrong.{i}.pixels": pixels, f"wrong.{i}.depth": depth}
        values = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "order": self._order,
            "wrong": [v for v, _, _ in self._wrong],
            "settings": asdict(self.settings),
        }
        return tensors, values

    def load_state_dict(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.parameters.load_state_dict(tensors)
        self.generator.set_state(tensors["generator"])
        self.step, self.elapsed_s, self._order = values["step"], values["elapsed_s"], list(values["order"])
        saved = [(tensors[f"wrong.{i}.pixels"], tensors[f"wrong.{i}.depth"]) for i in range(len(values["wrong"]))]
        self._wrong = [
            (view, pixels.to(self.device), depth.to(self.device))
            for view, (pixels, depth) in zip(values["wrong"], saved, strict=True)
        ]

    def _regularizers(self, rendering: Rendering, index: int, gaussians: Activated) -> Tensor:
        s, p = self.settings, self.parameters
        loss = s.opacity_weight * gaussians.opacities.mean()
        loss = loss + s.scale_weight * (gaussians.scales / p.unit[:, None]).mean()
        identity = torch.eye(3, 4, device=self.device)
        loss = loss + s.exposure_weight * ((p.exposure[index] - identity) ** 2).mean()
        guide = self.guides.get(index)
        if guide is not None:
            if guide.measured is not None:
                loss = loss + s.alpha_weight * (guide.measured * (1.0 - rendering.alpha)).mean()
            relative = (guide.depth / rendering.depth.clamp(min=0.1) - 1.0).abs().clamp(max=1.0)
            weight = guide.confidence * rendering.alpha.detach()
            loss = loss + s.depth_weight * (1.0 - self.progress) * (weight * relative).mean()
        return loss

    def _note_wrong(self, index: int, view: View, image: Tensor, color: Tensor, rendering: Rendering) -> None:
        """Remember where this view is wrong, for the next growth."""
        error = (color - image).abs().mean(-1)
        depth = rendering.depth.detach()
        guide = self.guides.get(index)
        if guide is not None:
            depth = torch.where(guide.confidence > 0, guide.depth, depth)
        allowed = depth > 0.5
        if guide is None:
            allowed &= rendering.alpha.detach() > 0.5
        else:
            allowed &= (rendering.alpha.detach() > 0.5) | (guide.confidence > 0)
        if view.mask is not None:
            allowed &= view.mask.to(self.device)
        count = math.ceil(self.settings.grow_fraction * len(self.parameters) / 24)
        pixels = draw_wrong_pixels(error, allowed, count, self.generator)
        self._wrong.append((index, pixels, depth))

    def _grow(self) -> None:
        for index, pixels, depth in self._wrong:
            if len(self.parameters) + len(pixels) <= self.settings.max_gaussians and len(pixels):
                view = self.views[index]
                self.parameters.append(seeds_at(view, pixels, depth, view.image(self.device)))
        self._wrong = []

    def _camera_rays(self, view: View) -> Tensor:
        """Directions [H, W, 3] in the camera's frame."""
        if view.camera_name not in self._rays:
            rays = view.camera.moved(np.eye(4)).rays()
            self._rays[view.camera_name] = torch.as_tensor(rays, dtype=torch.float32, device=self.device)
        return self._rays[view.camera_name]
