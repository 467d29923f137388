"""Attention: of frames of one view, to text, and among the cameras of a frame. Names of weights are Wan's."""

# B samples, V views, T frames, P patches of a frame, C channels, H heads, D numbers of a head, S frames seen, L tokens.
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from jwmtool.worldgen.cache import KVCache
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.layout import Group, Layout
from jwmtool.worldgen.rope import rotate


class Attention(nn.Module):
    """Projections, and the norm of queries and keys, which goes across all heads."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(config.dim, config.dim) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(config.dim, config.dim))
        normed = config.qk_norm != "none"
        self.norm_q: nn.Module = nn.RMSNorm(config.dim, eps=config.eps) if normed else nn.Identity()
        self.norm_k: nn.Module = nn.RMSNorm(config.dim, eps=config.eps) if normed else nn.Identity()

    def queries(self, x: Tensor) -> Tensor:
        """Of [..., C]: [..., H, D]."""
        return self.norm_q(self.to_q(x)).unflatten(-1, (self.heads, -1))

    def keys(self, x: Tensor) -> Tensor:
        """Of [..., C]: [..., H, D]."""
        return self.norm_k(self.to_k(x)).unflatten(-1, (self.heads, -1))

    def values(self, x: Tensor) -> Tensor:
        """Of [..., C]: [..., H, D]."""
        return self.to_v(x).unflatten(-1, (self.heads, -1))


class SelfAttention(Attention):
    """Over time and space of one view: bidirectional, block-causal or streamed, as the layout says."""

    def forward(
        self,
        x_BVTPC: Tensor,
        layout: Layout,
        cache: KVCache | None = None,  # holds the frames of the layout that are not in x
        remember: bool = False,  # append these frames to the cache
    ) -> Tensor:  # [B, V, T, P, C]
        """Each group of frames looks at those that it sees."""
        q_BVTPHD = rotate(self.queries(x_BVTPC), layout.queries)
        k_BVSPHD, v_BVSPHD = new = self.keys(x_BVTPC), self.values(x_BVTPC)
        if cache is not None:
            k_BVSPHD, v_BVSPHD = cache.read(*new)
            if remember:
                cache.append(*new)
        turned_BVSPHD = rotate(k_BVSPHD, layout.keys)
        looked = [
            _attend_frames(
                q_BVTPHD[:, :, group.queries],
                _keys_of(group, k_BVSPHD, turned_BVSPHD),
                _joined([v_BVSPHD[:, :, run] for run in group.keys]),
            )
            for group in layout.groups
        ]
        return self.to_out(_joined(looked))


class TextAttention(Attention):
    """From every patch to the tokens of captions and tags."""

    def forward(
        self,
        x_BVTPC: Tensor,
        text_BLC: Tensor,
        mask_BL: Tensor | None = None,  # True where there is a token; None: everywhere
    ) -> Tensor:  # [B, V, T, P, C]; 0 before the last projection where a sample has no tokens
        """All views and frames of a sample read the same text."""
        some, visible = None, None
        if mask_BL is not None:
            some = mask_BL.any(dim=1)
            visible = (mask_BL | ~some[:, None])[:, None, None, :]  # a row without any would be 0 / 0
        q_BLHD = self.queries(x_BVTPC).flatten(1, 3)
        out_BLC = _attend(q_BLHD, self.keys(text_BLC), self.values(text_BLC), visible)
        if some is not None:
            out_BLC = out_BLC * some[:, None, None]
        return self.to_out(out_BLC.reshape(x_BVTPC.shape))


class CrossViewAttention(Attention):
    """Among all patches of the cameras of one frame. Adds nothing at first; which camera is which, their rays tell."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__(config)
        self.first_weights()

    def first_weights(self) -> None:
        """As new."""
        for layer in (self.to_q, self.to_k, self.to_v, self.norm_q, self.norm_k):
            if isinstance(layer, nn.Linear | nn.RMSNorm):
                layer.reset_parameters()
        for parameter in self.to_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x_BVTPC: Tensor) -> Tensor:  # [B, V, T, P, C]
        """What each patch takes from the others of its frame, in all views."""
        B, V, T, P, _ = x_BVTPC.shape
        x_NLC = x_BVTPC.transpose(1, 2).reshape(B * T, V * P, -1)
        out_NLC = self.to_out(_attend(self.queries(x_NLC), self.keys(x_NLC), self.values(x_NLC)))
        return out_NLC.reshape(B, T, V, P, -1).transpose(1, 2)


def _keys_of(group: Group, keys: Tensor, turned: Tensor) -> Tensor:
    """[B, V, S, P, H, D], each turned to where the group sees it."""
    runs = [turned[:, :, run] for run in group.keys]
    if group.sink is not None:
        runs[0] = rotate(keys[:, :, group.keys[0]], group.sink)
    return _joined(runs)


def _joined(runs: list[Tensor]) -> Tensor:
    """Along the frames, without a copy where there is nothing to join."""
    return runs[0] if len(runs) == 1 else torch.cat(runs, dim=2)


def _attend_frames(q_BVTPHD: Tensor, k_BVSPHD: Tensor, v_BVSPHD: Tensor) -> Tensor:  # [B, V, T, P, C]
    B, V, T, P = q_BVTPHD.shape[:4]
    q_NLHD, k_NLHD, v_NLHD = (x.flatten(2, 3).flatten(0, 1) for x in (q_BVTPHD, k_BVSPHD, v_BVSPHD))
    return _attend(q_NLHD, k_NLHD, v_NLHD).reshape(B, V, T, P, -1)


def _attend(q_NLHD: Tensor, k_NLHD: Tensor, v_NLHD: Tensor, mask: Tensor | None = None) -> Tensor:  # [N, L, C]
    q, k, v = (x.transpose(1, 2) for x in (q_NLHD, k_NLHD, v_NLHD))
    return scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
