"""A small convolutional autoencoder of single pictures: 16 x 16 px become 64 numbers, or the like.

No layer looks at other frames, at a picture's mean or all across it: any size works, and frames may come one by one.

The encoder tells no variance: training adds noise of one strength to all latents and pulls every channel toward zero
mean and unit deviation. That bounds what a latent can carry, as the KL term of a variational autoencoder does, with
one number to choose that has a meaning: the size of error, in standard deviations, that the decoder learns to bear.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.imaging.residual import Block, zero
from jwmtool.worldgen.autoencoder_config import FINEST, MULTIPLE, AutoencoderConfig
from jwmtool.worldgen.latents import Prior, check_latents, check_video

_CELL = FINEST * FINEST  # pixels of a cell of the finest stage
_AT_ONCE = 8  # pictures
_MEMORY = 0.01  # share of the newest batch in the latents' averages


class Coded(NamedTuple):
    """What a pass through encoder and decoder gives.

    Attributes:
        images: [N, 3, H, W], about in [0, 1] but not clamped.
        latents: [N, C, h, w], as the encoder told them: neither normalized nor noisy.
    """

    images: Tensor
    latents: Tensor


class Encoder(nn.Module):
    """Pictures to latents. Pixels are folded into channels at once: nothing runs at full resolution."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.widths
        self.fold = nn.Conv2d(3 * _CELL, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(_stage(w, n) for w, n in zip(widths, config.blocks, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(4 * a, b, 1) for a, b in pairwise(widths))
        self.out = nn.Conv2d(widths[-1], config.channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] to [N, C, h, w]."""
        x = functional.pixel_unshuffle(2.0 * images - 1.0, FINEST)
        x = self.fold(x.contiguous(memory_format=torch.channels_last))
        for k, stage in enumerate(self.stages):
            x = stage(x if k == 0 else self.down[k - 1](functional.pixel_unshuffle(x, 2)))
        return self.out(x)


class Decoder(nn.Module):
    """Latents to pictures, with what a prior shows where it covers."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.decoder_widths
        self.begin = nn.Conv2d(config.channels, widths[-1], 3, padding=1)
        self.stages = nn.ModuleList(_stage(w, n) for w, n in zip(widths, config.decoder_blocks, strict=True))
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.out = nn.Conv2d(widths[0], 3 * _CELL, 3, padding=1)
        if config.prior_skip:
            # Without biases: a prior that covers nothing is none at all.
            self.prior = nn.Conv2d(4 * _CELL, widths[0], 3, padding=1, bias=False)
            self.blend = nn.Conv2d(widths[0], _CELL, 3, padding=1)
            zero(self.prior)
            zero(self.blend)

    def forward(self, latents: Tensor, color: Tensor | None = None, coverage: Tensor | None = None) -> Tensor:
        """[N, C, h, w] to [N, 3, H, W], not clamped; with a prior [N, 3, H, W], [N, 1, H, W] or without.

        The prior enters twice: its features join the last stage, which sees what of it agrees with the latents, and
        for each pixel that stage says how much of the prior's own color to take, so that none of it need be redrawn.
        """
        x = self.begin(latents.contiguous(memory_format=torch.channels_last))
        for k in range(len(self.stages) - 1, -1, -1):
            if k == 0 and color is not None and coverage is not None:
                known = torch.cat([(2.0 * color - 1.0) * coverage, coverage], 1)
                known = functional.pixel_unshuffle(known, FINEST).contiguous(memory_format=torch.channels_last)
                x = x + self.prior(known)
            x = self.stages[k](x)
            if k > 0:
                x = functional.pixel_shuffle(self.up[k - 1](x), 2)
        images = 0.5 + functional.pixel_shuffle(self.out(x), FINEST)
        if color is not None and coverage is not None:
            images = images + functional.pixel_shuffle(self.blend(x), FINEST) * coverage * (color - images)
        return images


class Autoencoder(nn.Module):
    """See `jwmtool.worldgen.latents.VideoAutoencoder`; every frame is coded alone.

    Buffers: `latent_mean`, `latent_square` [C], running averages of the latents and of their squares, by which they are
    normalized; `updates`, how many batches are in them.
    """

    latent_mean: Tensor
    latent_square: Tensor
    updates: Tensor
    frames_per_latent = 1

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latent_mean", torch.zeros(config.channels))
        self.register_buffer("latent_square", torch.ones(config.channels))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def stride(self) -> int:
        """Px a latent cell is wide."""
        return self.config.stride

    @property
    def channels(self) -> int:
        """Of a latent."""
        return self.config.channels

    @property
    def takes_prior(self) -> bool:
        """Whether the decoder has a way in for one."""
        return self.config.prior_skip

    def forward(
        self,
        images: Tensor,  # [N, 3, H, W] in [0, 1]
        color: Tensor | None = None,  # [N, 3, H, W], a prior
        coverage: Tensor | None = None,  # [N, 1, H, W]
        noise: Tensor | None = None,  # [N, C, h, w], added to the latents
    ) -> Coded:
        """Both ways at once, for training, where it also keeps the latents' averages."""
        latents = self.encoder(images)
        if self.training:
            self._remember(latents.detach())
        return Coded(self.decoder(latents if noise is None else latents + noise, color, coverage), latents)

    def encode(self, video: Tensor) -> Tensor:
        """[B, T, 3, H, W] in [0, 1] to normalized latents [B, T, C, h, w].

        Raises:
            ValueError: sides that are no multiples of 16 px.
        """
        check_video(video, MULTIPLE)
        mean, deviation = self._normalization()
        parts = [(self.encoder(part) - mean) / deviation for part in video.flatten(0, 1).split(_AT_ONCE)]
        return torch.cat(parts).unflatten(0, video.shape[:2])

    def decode(self, latents: Tensor, prior: Prior | None = None) -> Tensor:
        """Normalized latents [B, T, C, h, w] to [B, T, 3, H, W] in [0, 1].

        Raises:
            ValueError: latents of other channels; a prior of another shape, or for a network without a way in for one.
        """
        check_latents(latents, self.channels)
        if prior is not None:
            self._check_prior(latents, prior)
        mean, deviation = self._normalization()
        flat = latents.flatten(0, 1)
        parts = []
        for i in range(0, len(flat), _AT_ONCE):
            some = slice(i, i + _AT_ONCE)
            known = () if prior is None else (prior.color.flatten(0, 1)[some], prior.coverage.flatten(0, 1)[some])
            parts.append(self.decoder(flat[some] * deviation + mean, *known).clamp(0.0, 1.0))
        return torch.cat(parts).unflatten(0, latents.shape[:2])

    def stream(self) -> AutoencoderStream:
        """Decode a video piece by piece."""
        return AutoencoderStream(self)

    def _normalization(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents, [C, 1, 1]."""
        variance = (self.latent_square - self.latent_mean.square()).clamp(min=1e-4)
        return self.latent_mean[:, None, None], variance.sqrt()[:, None, None]

    def _check_prior(self, latents: Tensor, prior: Prior) -> None:
        if not self.takes_prior:
            raise ValueError("decode: expected no prior (this autoencoder has prior_skip=False), found one")
        B, T, _, h, w = latents.shape
        expected = (B, T, 3, h * self.stride, w * self.stride)
        if tuple(prior.color.shape) != expected:
            raise ValueError(f"decode: expected a prior {list(expected)}, found {list(prior.color.shape)}")

    @torch.no_grad()
    def _remember(self, latents: Tensor) -> None:
        moments = torch.stack([latents.float().mean((0, 2, 3)), latents.float().square().mean((0, 2, 3))])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # All ranks remember the same, whichever of them is asked for it in the end.
            torch.distributed.all_reduce(moments)
            moments = moments / torch.distributed.get_world_size()
        if not bool(torch.isfinite(moments).all()):
            return  # a step that the loop skips as well
        share = max(_MEMORY, 1.0 / (1.0 + float(self.updates)))
        self.latent_mean.lerp_(moments[0], share)
        self.latent_square.lerp_(moments[1], share)
        self.updates += 1


class AutoencoderStream:
    """See `jwmtool.worldgen.latents.FrameStream`; as no frame depends on another, there is nothing to keep."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        self._autoencoder = autoencoder

    def push(self, latents: Tensor, prior: Prior | None = None) -> Tensor:
        """[B, n, C, h, w] to [B, n, 3, H, W] in [0, 1]; errors as `Autoencoder.decode`."""
        return self._autoencoder.decode(latents, prior)


def _stage(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(blocks)))
