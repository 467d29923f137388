"""From noise to latents: the transformer's velocity followed from t = 1 to t = 0, with guidance part by part."""

# B samples, V views, T latent frames, K of them known, C channels, h x w latent cells.
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from jwmtool.errors import UsageError
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.known import GROUPS, Known

FIRST = "first"  # beside `GROUPS`: the frames that are known
GUIDED = (*GROUPS, FIRST)
MAX_STEPS = 1000
CALM = 0.7  # a temperature for models that have learned little
_EULER_STEPS = 4  # of a model that was taught so few, each step is meant to be straight
# (latents [B, V, T, C, h, w], timesteps [B, T], conditions) -> velocity; a `WorldGen`, say
Network = Callable[[Tensor, Tensor, Conditions], Tensor]


@dataclass(frozen=True)
class Sampling:
    """How noise becomes latents.

    Attributes:
        steps: of the way from noise to data; each costs one pass of the network, and one for each guided part.
        shift: more than 1 spends more steps near noise, as large pictures need.
        guidance: scale by part of `GUIDED`. 1, or a part that is absent, is no guidance and costs nothing.
        temperature: scale of the noise that is begun with, 0 to 1. Less shows less of what was not learned well: were
            latents normal, their deviation would be so much smaller.

    Raises:
        UsageError: a number out of range, or a part that there is not.
    """

    steps: int = 4
    shift: float = 3.0
    guidance: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MAX_STEPS:
            raise UsageError(f"steps: expected 1 to {MAX_STEPS}, found {self.steps}")
        if not (math.isfinite(self.shift) and self.shift > 0.0):
            raise UsageError(f"shift: expected more than 0, found {self.shift:g}")
        if not 0.0 <= self.temperature <= 1.0:
            raise UsageError(f"temperature: expected 0 to 1, found {self.temperature:g}")
        for part, scale in self.guidance.items():
            if part not in GUIDED:
                raise UsageError(f"guidance: expected one of {', '.join(GUIDED)}, found {part!r}")
            if not (math.isfinite(scale) and scale >= 0.0):
                raise UsageError(f"guidance: expected {part} of 0 or more, found {scale:g}")


def parse_guidance(text: str) -> dict[str, float]:
    """Turn "text=3,ego=2" into scales by part; a plain number is that of the text.

    Raises:
        UsageError: no numbers, or a part that there is not or that is given twice.
    """
    scales: dict[str, float] = {}
    for word in text.split(","):
        part, equals, value = (w.strip() for w in word.partition("="))
        if not equals and "," not in text:
            part, value = "text", part
        try:
            scale = float(value)
        except ValueError:
            raise UsageError(f"guidance: expected a number, or {GUIDED[0]}=3,{GUIDED[1]}=2, found {text!r}") from None
        if part in scales:
            raise UsageError(f"guidance: expected each part once, found {part} twice")
        scales[part] = scale
    Sampling(guidance=scales)
    return scales


def timesteps(steps: int, shift: float) -> Tensor:  # [steps + 1] float64, falling from 1 to 0
    """Evenly spaced ones u become shift u / (1 + (shift - 1) u) (Stable Diffusion 3, 5.3.2)."""
    u = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
    return shift * u / (1.0 + (shift - 1.0) * u)


@torch.inference_mode()
def sample(
    model: Network,
    known: Known,
    noise: Tensor,  # [B, V, T, C, h, w]
    stride: int,  # px a latent cell is wide
    sampling: Sampling,
    clean: Tensor | None = None,  # [B, V, K, C, h, w] the first frames, K < T
    progress: Callable[[int], None] | None = None,  # is told the number of steps done
) -> Tensor:  # [B, V, T, C, h, w] float32; the first K frames are `clean`
    """See `follow`.

    Raises:
        ValueError: shapes that do not fit.
    """
    x, K = sampling.temperature * noise.float(), 0 if clean is None else clean.shape[2]
    if clean is not None:
        if clean.ndim != 6 or clean.shape != (*x.shape[:2], K, *x.shape[3:]) or not 0 < K < x.shape[2]:
            raise ValueError(f"clean: expected some of the first frames of {list(x.shape)}, found {list(clean.shape)}")
        clean = clean.float()
        x = torch.cat((clean, x[:, :, K:]), dim=2)
    passes = _Passes(model, known, stride, sampling.guidance, noise[:, :, :K].float(), clean)
    return follow(passes.velocity, x, timesteps(sampling.steps, sampling.shift), progress)


@torch.inference_mode()
def follow(
    velocity: Callable[[Tensor, float], Tensor],  # of x at a time
    x: Tensor,
    times: Tensor,  # [steps + 1], falling
    progress: Callable[[int], None] | None = None,  # is told the number of steps done
) -> Tensor:  # of x's shape
    """Follow dx / dt = velocity: by Euler's rule for few steps, else by Adams and Bashforth's of second order.

    The latter leans on the velocity of the step before, so that it takes no pass more.
    """
    steps = len(times) - 1
    before, step_before = None, 0.0
    for k, (time, later) in enumerate(pairwise(times.tolist())):
        step = later - time
        now = velocity(x, time)
        slope = now
        if before is not None and steps > _EULER_STEPS:
            slope = now + step / (2.0 * step_before) * (now - before)
        x = x + step * slope
        before, step_before = now, step
        if progress is not None:
            progress(k + 1)
    return x


class _Passes:
    """The guided velocity: v + sum over parts of (scale - 1) (v - v without the part)."""

    def __init__(
        self,
        model: Network,
        known: Known,
        stride: int,
        guidance: Mapping[str, float],
        first_noise: Tensor,  # [B, V, K, C, h, w]
        clean: Tensor | None,
    ) -> None:
        self._model, self._clean, self._first_noise = model, clean, first_noise
        C = first_noise.shape[3]
        self._all = known.conditions(C, stride)
        told = (*known.groups(), *(() if clean is None else (FIRST,)))
        self._guided = [(part, scale) for part, scale in guidance.items() if scale != 1.0 and part in told]
        self._without = {part: known.without(part).conditions(C, stride) for part, _ in self._guided if part != FIRST}

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """At time t; clean frames stay as they are."""
        B, _, T = x.shape[:3]
        K = self._first_noise.shape[2]
        each = torch.full((B, T), t, device=x.device)
        each[:, :K] = 0.0
        velocity = self._model(x, each, self._all).float()
        guided = velocity
        for scale, without in self._others(x, t, each):
            guided = guided + (scale - 1.0) * (velocity - without)
        guided[:, :, :K] = 0.0
        return guided

    def _others(self, x: Tensor, t: float, each: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Scale and velocity without each guided part."""
        for part, scale in self._guided:
            if part != FIRST:
                yield scale, self._model(x, each, self._without[part]).float()
            elif self._clean is not None:
                first = (1.0 - t) * self._clean + t * self._first_noise
                noisy = torch.cat((first, x[:, :, first.shape[2] :]), dim=2)
                yield scale, self._model(noisy, torch.full_like(each, t), self._all).float()
