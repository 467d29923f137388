"""Sizes of WorldRec. `mini` ships and runs on a laptop; `base` and `full` differ from it by numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool.artifacts.config_values import from_values, to_values
from jwmtool.errors import UsageError

METHODS = ("sparse", "pixel")
QUERIES = ("finest", "random")


@dataclass(frozen=True)
class WorldRecConfig:
    """What decides the network's shape; saved with its weights.

    Attributes:
        method: `sparse` scene queries, or `pixel`: a Gaussian for each pixel, the design of its rivals.
        widths: channels of the encoder at strides 2, 4, 8, 16; blocks: residual blocks at each.
        planes: inverse-depth planes of the sweep, from infinity to `nearest_m`.
        neighbors: views that each view is matched with; fine_neighbors: the best of them, near the right depth.
        match_channels, match_groups: of the learned matching features.
        channels: of a scene query; layers: of aggregation; gather_views: views that a query looks into.
        detail: mean difference in sRGB that a patch may lose to a coarser lattice: eight Gaussians, four or one.
        queries: `finest`: of every surface the patches of the view that sees it finest; `random`: as many patches drawn
            at random from all (an ablation).
        pixel_step: of method pixel: a Gaussian for every pixel_step x pixel_step px.
        visibility: weigh views by what they see; False takes their plain mean (an ablation).
        motion: velocities; False keeps everything in place (an ablation).
        sky_size: px of a face of the sky's cubemap.
        pixels: pictures are shrunk to about so many before they enter.
    """

    method: str = "sparse"
    widths: tuple[int, ...] = (24, 48, 96, 128)
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    planes: int = 40
    nearest_m: float = 2.5
    neighbors: int = 3
    fine_neighbors: int = 2
    match_channels: int = 16
    match_groups: int = 4
    channels: int = 64
    layers: int = 2
    gather_views: int = 12
    detail: float = 0.015
    queries: str = "finest"
    pixel_step: int = 1
    visibility: bool = True
    motion: bool = True
    sky_size: int = 128
    pixels: int = 64_000

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"WorldRec: expected method {' or '.join(METHODS)}, found {self.method!r}")
        if self.queries not in QUERIES:
            raise UsageError(f"WorldRec: expected queries {' or '.join(QUERIES)}, found {self.queries!r}")
        if self.pixel_step not in (1, 2):
            raise UsageError(f"WorldRec: expected pixel_step 1 or 2, found {self.pixel_step}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return to_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | Path = "WorldRec's config") -> WorldRecConfig:
        """From JSON values; errors as `from_values`."""
        return from_values(cls, values, where)


CONFIGS = {
    "mini": WorldRecConfig(),
    "base": WorldRecConfig(
        widths=(48, 96, 192, 256), blocks=(2, 3, 4, 4), planes=64, neighbors=4, fine_neighbors=3, match_channels=32,
        channels=192, layers=4, gather_views=16, sky_size=256, pixels=200_000,
    ),
    "full": WorldRecConfig(
        widths=(96, 192, 384, 768), blocks=(3, 4, 9, 9), planes=96, neighbors=6, fine_neighbors=4, match_channels=64,
        match_groups=8, channels=512, layers=4, gather_views=24, sky_size=512, pixels=600_000,
    ),
}  # fmt: skip
