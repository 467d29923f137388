"""What a video is made under, and how timesteps, text and the ego's motion become vectors."""

# B samples, V views, T latent frames, L tokens, C channels of the transformer.
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jwmtool.worldgen.config import WorldGenConfig

TIMESTEPS = 1000.0  # Wan counts timesteps from 0 (data) to this (noise)


@dataclass(frozen=True)
class Conditions:
    """What is known of a video before it is made.

    Attributes:
        times_s: [B, T] when each latent frame is, s; float64 for long streams.
        text: [B, L, text_dim] tokens of captions; None only where the network knows tags.
        text_mask: [B, L] True where there is a token; None: everywhere, padding too, as Wan reads it.
        ego: [B, T, ego_dim] motion of the ego in each latent frame. Zeros say as little as None: a number that is 1
            wherever motion is told keeps standing still apart from not knowing.
        concat: [B, V, T, concat_channels, h, w], what enters with each latent cell; zeros say as little as None.
        tags: [B, M] int64 numbers of tags, -1 for none; each becomes a token that follows those of the text.
    """

    times_s: Tensor
    text: Tensor | None = None
    text_mask: Tensor | None = None
    ego: Tensor | None = None
    concat: Tensor | None = None
    tags: Tensor | None = None


def check_inputs(config: WorldGenConfig, latents: Tensor, timesteps: Tensor, given: Conditions) -> None:
    """Raise ValueError where a shape is not what it has to be; the message names the tensor."""
    if latents.ndim != 6 or latents.shape[3] != config.in_channels:
        raise ValueError(f"latents: expected [B, V, T, {config.in_channels}, h, w], found {list(latents.shape)}")
    B, V, T, _, h, w = latents.shape
    if h % config.patch or w % config.patch:
        raise ValueError(f"latents: expected h and w that {config.patch} divides, found {h} x {w}")
    L = given.text.shape[1] if given.text is not None and given.text.ndim == 3 else -1
    M = given.tags.shape[1] if given.tags is not None and given.tags.ndim == 2 else -1
    expected: list[tuple[str, Tensor | None, list[int]]] = [
        ("timesteps", timesteps, [B, T]),
        ("times_s", given.times_s, [B, T]),
        ("text", given.text, [B, L, config.text_dim]),
        ("text_mask", given.text_mask, [B, L]),
        ("ego", given.ego, [B, T, config.ego_dim]),
        ("concat", given.concat, [B, V, T, config.concat_channels, h, w]),
        ("tags", given.tags, [B, M]),
    ]
    for name, tensor, shape in expected:
        if tensor is not None and list(tensor.shape) != shape:
            raise ValueError(f"{name}: expected {shape}, found {list(tensor.shape)}")


class ConditionEmbedder(nn.Module):
    """Timesteps and text; names are Wan's."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__()
        self.freq_dim = config.freq_dim
        self.time_embedder = TwoLayers(config.freq_dim, config.dim, nn.SiLU())
        self.time_proj = nn.Linear(config.dim, 6 * config.dim)
        self.text_embedder = TwoLayers(config.text_dim, config.dim, nn.GELU(approximate="tanh"))

    def time(
        self,
        timesteps: Tensor,  # [B, T] in [0, 1]
    ) -> Tensor:  # [B, T, C]
        """Of each latent frame's own timestep."""
        waves = sinusoid(TIMESTEPS * timesteps.float(), self.freq_dim)
        return self.time_embedder(waves.to(self.time_proj.weight.dtype))

    def modulation(self, time_BTC: Tensor) -> Tensor:  # [B, T, 6, C]
        """Shift, scale and gate of attention, then of the feed-forward layer, for all blocks alike."""
        return self.time_proj(nn.functional.silu(time_BTC)).unflatten(-1, (6, -1))


class TagEmbedder(nn.Embedding):
    """Tokens of tags, of the width of a caption's."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__(config.num_tags, config.text_dim)

    def join(self, given: Conditions, B: int) -> tuple[Tensor, Tensor]:  # tokens [B, L + M, text_dim], mask [B, L + M]
        """A caption's tokens followed by those of tags."""
        tags = given.tags if given.tags is not None else self.weight.new_full((B, 1), -1, dtype=torch.int64)
        tokens, mask = self(tags.clamp_min(0)), tags >= 0
        if given.text is None:
            return tokens, mask
        text_mask = given.text_mask if given.text_mask is not None else mask.new_ones(given.text.shape[:2])
        return torch.cat((given.text.to(tokens.dtype), tokens), dim=1), torch.cat((text_mask, mask), dim=1)


class EgoEmbedder(nn.Module):
    """The ego's motion, added to the embedding of a frame's timestep. Nothing at first; zeros stay zeros."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(config.ego_dim, config.dim, bias=False)
        self.linear_2 = nn.Linear(config.dim, config.dim, bias=False)
        self.first_weights()

    def first_weights(self) -> None:
        """As new."""
        self.linear_1.reset_parameters()
        nn.init.zeros_(self.linear_2.weight)

    def forward(self, ego_BTE: Tensor) -> Tensor:  # [B, T, C]
        """Of [B, T, ego_dim]."""
        return self.linear_2(nn.functional.silu(self.linear_1(ego_BTE)))


class TwoLayers(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, width: int, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, dim)
        self.activation = activation
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.linear_2(self.activation(self.linear_1(x)))


def sinusoid(x: Tensor, dim: int) -> Tensor:  # [..., dim]
    """Cosines, then sines, of wavelengths from 2 pi to 20,000 pi (Attention is all you need, 3.5)."""
    half = torch.arange(dim // 2, dtype=torch.float32, device=x.device)
    angles = x[..., None] * torch.exp(-math.log(10_000.0) / (dim // 2) * half)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
