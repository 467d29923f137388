"""A network that makes the first picture of a video of which nothing is known but words and cameras.

It paints in two goes (cascaded diffusion, Ho et al. 2021, arXiv 2106.15282), each a flow from noise that a U-Net tells
the velocity of: what a street looks like, in pictures of a quarter of the width and height, all cameras together; and
what is missing from such a picture, blown up, to a sharp one. Small pictures hold all that decides whether a street is
one, and cost little to learn from.
"""

# B pictures (samples, and of each its V views, one after another), H, W height and width, px: multiples of 16.
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jwmtool.artifacts.config_values import from_values, to_values
from jwmtool.artifacts.weights import load_weights, read_config, weights_file
from jwmtool.worldgen.rays import CHANNELS as RAY_CHANNELS
from jwmtool.worldgen.sampler import follow, timesteps
from jwmtool.worldgen.tags import EVENT, NO_EVENT, NUM_TAGS
from jwmtool.worldgen.unet import Look, UNet

Noise = tuple[Tensor, Tensor, Tensor]  # of the shapes of `noises`
KIND = "first-frame"  # under the metadata key `task`
SMALLER = 4  # times, in width and height, is the small picture
RAYS_PX = 8  # of a cell that has a ray
_PATCH = 2  # px of the small picture a cell is wide
_MEAN, _DEVIATION = 0.45, 0.25  # of colors
_VARIANCE = 0.85  # of small pictures, in deviations
_MISSING = 0.06  # deviation of what is missing from a small picture, blown up
_MOMENT_M = 4.0  # by which the moments of rays are divided
_WAVES, _FASTEST = 32, 100.0  # of times, as the network sees them
_SPOILT = 0.1  # noise in small pictures that are made sharp, in deviations: they are generated, not true
INSIST = 2.0  # guidance of the words, if no other is asked for
_OF_EVENT = 3.0  # times as much guidance as of the words, beside it
_COARSE_STEPS, _FINE_STEPS = 30, 12
_COARSE_SHIFT = 3.0  # `timesteps`: most is decided close to noise


@dataclass(frozen=True)
class FirstFrameConfig:
    """What decides the network's shape; saved with its weights.

    Attributes:
        coarse, fine: channels of the U-Nets of either go, by resolution; multiples of 8, those from the second on of
            `coarse` and the last of `fine`, where cells look at each other, of 32.
        blocks: residual blocks at each resolution, on the way down and on the way up.
        told: length of what blocks are told of time and tags.
    """

    coarse: tuple[int, ...] = (64, 128, 160)
    fine: tuple[int, ...] = (48, 64, 96)
    blocks: int = 2
    told: int = 192

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return to_values(self)

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], where: str | Path = "the first-frame network's config"
    ) -> FirstFrameConfig:
        """From JSON values; errors as `from_values`."""
        return from_values(cls, values, where)


CONFIGS = {"mini": FirstFrameConfig()}


class Painter(UNet):
    """One go: what noise and a picture look like without the noise."""

    def __init__(self, channels: int, given: int, config: FirstFrameConfig, coarse: bool) -> None:
        widths = config.coarse if coarse else config.fine
        looks = range(1, len(widths)) if coarse else (len(widths) - 1,)
        blocks = [config.blocks] * len(widths)
        super().__init__(channels + given + RAY_CHANNELS, channels, widths, blocks, config.told, looks)
        self.tags = nn.Embedding(NUM_TAGS, config.told)
        nn.init.normal_(self.tags.weight, std=0.02)
        self.times = nn.Sequential(nn.Linear(4 * _WAVES, config.told), nn.SiLU(), nn.Linear(config.told, config.told))

    def forward(
        self,
        noisy: Tensor,  # [B, channels, h, w]
        given: Tensor,  # [B, given + 6, h, w]
        times: Tensor,  # [B, 2] in [0, 1]: of the flow, and how spoilt what is given is
        tags: Tensor,  # [B, groups] int64, -1: not told
        views: int = 1,
    ) -> Tensor:  # [B, channels, h, w]
        """Of pictures, the views of a sample one after another."""
        waves = torch.exp(torch.linspace(0.0, math.log(_FASTEST), _WAVES, device=times.device))
        angles = (times[:, :, None] * waves).flatten(1)
        words = (self.tags(tags.clamp(min=0)) * (tags >= 0)[:, :, None]).sum(1)
        told = F.silu(self.times(torch.cat([angles.sin(), angles.cos()], 1)) + words)
        return self.cells(torch.cat([noisy, given], 1), told, views)


class FirstFrame(nn.Module):
    """Both goes."""

    def __init__(self, config: FirstFrameConfig) -> None:
        super().__init__()
        self.config = config
        self.coarse = Painter(3 * _PATCH**2, 0, config, coarse=True)
        self.fine = Painter(3 * SMALLER**2, 3, config, coarse=False)

    def forward(
        self,
        noisy: Tensor,  # [B, 12, H / 8, W / 8] or [B, 48, H / 4, W / 4]
        rays: Tensor,  # [B, 6, H / 8, W / 8]
        times: Tensor,  # [B, 2] in [0, 1]: of the flow, and of the second go how spoilt small pictures are
        tags: Tensor,  # [B, groups] int64, -1: not told
        small: Tensor | None = None,  # [B, 3, H / 4, W / 4], in deviations, of the second go
        views: int = 1,  # that look at each other in the first go
    ) -> Tensor:  # of noisy's shape
        """What a go takes for the picture without noise; the velocity follows from it.

        In the first go the network adds to the best guess of Gaussian pictures, scaled so that at all times there is as
        much left to say (Karras et al. 2022, arXiv 2206.00364). What small pictures lack is mostly nothing: in the
        second go it tells that itself, and need not pass noise through (Li and He 2025, arXiv 2511.13720).
        """
        directions, moments = rays.split(3, dim=1)
        given = torch.cat([directions, moments / _MOMENT_M], 1)
        told: Tensor
        if small is None:
            t = times[:, 0, None, None, None]
            variance = (1.0 - t) ** 2 * _VARIANCE + t**2
            guess = (1.0 - t) * _VARIANCE / variance * noisy
            told = self.coarse(noisy / variance.sqrt(), given, times, tags, views)
            told = guess + t * (_VARIANCE / variance).sqrt() * told
        else:
            given = torch.cat([small, F.interpolate(given, scale_factor=2.0)], 1)
            told = self.fine(noisy, given, times, tags)
        return told

    def paint(
        self,
        rays: Tensor,  # [B, 6, H / 8, W / 8] the rays of cells
        tags: Tensor,  # [B, groups] int64, -1: not told
        noise: Noise,
        views: int = 1,
        guidance: float = 1.0,  # of the words, and of an event, which is small, the more
        temperature: float = 1.0,
    ) -> Tensor:  # [B, 3, H, W] in [0, 1]
        """Pictures."""
        first, second, spoiling = noise
        wanted = ((guidance - 1.0, untold(tags)), (_OF_EVENT * (guidance - 1.0), without_event(tags)))
        others = [(more, without) for more, without in wanted if more != 0.0 and not torch.equal(without, tags)]

        def guided(spoilt: float, small: Tensor | None, views: int) -> Callable[[Tensor, float], Tensor]:
            def velocity(x: Tensor, t: float) -> Tensor:
                times = torch.tensor([t, spoilt], device=x.device).expand(len(x), 2)
                told: Tensor = self(x, rays, times, tags, small, views)
                clean = told
                for more, without in others:
                    clean = clean + more * (told - self(x, rays, times, without, small, views))
                return (x - clean) / t

            return velocity

        cells = follow(guided(0.0, None, views), temperature * first, timesteps(_COARSE_STEPS, _COARSE_SHIFT))
        small = F.pixel_shuffle(cells, _PATCH)
        sharpened = guided(_SPOILT, small + _SPOILT * spoiling, 1)
        missing = follow(sharpened, temperature * second, timesteps(_FINE_STEPS, 1.0))
        return (_colors(_blown_up(small)) + _MISSING * F.pixel_shuffle(missing, SMALLER)).clamp(0.0, 1.0)

    def one_view_at_a_time(self, off: bool) -> None:
        """Have cameras not look at each other, or let them again."""
        for layer in self.coarse.modules():
            if isinstance(layer, Look):
                layer.alone = off


def untold(tags: Tensor) -> Tensor:
    """None of them told."""
    return torch.full_like(tags, -1)


def without_event(tags: Tensor) -> Tensor:
    """An event that happens is not told; all else, and that nothing happens, is."""
    found = tags.clone()
    found[:, EVENT] = torch.where(tags[:, EVENT] == NO_EVENT, NO_EVENT, -1)
    return found


def noises(size: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
    """Shapes [C, h, w] of the noises that `FirstFrame.paint` begins with, of pictures of a size (W, H), px.

    Of the small picture; of what is missing from it; of what it is spoilt with in between.
    """
    width, height = size
    cell = SMALLER * _PATCH
    return (
        (3 * _PATCH**2, height // cell, width // cell),
        (3 * SMALLER**2, height // SMALLER, width // SMALLER),
        (3, height // SMALLER, width // SMALLER),
    )


def drawn(count: int, size: tuple[int, int], draw: torch.Generator, device: str | torch.device = "cpu") -> Noise:
    """Noise for so many pictures of a size (W, H), px; drawn on the CPU."""
    first, second, third = (torch.randn(count, *shape, generator=draw).to(device) for shape in noises(size))
    return first, second, third


def coarse_of(small: Tensor) -> Tensor:
    """Cells [B, 12, h / 2, w / 2] of small pictures [B, 3, h, w], which is what the first go makes."""
    return F.pixel_unshuffle(small, _PATCH)


def small_of(pictures: Tensor) -> Tensor:
    """Small pictures [B, 3, H / 4, W / 4], in deviations, of pictures in [0, 1]."""
    return (F.avg_pool2d(pictures, SMALLER) - _MEAN) / _DEVIATION


def missing_of(pictures: Tensor) -> Tensor:
    """What the second go makes [B, 48, H / 4, W / 4]: what small ones lack."""
    return F.pixel_unshuffle((pictures - _colors(_blown_up(small_of(pictures)))) / _MISSING, SMALLER)


def _colors(small: Tensor) -> Tensor:
    """Of deviations, about [0, 1]."""
    return small * _DEVIATION + _MEAN


def _blown_up(small: Tensor) -> Tensor:
    """Small pictures, as large as whole ones."""
    return F.interpolate(small, scale_factor=float(SMALLER), mode="bilinear")


def load_first_frame(path: Path, device: str = "cpu") -> FirstFrame:
    """The network of a weights file, a shipped model's folder or a training run's folder, ready to be used.

    Raises:
        InputError: there are no weights, they are damaged, or they are another network's.
    """
    model = FirstFrame(first_frame_config(path))
    load_weights(model, weights_file(path))
    return model.to(device).eval()


def first_frame_config(path: Path) -> FirstFrameConfig:
    """The shape that weights tell; `path` and errors as of `load_first_frame`."""
    return FirstFrameConfig.from_dict(*read_config(path, "a first-frame network", [KIND]))
