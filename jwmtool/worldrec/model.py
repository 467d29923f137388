"""WorldRec: views in, a Gaussian scene out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from jwmtool.gaussians.model import Gaussians
from jwmtool.worldrec.aggregation import Aggregation
from jwmtool.worldrec.coarse_depth import CoarseDepth
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.decoder import Decoder
from jwmtool.worldrec.exposure import ExposureHead
from jwmtool.worldrec.features import Encoder
from jwmtool.worldrec.gate import Gate
from jwmtool.worldrec.motion import MotionSweep
from jwmtool.worldrec.pixel import PixelHead
from jwmtool.worldrec.queries import lifted_queries
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.sky import paint_sky
from jwmtool.worldrec.views import Views


class WorldRec(nn.Module):
    """The network; `config.method` decides who makes Gaussians of depth: sparse queries, or a head for each pixel."""

    def __init__(self, config: WorldRecConfig) -> None:
        super().__init__()
        self.config = config
        half, quarter = config.widths[:2]
        self.encoder = Encoder(config.widths, config.blocks)
        self.depth = CoarseDepth(config)
        self.exposure = ExposureHead(config.widths[-1])
        if config.method == "sparse":
            self.aggregation = Aggregation(quarter, config.channels, config.layers, visibility=config.visibility)
            self.decoder = Decoder(config.channels, half, config.detail)
            if config.motion:
                self.motion = MotionSweep(config.channels, config.match_groups)
            self.gate = Gate()  # fusion.py asks it, from window to window
        else:
            self.pixel = PixelHead(half, config.pixel_step, motion=config.motion)

    def forward(self, views: Views, depth_only: bool = False) -> Reconstruction:
        """Reconstruct one window of views; with `depth_only` its depth and sky, and no Gaussians."""
        pyramid = self.encoder(views)
        depth = self.depth(views, pyramid)
        sky = paint_sky(views, depth, self.config.sky_size)
        bare = Reconstruction(Gaussians.empty(), sky, self.exposure(views.images, pyramid[-1]), depth)
        if depth_only:
            return bare
        if self.config.method == "pixel":
            return replace(bare, gaussians=self.pixel(views, pyramid[0], depth))
        queries = lifted_queries(views, depth, self.config.gather_views, random=self.config.queries == "random")
        x, moved, _ = self.aggregation(views, pyramid[1], depth.inverse, queries)
        velocity, motion = torch.zeros(len(queries), 3, device=x.device), None
        if self.config.motion:
            motion = self.motion(views, self.depth.matching(views, pyramid[1]), depth.inverse, moved, x)
            velocity = velocity.index_put((motion.rows,), motion.velocity)
        gaussians, owner = self.decoder(views, pyramid[0], depth, moved, queries.inverse, x, velocity)
        return replace(bare, gaussians=gaussians, pixels=queries.pixels, owner=owner, motion=motion, queries=moved)


def build_model(config: WorldRecConfig) -> WorldRec:
    """A WorldRec with its first weights."""
    return WorldRec(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
