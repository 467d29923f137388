"""Sizes of WorldGen's transformer. `mini` runs on a laptop; the others differ from it by numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool.artifacts.config_values import from_values, to_values
from jwmtool.errors import UsageError

QK_NORMS = ("rms_norm_across_heads", "none")
PATCHES = (1, 2)


@dataclass(frozen=True)
class WorldGenConfig:
    """What decides the network's shape; saved with its weights.

    Attributes:
        layers, heads, head_dim, ffn_dim: of the transformer; its width is heads * head_dim.
        patch: latent cells a token is wide and high.
        in_channels, out_channels: of a latent.
        concat_channels: further channels that enter with each latent cell (known frames and their mask, the rendered
            prior and its coverage, camera rays, layout); 0: none.
        text_dim: numbers of a caption's or tag's token; text_len: tokens that a
            caption is padded to, or tags in all.
        freq_dim: sines and cosines that a timestep becomes.
        ego_dim: numbers that tell of the ego's motion in one latent frame; 0: none.
        num_tags: tags that have a token of their own; 0: none.
        start_stride: px a latent cell is wide, if the network starts from Gaussian latents about the prior
            (`start.GaussianStart`); 0: from nothing, as Wan's.
        carry: where there is no scene, the last known picture carried along the path is the prior (`carry.carried`).
        cross_view: cameras look at each other, in every `cross_view_every`-th block.
        qk_norm: `rms_norm_across_heads`, as Wan's, or `none` (an ablation).
        eps: of all norms.
        latent_rate_hz: latent frames a second at which one frame is one step of the time coordinate.
        rope_theta: longest wavelength of the rotary embedding, in steps, over 2 pi.
    """

    layers: int = 8
    heads: int = 4
    head_dim: int = 64
    ffn_dim: int = 704
    patch: int = 1
    in_channels: int = 64
    out_channels: int = 64
    concat_channels: int = 0
    text_dim: int = 256
    text_len: int = 16
    freq_dim: int = 256
    ego_dim: int = 0
    num_tags: int = 0
    start_stride: int = 0
    carry: bool = False
    cross_view: bool = False
    cross_view_every: int = 1
    qk_norm: str = "rms_norm_across_heads"
    eps: float = 1e-6
    latent_rate_hz: float = 10.0
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "ffn_dim", "in_channels", "out_channels", "text_dim", "text_len"):
            self._expect(name, getattr(self, name) >= 1, "1 or more")
        for name in ("concat_channels", "ego_dim", "num_tags", "start_stride"):
            self._expect(name, getattr(self, name) >= 0, "0 or more")
        self._expect("head_dim", self.head_dim >= 6 and self.head_dim % 2 == 0, "an even number from 6 on")
        self._expect("freq_dim", self.freq_dim >= 2 and self.freq_dim % 2 == 0, "an even number from 2 on")
        self._expect("patch", self.patch in PATCHES, " or ".join(map(str, PATCHES)))
        self._expect("qk_norm", self.qk_norm in QK_NORMS, " or ".join(QK_NORMS))
        self._expect("cross_view_every", 1 <= self.cross_view_every <= self.layers, f"1 to {self.layers} (layers)")
        for name in ("eps", "latent_rate_hz", "rope_theta"):
            self._expect(name, getattr(self, name) > 0, "more than 0")

    def _expect(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise UsageError(f"WorldGen: expected {name} {expected}, found {getattr(self, name)!r}")

    @property
    def dim(self) -> int:
        """Width of the transformer."""
        return self.heads * self.head_dim

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | Path = "WorldGen's config") -> WorldGenConfig:
        """From JSON values; errors as `from_values`."""
        return from_values(cls, values, where)


# Prior, its coverage, camera rays, layout: `known.channel_counts` of latents of 64 channels at stride 16.
_CONCAT = 64 + 16 + 6 + 48
_TAGS = 22  # `tags.NUM_TAGS`

CONFIGS = {
    "mini": WorldGenConfig(
        layers=6, ffn_dim=480, concat_channels=_CONCAT, text_dim=64, text_len=4, ego_dim=8, num_tags=_TAGS,
        start_stride=16, carry=True, cross_view=True, cross_view_every=3,
    ),
    "base": WorldGenConfig(
        layers=16, heads=12, ffn_dim=2048, concat_channels=_CONCAT, text_dim=768, text_len=64, ego_dim=8,
        num_tags=_TAGS, start_stride=16, carry=True, cross_view=True, cross_view_every=2,
    ),
    "wan-1.3b": WorldGenConfig(  # Wan2.1-T2V-1.3B: 16 frames a second, 4 a latent
        layers=30, heads=12, head_dim=128, ffn_dim=8960, patch=2, in_channels=16, out_channels=16, text_dim=4096,
        text_len=512, latent_rate_hz=4.0,
    ),
    "wan-5b": WorldGenConfig(  # Wan2.2-TI2V-5B: 24 frames a second, 4 a latent
        layers=30, heads=24, head_dim=128, ffn_dim=14336, patch=2, in_channels=48, out_channels=48, text_dim=4096,
        text_len=512, latent_rate_hz=6.0,
    ),
}  # fmt: skip
