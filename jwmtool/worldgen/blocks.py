"""A block of the transformer, and its head. Norms and modulation are float32, whatever the weights are."""

# B samples, V views, T latent frames, P patches of a frame, C channels, L tokens.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.worldgen.attention import CrossViewAttention, SelfAttention, TextAttention
from jwmtool.worldgen.cache import KVCache
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.layout import Layout


@dataclass(frozen=True)
class Shared:
    """What all blocks are given alike.

    Attributes:
        modulation: [B, T, 6, C] of each frame.
        text: [B, L, C]; text_mask: [B, L] or None.
        layout: which frames see which.
        remember: append keys and values to the caches.
    """

    modulation: Tensor
    text: Tensor
    text_mask: Tensor | None
    layout: Layout
    remember: bool


class Block(nn.Module):
    """Attention in a view, among views, to text; a feed-forward layer. Pre-norm; modulated frame by frame."""

    def __init__(self, config: WorldGenConfig, cross_view: bool) -> None:
        super().__init__()
        self.norm1 = Fp32LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.attn1 = SelfAttention(config)
        if cross_view:
            self.cross_view = CrossViewAttention(config)
        self.norm2 = Fp32LayerNorm(config.dim, config.eps)
        self.attn2 = TextAttention(config)
        self.norm3 = Fp32LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.ffn = FeedForward(config.dim, config.ffn_dim)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, config.dim) / config.dim**0.5)
        self.has_cross_view = cross_view

    def forward(self, x_BVTPC: Tensor, shared: Shared, cache: KVCache | None = None) -> Tensor:  # [B, V, T, P, C]
        """Of the tokens of all frames and views."""
        x, dtype = x_BVTPC, x_BVTPC.dtype
        shift, scale, gate, shift_2, scale_2, gate_2 = modulation_of(self.scale_shift_table, shared.modulation)
        normed = (self.norm1(x) * (1 + scale) + shift).to(dtype)
        x = (x.float() + self.attn1(normed, shared.layout, cache, shared.remember) * gate).to(dtype)
        if self.has_cross_view and x.shape[1] > 1:
            x = x + self.cross_view(self.norm1(x).to(dtype))
        x = x + self.attn2(self.norm2(x).to(dtype), shared.text, shared.text_mask)
        normed = (self.norm3(x) * (1 + scale_2) + shift_2).to(dtype)
        return (x.float() + self.ffn(normed) * gate_2).to(dtype)


class Head(nn.Module):
    """The last norm, whose modulation is the timestep's embedding itself. Its weights stand at the network's top."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__()
        self.norm_out = Fp32LayerNorm(config.dim, config.eps, elementwise_affine=False)

    def forward(self, x_BVTPC: Tensor, table: Tensor, time_BTC: Tensor) -> Tensor:  # [B, V, T, P, C]
        """Normed and modulated by a table [1, 2, C]."""
        shift, scale = modulation_of(table, time_BTC[:, :, None])
        return (self.norm_out(x_BVTPC) * (1 + scale) + shift).to(x_BVTPC.dtype)


class FeedForward(nn.Module):
    """Linear, GELU, linear; names are Wan's."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GeluLinear(dim, inner), nn.Identity(), nn.Linear(inner, dim))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.net(x)


class GeluLinear(nn.Module):
    """Linear, then GELU by its tanh."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.gelu(self.proj(x), approximate="tanh")


class Fp32LayerNorm(nn.LayerNorm):
    """Takes any precision, computes and returns float32."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        weight, bias = (None if p is None else p.float() for p in (self.weight, self.bias))
        return functional.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps)


def modulation_of(
    table: Tensor,  # [1, K, C]
    modulation: Tensor,  # [B, T, K or 1, C]
) -> tuple[Tensor, ...]:
    """Their sum as K tensors [B, 1, T, 1, C]."""
    return tuple(part[:, None, :, None] for part in (table.float() + modulation.float()).unbind(2))
