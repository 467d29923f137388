"""The tensors that fitting changes, their activations, and Adam over a changing number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jwmtool.fitting.settings import FitSettings
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.harmonics import color_to_sh

ROW_NAMES = ("offset", "log_scale", "quat", "logit_opacity", "sh")


@dataclass(frozen=True)
class Seeds:
    """Points that Gaussians start from, in the scene frame.

    Attributes:
        xyz: [M, 3] metres.
        rgb: [M, 3] in [0, 1].
        radius_m: [M] standard deviation to start with.
        pixel_m: [M] size of a pixel there in the nearest view: the unit of length for learning rates.
        opacity: to start with.
    """

    xyz: Tensor
    rgb: Tensor
    radius_m: Tensor
    pixel_m: Tensor
    opacity: float = 0.6

    def __len__(self) -> int:
        return len(self.xyz)


class Activated(NamedTuple):
    """Means, quaternions (any norm), scales, opacities and harmonics of Gaussians that stand still."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh: Tensor


class Parameters:
    """Rows (one a Gaussian) and globals (sky, exposure), with their Adam state.

    A Gaussian's position is `base + unit * offset`, where `unit` is the size of a pixel at its nearest view: one
    learning rate then serves a kerb at 3 m and a tower at 100 m.
    """

    def __init__(self, seeds: Seeds, num_views: int, settings: FitSettings, device: str) -> None:
        self.settings, self.device = settings, device
        self.base = seeds.xyz[:0].to(device)
        self.unit = seeds.pixel_m[:0].to(device)
        self.rows: dict[str, Tensor] = {}
        width = (settings.sh_degree + 1) ** 2
        for name, shape in {
            "offset": (3,),
            "log_scale": (3,),
            "quat": (4,),
            "logit_opacity": (),
            "sh": (width, 3),
        }.items():
            self.rows[name] = torch.zeros(0, *shape, device=device).requires_grad_()
        sky = torch.full((6, settings.sky_px, settings.sky_px, 3), 0.7, device=device)
        self.sky = sky.requires_grad_()
        self.exposure = torch.eye(3, 4, device=device).repeat(num_views, 1, 1).requires_grad_()
        groups = [{"params": [self.rows[name]], "name": name} for name in ROW_NAMES]
        groups += [{"params": [self.sky], "name": "sky"}, {"params": [self.exposure], "name": "exposure"}]
        self.adam = torch.optim.Adam(groups, lr=0.0, eps=1e-15, fused=True)
        self.append(seeds)

    def __len__(self) -> int:
        return len(self.base)

    def activated(self) -> Activated:
        """Activate, with gradients."""
        r = self.rows
        return Activated(
            self.base + self.unit[:, None] * r["offset"],
            r["quat"],
            torch.exp(r["log_scale"]),
            torch.sigmoid(r["logit_opacity"]),
            r["sh"],
        )

    def gaussians(self) -> Gaussians:
        """The Gaussians as fitted so far, without gradients, on the CPU."""
        with torch.no_grad():
            means, quats, scales, opacities, sh = (t.detach().cpu() for t in self.activated())
        return Gaussians.static(means, torch.nn.functional.normalize(quats, dim=1), scales, opacities, sh.clone())

    def set_learning_rates(self, progress: float) -> None:
        """Decay exponentially with `progress` in [0, 1]."""
        s = self.settings
        rates = {
            "offset": s.lr_mean * (s.lr_mean_end / s.lr_mean) ** progress,
            "log_scale": s.lr_scale,
            "quat": s.lr_quat,
            "logit_opacity": s.lr_opacity,
            "sh": s.lr_sh,
            "sky": s.lr_sky,
            "exposure": s.lr_exposure,
        }
        for group in self.adam.param_groups:
            rate = rates[group["name"]]
            group["lr"] = rate if group["name"] == "offset" else rate * s.lr_end**progress

    def append(self, seeds: Seeds) -> None:
        """Add Gaussians at `seeds`."""
        n, d = len(seeds), self.device
        quat = torch.zeros(n, 4, device=d)
        quat[:, 0] = 1.0
        sh = torch.zeros(n, *self.rows["sh"].shape[1:], device=d)
        sh[:, 0] = color_to_sh(seeds.rgb.to(d))
        new = {
            "offset": torch.zeros(n, 3, device=d),
            "log_scale": torch.log(seeds.radius_m.to(d).clamp(min=1e-4))[:, None].repeat(1, 3),
            "quat": quat,
            "logit_opacity": torch.full((n,), float(np.log(seeds.opacity / (1 - seeds.opacity))), device=d),
            "sh": sh,
        }
        self.base = torch.cat([self.base, seeds.xyz.to(d)])
        self.unit = torch.cat([self.unit, seeds.pixel_m.to(d)])
        self._change(lambda name, old: torch.cat([old, new[name] if name else old.new_zeros(n, *old.shape[1:])]))

    def keep(self, mask: Tensor) -> None:
        """Drop the rows where `mask` [N] is False."""
        self.base, self.unit = self.base[mask], self.unit[mask]
        self._change(lambda name, old: old[mask])

    def _change(self, function) -> None:  # type: ignore[no-untyped-def]
        """Apply function(name, values) to each row tensor and function(None, values) to its Adam moments."""
        for group in self.adam.param_groups:
            name = group["name"]
            if name not in ROW_NAMES:
                continue
            old = group["params"][0]
            state = self.adam.state.pop(old, {})
            changed = function(name, old.detach()).contiguous().requires_grad_()
            for moment in ("exp_avg", "exp_avg_sq"):
                if moment in state:
                    state[moment] = function(None, state[moment]).contiguous()
            if state:
                self.adam.state[changed] = state
            group["params"][0] = changed
            self.rows[name] = changed

    def state_dict(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors by name."""
        state = {"base": self.base, "unit": self.unit, "sky": self.sky.detach(), "exposure": self.exposure.detach()}
        state |= {name: tensor.detach() for name, tensor in self.rows.items()}
        for group in self.adam.param_groups:
            for key, value in self.adam.state.get(group["params"][0], {}).items():
                state[f"adam.{group['name']}.{key}"] = value
        return {name: tensor.contiguous() for name, tensor in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Undo `state_dict`."""
        self.base, self.unit = state["base"].to(self.device), state["unit"].to(self.device)
        for group in self.adam.param_groups:
            name, old = group["name"], group["params"][0]
            self.adam.state.pop(old, None)
            tensor = state[name].to(self.device).requires_grad_()
            group["params"][0] = tensor
            prefix = f"adam.{name}."
            moments = {k.removeprefix(prefix): v.to(self.device) for k, v in state.items() if k.startswith(prefix)}
            if moments:
                self.adam.state[tensor] = moments
            if name in ROW_NAMES:
                self.rows[name] = tensor
            else:
                setattr(self, name, tensor)
