"""A network that repairs renders of a scene beside what was seen from the nearest recorded place.

Renders fail in ways that one sees: surfaces whose depth was wrong are torn into streaks, holes are blurred over, light
that the ego carries stays behind on the road. The picture from the nearest recorded place is whole, only taken from
elsewhere. It is offered twice, carried along the path (`carry`) and as it was, and the network weighs the three against
each other, pixel by pixel, and adds what none of them shows.
"""

# B pictures, H, W height and width, px: multiples of 4.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jwmtool.artifacts.config_values import from_values, to_values
from jwmtool.artifacts.weights import load_weights, read_config, weights_file
from jwmtool.worldgen.reference import Picture, Reference
from jwmtool.worldgen.unet import UNet

KIND = "repair"  # under the metadata key `task`
NEAR_M, FAR_M = 2.5, 5.0  # from a recorded place: what a scene covers is left as it is, and repaired in full
_FINEST = 4  # px a cell of the finest stage
CHANNELS = {"color": 3, "coverage": 1, "carried": 3, "carried_coverage": 1, "still": 3}  # of `Seen`
_AT_FIRST = (1.0, 0.0, -1.5)  # logits of the shares of render, carried picture and picture as it was
_LEAST_DEVIATION = 0.03


@dataclass(frozen=True)
class RepairConfig:
    """What decides the network's shape; saved with its weights.

    Attributes:
        widths: channels at strides 4, 8, ...; multiples of 8.
        blocks: residual blocks at each, on the way down and on the way up.
    """

    widths: tuple[int, ...] = (48, 72, 96, 128)
    blocks: tuple[int, ...] = (2, 2, 2, 3)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | Path = "the repair network's config") -> RepairConfig:
        """From JSON values; errors as `from_values`."""
        return from_values(cls, values, where)


CONFIGS = {"mini": RepairConfig()}


@dataclass(frozen=True)
class Seen:
    """What is known of pictures that a scene shows.

    Attributes:
        color: [B, 3, H, W] in [0, 1], rendered, without holes; coverage: [B, 1, H, W] in [0, 1].
        carried: [B, 3, H, W] in [0, 1], what was seen from the nearest recorded place, carried to this one;
            carried_coverage: [B, 1, H, W] in [0, 1], what of it was in the picture.
        still: [B, 3, H, W] in [0, 1], the same where it was seen.
        away_m: [B], how far that place is; infinite outside the recorded time. None: far.
    """

    color: Tensor
    coverage: Tensor
    carried: Tensor
    carried_coverage: Tensor
    still: Tensor
    away_m: Tensor | None = None

    def maps(self) -> dict[str, Tensor]:
        """What the network is shown, by the names of `CHANNELS`."""
        return {name: getattr(self, name) for name in CHANNELS}


def seen_of(color: Picture, coverage: Picture, reference: Reference) -> Seen:
    """Renders [..., H, W, 3] with their coverage [..., H, W], beside their reference, as B pictures."""

    def rows(values: Picture, channels: int) -> Tensor:
        flat = np.ascontiguousarray(values, np.float32).reshape(-1, *coverage.shape[-2:], channels)
        return torch.from_numpy(flat).permute(0, 3, 1, 2).contiguous()

    return Seen(
        rows(color, 3), rows(coverage, 1), rows(reference.carried, 3), rows(reference.coverage, 1),
        rows(reference.still, 3), torch.from_numpy(np.asarray(reference.away_m, np.float32).reshape(-1)),
    )  # fmt: skip


def joined(several: Sequence[Seen]) -> Seen:
    """Pictures of one size, one after another."""
    return Seen(**{name: torch.cat([seen.maps()[name] for seen in several]) for name in CHANNELS})


class Repair(UNet):
    """From `Seen` to pictures. Untrained it mixes the three of them in fixed shares."""

    def __init__(self, config: RepairConfig) -> None:
        channels = sum(CHANNELS.values()) * _FINEST**2
        super().__init__(channels, 6 * _FINEST**2, config.widths, config.blocks)
        self.config = config
        self.shares = nn.Parameter(torch.tensor(_AT_FIRST))

    def forward(self, seen: Seen) -> Tensor:  # [B, 3, H, W]
        """Repaired pictures, about [0, 1]."""
        pictures = (seen.color, seen.carried, seen.still)
        # Night or day: the network sees contrasts.
        mean = seen.still.mean((1, 2, 3), keepdim=True)
        deviation = seen.still.std((1, 2, 3), keepdim=True).clamp(min=_LEAST_DEVIATION)
        color, carried, still = ((picture - mean) / deviation for picture in pictures)
        told = torch.cat([color, seen.coverage, carried, seen.carried_coverage, still], dim=1)
        made = F.pixel_shuffle(self.cells(F.pixel_unshuffle(told, _FINEST)), _FINEST)
        shares = (made[:, 3:] + self.shares[:, None, None]).softmax(1)
        mixed = torch.stack(pictures, 2) * shares[:, None]
        return mixed.sum(2) + deviation * made[:, :3]


@torch.no_grad()
def repaired(model: nn.Module, seen: Seen) -> Tensor:  # [B, 3, H, W] in [0, 1], on the CPU
    """What a `Repair` makes of pictures, wherever it is.

    While and where something was recorded a scene is at its best, and what it covers stays as it was rendered: all of
    it within `NEAR_M` of the recorded path, and less and less of it up to `FAR_M`.
    """
    device = next(model.parameters()).device
    made: Tensor = model(Seen(**{name: part.to(device) for name, part in seen.maps().items()}))
    made = made.float().clamp(0.0, 1.0).cpu()
    if seen.away_m is None:
        return made
    share = ((seen.away_m - NEAR_M) / (FAR_M - NEAR_M)).clamp(0.0, 1.0)[:, None, None, None]
    return torch.lerp(seen.color, made, torch.maximum(share, 1.0 - seen.coverage).expand_as(made))


def load_repair(path: Path, device: str = "cpu") -> Repair:
    """The network of a weights file, a shipped model's folder or a training run's folder, ready to be used.

    Raises:
        InputError: there are no weights, they are damaged, or they are another network's.
    """
    model = Repair(repair_config(path))
    load_weights(model, weights_file(path))
    return model.to(device).eval()


def repair_config(path: Path) -> RepairConfig:
    """The shape that weights tell; `path` and errors as of `load_repair`."""
    return RepairConfig.from_dict(*read_config(path, "a repair network", [KIND]))
