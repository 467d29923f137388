"""Sizes of the image autoencoder. `mini` runs on a laptop; the others differ from it by numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool.artifacts.config_values import from_values, to_values
from jwmtool.errors import UsageError

FINEST = 4  # px a cell of the finest stage: no convolution runs on more cells
STRIDES = (8, 16)
MULTIPLE = 16  # sizes of pictures: a transformer's token is 16 px at either stride


@dataclass(frozen=True)
class AutoencoderConfig:
    """What decides the network's shape; saved with its weights.

    Attributes:
        stride: px a latent cell is wide, 8 or 16.
        channels: of a latent. 16 px a token in the end: stride 16 with 64 channels, or stride 8 with 16, which a
            transformer patches 2 x 2.
        widths: channels of the encoder at strides 4, 8, ... up to `stride`; blocks: residual blocks at each.
        decoder_widths, decoder_blocks: likewise of the decoder, in the same order.
        prior_skip: the decoder takes a prior picture and its coverage.
    """

    stride: int = 16
    channels: int = 64
    widths: tuple[int, ...] = (48, 96, 160)
    blocks: tuple[int, ...] = (1, 2, 1)
    decoder_widths: tuple[int, ...] = (64, 128, 160)
    decoder_blocks: tuple[int, ...] = (4, 3, 1)
    prior_skip: bool = True

    def __post_init__(self) -> None:
        if self.stride not in STRIDES:
            raise UsageError(f"autoencoder: expected stride 8 or 16, found {self.stride!r}")
        if self.channels < 1:
            raise UsageError(f"autoencoder: expected channels of a latent, found {self.channels!r}")
        stages = self.stages
        for name in ("widths", "blocks", "decoder_widths", "decoder_blocks"):
            values = getattr(self, name)
            least = 0 if "blocks" in name else 1
            if len(values) != stages or min(values) < least:
                raise UsageError(
                    f"autoencoder: expected {stages} {name} of at least {least} for stride {self.stride}, "
                    f"found {list(values)}"
                )

    @property
    def stages(self) -> int:
        """Of encoder and decoder each: strides 4, 8 and, if the latents' is 16, that."""
        return (self.stride // FINEST).bit_length()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | Path = "the autoencoder's config") -> AutoencoderConfig:
        """From JSON values; errors as `from_values`."""
        return from_values(cls, values, where)


CONFIGS = {
    "mini": AutoencoderConfig(),
    "mini8": AutoencoderConfig(  # of the same cost, with latents twice as fine
        stride=8, channels=16, widths=(48, 112), blocks=(1, 3), decoder_widths=(64, 144), decoder_blocks=(4, 3),
    ),
    "base": AutoencoderConfig(
        widths=(96, 192, 384), blocks=(2, 3, 4), decoder_widths=(128, 256, 384), decoder_blocks=(6, 6, 4),
    ),
}  # fmt: skip
