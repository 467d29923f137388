"""Visibility-aware aggregation: every query looks into the views that may see it and believes those that do.

How much a view counts is learned from what it says about the query (see evidence.py), from the query and from the
feature found there; a null slot takes what no view deserves. Then queries talk to their neighbors in space, and each
may move a bounded step along its ray.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.imaging.residual import zero
from jwmtool.worldrec.evidence import Evidence, gather_evidence
from jwmtool.worldrec.queries import Queries
from jwmtool.worldrec.sampling import pooled, sample
from jwmtool.worldrec.surfels import lift
from jwmtool.worldrec.views import Views

GEOMETRY = 9  # numbers that `geometry` tells of a query and a view
STEP = 0.05  # the farthest that a layer moves a query, share of its depth
WINDOW = 64  # queries that talk to each other
HEADS = 4
NULL = 0.0
QUERIES_AT_ONCE = 16_384


class Aggregation(nn.Module):
    """Layers of looking into views and at neighbors."""

    def __init__(self, features: int, channels: int, layers: int, *, visibility: bool = True) -> None:
        super().__init__()
        self.visibility = visibility
        self.embed = nn.Linear(features, channels)
        self.layers = nn.ModuleList(Layer(features, channels) for _ in range(layers))

    def forward(
        self, views: Views, features: Tensor, inverse: Tensor, queries: Queries
    ) -> tuple[Tensor, Queries, Tensor]:
        """Gather for every query.

        Args:
            features: [V, F, H/4, W/4].
            inverse: [V, H, W] coarse inverse depth.

        Returns:
            (query features [Q, C], the queries moved, weights [Q, N] of the views in the last layer).
        """
        x = self.embed(sample(features, queries.pixels.view, queries.pixels.xy, 4))
        weights = x.new_zeros(0)
        for k, layer in enumerate(self.layers):
            x, step, weights = layer(views, features, queries, x, self.visibility)
            moved = queries.inverse * torch.exp(-step)
            evidence = queries.evidence
            if k + 1 < len(self.layers):
                evidence = gather_evidence(views, inverse, queries.pixels, moved.detach(), evidence.view)
            queries = replace(queries, inverse=moved, evidence=evidence)
        return x, queries, weights


class Layer(nn.Module):
    """Look into the views, talk to neighbors, think, step."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.ask, self.key = nn.Linear(channels, 16), nn.Linear(features, 16)
        self.value = nn.Linear(features, channels)
        self.told = nn.Linear(GEOMETRY, channels)
        self.judge = nn.Sequential(nn.Linear(GEOMETRY + 16, 32), nn.ReLU(), nn.Linear(32, 1))
        self.merge = nn.Linear(channels, channels)
        self.near = NeighborAttention(channels)
        self.norm = nn.LayerNorm(channels)
        self.think = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))
        self.step = nn.Linear(channels, 2)
        for layer in (self.judge[2], self.think[2], self.step):
            zero(layer)

    def forward(
        self, views: Views, features: Tensor, queries: Queries, x: Tensor, visibility: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (x [Q, C], step of the log depth [Q], weights [Q, N])."""
        # Keys of whole maps are fewer than those of places, and lie as well between cells.
        keys = self.key(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        asked = self.ask(x)
        # A few at a time: what all views say to all queries would not fit a processor's cache.
        parts = [
            self._look(views, features, keys, queries.evidence.select(rows), asked[rows], visibility)
            for rows in (slice(k, k + QUERIES_AT_ONCE) for k in range(0, max(1, len(x)), QUERIES_AT_ONCE))
        ]
        gathered, said, share = (torch.cat(part) for part in zip(*parts, strict=True))
        x = x + self.merge(functional.relu(gathered))
        x = x + self.near(x, lift(views, queries.pixels, queries.inverse.detach()))
        x = x + self.think(self.norm(x))
        turn, trust = self.step(x).unbind(1)
        return x, STEP * torch.tanh(turn) + torch.sigmoid(trust - 1.0) * said, share

    def _look(
        self, views: Views, features: Tensor, keys: Tensor, evidence: Evidence, asked: Tensor, visibility: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What views say to some of the queries [M, C]; about their log depth [M]; and how much each counts [M, N]."""
        facts = geometry(views, evidence)
        match = sample(keys, evidence.view, evidence.xy, 4) * asked[:, None]
        logits = self.judge(torch.cat([facts, match], -1))[..., 0] + belief(evidence)
        if not visibility:
            logits = torch.zeros_like(logits)
        logits = logits.masked_fill(~evidence.inside, -1e4)
        share = torch.cat([logits, torch.full_like(logits[:, :1], NULL)], 1).softmax(1)[:, :-1]
        found = self.value(pooled(features, evidence.view, evidence.xy, share, 4))
        told = self.told((share[:, None] @ facts)[:, 0])
        # What the views that see it say about its depth, as far as they are believed.
        said = (share * -evidence.residual.clamp(-STEP, STEP)).sum(1)
        return found + told, said, share


def belief(evidence: Evidence) -> Tensor:
    """[Q, N] logits before any training: a view that shows the same surface counts, the finer the more."""
    off = (evidence.error_px.clamp(max=6.0) / 1.5).square() + (evidence.residual.clamp(-0.5, 0.5) / 0.1).square()
    return 2.0 - off.clamp(max=30.0) + 0.5 * evidence.finer.clamp(-1.0, 1.0)


def geometry(views: Views, evidence: Evidence) -> Tensor:
    """[Q, N, GEOMETRY] what is known of a query in a view, in numbers of about one."""
    span = (views.times_s.max() - views.times_s.min()).clamp(min=0.1)
    height, width = views.size
    x, y = evidence.xy[..., 0] / width, evidence.xy[..., 1] / height
    border = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y)).clamp(0.0, 0.1) * 10.0
    residual = evidence.residual.clamp(-1.0, 1.0)
    facts = [
        4.0 * residual, 4.0 * residual.abs(), evidence.error_px.clamp(max=8.0) / 4.0, evidence.finer.clamp(-2.0, 2.0),
        evidence.apart_s / span, (evidence.apart_s / span).abs(), evidence.same.float(), evidence.through.float(),
        border,
    ]  # fmt: skip
    return torch.stack(facts, -1) * evidence.inside[..., None]


class NeighborAttention(nn.Module):
    """Self-attention among queries that are near each other: windows along the Morton curve of their directions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        zero(self.out)

    def forward(self, x: Tensor, points: Tensor) -> Tensor:
        """Queries [Q, C] at points [Q, 3] in, [Q, C] out."""
        order = morton_order(points)
        count = len(x)
        padding = -count % WINDOW
        index = torch.cat([order, order[:1].expand(padding)]) if padding else order
        windows, channels = len(index) // WINDOW, x.shape[1]
        qkv = self.qkv(self.norm(x))[index].reshape(windows, WINDOW, 3, HEADS, channels // HEADS)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # [windows, heads, WINDOW, C / heads]
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(index), channels)
        back = torch.empty_like(x).index_copy(0, order, mixed[:count])
        result: Tensor = self.out(back)
        return result


def morton_order(points: Tensor) -> Tensor:
    """[Q] order along a Morton curve in a space that shrinks with distance (cells are finer near the origin)."""
    if not len(points):
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    with torch.no_grad():
        distance = points.norm(dim=1, keepdim=True).clamp(min=1e-3)
        squeezed = points / distance * torch.log1p(distance / 4.0)
        low, high = squeezed.min(0).values, squeezed.max(0).values
        cells = ((squeezed - low) / (high - low).max().clamp(min=1e-6) * 1023.0).long()
        code = torch.zeros_like(cells[:, 0])
        for bit in range(10):
            for axis in range(3):
                code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
        return code.argsort(stable=True)
