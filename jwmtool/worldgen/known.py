"""What is known of videos, part by part: what training drops at random, and guidance leaves out on purpose."""

# B samples, V views, T latent frames, L tags, h x w latent cells.
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pixel_unshuffle

from jwmtool.worldgen import rays
from jwmtool.worldgen.conditions import Conditions

SUBCELL = 4  # px: coverage and layout are told this finely
LAYOUT_MAPS = 3  # vehicles, other bodies, lanes
# Parts that can be dropped together. First frames are no part: they are frames that are clean (timestep 0).
GROUPS: dict[str, tuple[str, ...]] = {
    "text": ("tags", "text", "text_mask"),
    "ego": ("ego",),
    "prior": ("prior", "coverage"),
    "rays": ("rays",),
    "layout": ("layout",),
}
_CHANNELS = ("prior", "coverage", "rays", "layout")  # in this order


@dataclass(frozen=True)
class Known:
    """Of a batch of videos; a part is None where it is not known of any.

    Zeros say as little as None, so that a batch may hold samples of which less is known.

    Attributes:
        times_s: [B, T] float64.
        tags: [B, L] int64 (`tags.tag_numbers`), -1: not told.
        text: [B, L', text_dim] a caption's tokens; text_mask: [B, L'].
        ego: [B, T, ego_dim] (`ego_motion`; where a latent stands for several frames, theirs side by side).
        prior: [B, V, T, C, h, w] latents of the hole-filled prior, 0 where the prior of a sample is not known.
        coverage: [B, V, T, n, h, w] how much of the prior was rendered (`cells` of [0, 1]).
        rays: [B, V, T, 6, h, w] (`rays.camera_rays`).
        layout: [B, V, T, m, h, w] (`drawing.draw_layout`).
    """

    times_s: Tensor
    tags: Tensor | None = None
    text: Tensor | None = None
    text_mask: Tensor | None = None
    ego: Tensor | None = None
    prior: Tensor | None = None
    coverage: Tensor | None = None
    rays: Tensor | None = None
    layout: Tensor | None = None

    def without(self, *groups: str) -> Known:
        """All but these of `GROUPS`."""
        gone: dict[str, Any] = {part: None for group in groups for part in GROUPS[group]}
        return replace(self, **gone)

    def groups(self) -> tuple[str, ...]:
        """Those of which something is known."""
        return tuple(g for g, parts in GROUPS.items() if any(getattr(self, part) is not None for part in parts))

    def to(self, device: torch.device | str) -> Known:
        """All tensors there."""
        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: None if part is None else part.to(device) for name, part in given.items()}
        return Known(**moved)

    def conditions(self, in_channels: int, stride: int) -> Conditions:
        """As the transformer takes it; `in_channels` and `stride` are those of the latents."""
        sizes = channel_counts(in_channels, stride)
        given = [getattr(self, name) for name in _CHANNELS]
        some = next((part for part in given if part is not None), None)
        concat = None
        if some is not None:
            B, V, T, _, h, w = some.shape
            empty = {name: some.new_zeros(B, V, T, sizes[name], h, w) for name in _CHANNELS}
            pairs = zip(_CHANNELS, given, strict=True)
            concat = torch.cat([empty[name] if part is None else part.to(some.dtype) for name, part in pairs], dim=3)
        return Conditions(self.times_s, self.text, self.text_mask, self.ego, concat, self.tags)


def channel_counts(in_channels: int, stride: int) -> dict[str, int]:
    """Channels of each part that has a place in the picture; their sum is a config's `concat_channels`."""
    fine = (stride // SUBCELL) ** 2
    return {"prior": in_channels, "coverage": fine, "rays": rays.CHANNELS, "layout": LAYOUT_MAPS * fine}


def cells(
    maps: Tensor,  # [N, m, H, W], at full size or at `SUBCELL` px
    stride: int,
    reduced: bool = False,  # they are at `SUBCELL` px
) -> Tensor:  # [N, m * (stride / SUBCELL)^2, H / stride, W / stride]
    """Means over squares of `SUBCELL` px, those of a latent cell side by side in its channels."""
    fine = maps if reduced else avg_pool2d(maps, SUBCELL)
    return pixel_unshuffle(fine, stride // SUBCELL)
