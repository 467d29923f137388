"""Motion: a sweep over velocities, as the plane sweep is over depths, for queries that no other time confirms.

Most queries are seen in place by views of other times: they stand. Each of the others is moved along every velocity of
a fixed set (the motion bases: along the ego's heading and across it) to the times of the nearest views of its camera;
how well it matches there, in texture, learned features and depth, decides, with what the query itself looks like.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.imaging.residual import zero
from jwmtool.worldrec.features import TEXTURE
from jwmtool.worldrec.queries import Queries
from jwmtool.worldrec.reconstruction import Motion
from jwmtool.worldrec.sampling import sample
from jwmtool.worldrec.surfels import Pixels, lift
from jwmtool.worldrec.views import Views

ALONG_MPS = tuple(float(v) for v in range(-24, 37))
ACROSS_MPS = tuple(float(v) for v in range(-12, 13) if v)
_STANDS = 3.0  # logit of standing still, before training
_TRUST = 6.0  # of a perfect match
_OTHERS = 2  # views moved to
_NEAREST_M = 0.3
_SAME_DEPTH = 0.15  # log depth
AT_ONCE = 4000  # queries that are swept together
_IN_TRAINING = 1000  # that are swept of a window


class MotionSweep(nn.Module):
    """Score velocities of queries."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        bases = [(v, 0.0, 0.0) for v in ALONG_MPS] + [(0.0, v, 0.0) for v in ACROSS_MPS]
        self.tried: Tensor
        self.register_buffer("tried", torch.tensor(bases), persistent=False)
        self.stands = [bases.index((0.0, 0.0, 0.0))]
        self.judge = nn.Sequential(nn.Linear(2 * (groups + 3) + 2, 32), nn.ReLU(), nn.Linear(32, 1))
        self.guess = nn.Linear(channels, len(bases))
        zero(self.judge[2])
        zero(self.guess)

    def forward(self, views: Views, matching: Tensor, inverse: Tensor, queries: Queries, x: Tensor) -> Motion:
        """Sweep the queries that need it.

        Args:
            matching: [V, G * c + TEXTURE, H/4, W/4] matching features; inverse: [V, H, W] coarse inverse depth. Other
                losses train both, no gradient flows back here.
            x: [Q, C] query features.
        """
        # In the order in which places are read, once for all.
        matching, inverse = matching.detach().contiguous(memory_format=torch.channels_last), inverse.detach()
        rows = unsettled(queries).nonzero()[:, 0]
        if self.training:
            rows = rows[:: 1 + len(rows) // _IN_TRAINING]
        # A few at a time: what is looked up for all velocities of all would not fit a processor's cache.
        logits = torch.cat([
            self._score(views, matching, inverse, queries, x, some) for some in rows.split(AT_ONCE)
        ])  # fmt: skip
        return Motion(rows, self._velocity(logits), logits, self.tried)

    def _score(
        self, views: Views, matching: Tensor, inverse: Tensor, queries: Queries, x: Tensor, rows: Tensor
    ) -> Tensor:
        """Logits [R, H] of all velocities for some of the queries."""
        others, valid = nearest_in_time(views)
        pixels = queries.pixels
        view, xy = pixels.view[rows], pixels.xy[rows]
        points = lift(views, Pixels(view, xy), queries.inverse.detach()[rows])
        own = sample(matching, view, xy, 4)
        maps = views.Ks @ torch.linalg.inv(views.scene_from_cam)[:, :3]
        told = []
        fixed, matched = points.new_zeros(len(rows), len(self.tried)), points.new_zeros(len(rows), 1)
        for k in range(_OTHERS):
            other = others[view, k]
            apart = views.times_s[other] - views.times_s[view]
            moved = points[:, None] + self.tried * apart[:, None, None]
            look = look_torch
            if not points.is_cuda:
                from jwmtool.worldrec.motion_cpu import look_cpu

                look = look_cpu
            facts = look(matching, self.groups, inverse, own, moved, other, maps, _NEAREST_M, _SAME_DEPTH)
            facts = facts * valid[view, k, None, None]
            told.append(facts)
            texture, agree, inside = facts[..., -3:].unbind(-1)
            # Where standing still could not be seen, other velocities would win by default.
            fair = inside[:, self.stands]
            fixed = fixed + texture * agree * fair
            matched = matched + fair
        speed = self.tried.norm(dim=1)
        common = torch.stack([speed / 10.0, (speed == 0).float()], -1).expand(len(rows), -1, -1)
        logits = self.judge(torch.cat([*told, common], -1))[..., 0] + self.guess(x[rows])
        return logits + _TRUST * fixed / matched.clamp(min=1.0) + _STANDS * (speed == 0)

    def _velocity(self, logits: Tensor) -> Tensor:
        """The mean of the velocities within 1.5 m/s of the best."""
        best = self.tried[logits.detach().argmax(1)]
        near = (self.tried[None] - best[:, None]).norm(dim=-1) < 1.6
        result: Tensor = logits.masked_fill(~near, -torch.inf).softmax(1) @ self.tried
        return result


def look_torch(
    features: Tensor,  # [V, C, h, w]: groups, then the fixed descriptor
    groups: int,
    inverse: Tensor,  # [V, H, W]
    own: Tensor,  # [M, C]
    points: Tensor,  # [M, H, 3] where places would be at the time of the other view
    other: Tensor,  # [M] that view
    maps: Tensor,  # [V, 3, 4] from points to homogeneous px
    nearest_m: float,
    tolerance: float,
) -> Tensor:
    """What a view says of places that have moved, [M, H, groups + 3]; all 0 where one falls outside.

    Correlation of each group and of the descriptor; how well the depth there agrees, 1 at best; and 1.
    """
    height, width = inverse.shape[1:]
    at = (maps[other][:, None, :, :3] @ points[..., None])[..., 0] + maps[other][:, None, :, 3]
    depth = at[..., 2]
    xy = at[..., :2] / depth.clamp(min=nearest_m)[..., None]
    inside = (depth > nearest_m) & (xy > 0).all(-1) & (xy[..., 0] < width) & (xy[..., 1] < height)
    xy = torch.where(inside[..., None], xy, torch.zeros_like(xy))
    there = other[:, None].expand(inside.shape)
    product = sample(features, there, xy, height // features.shape[2]) * own[:, None]
    learned = product[..., :-TEXTURE].unflatten(-1, (groups, -1)).sum(-1)
    texture = product[..., -TEXTURE:].sum(-1)
    seen = sample(inverse[:, None], there, xy)[..., 0].clamp(min=1e-3)
    agree = torch.exp(-((torch.log(depth.clamp(min=nearest_m) * seen) / tolerance) ** 2))
    return torch.cat([learned, torch.stack([texture, agree, torch.ones_like(agree)], -1)], -1) * inside[..., None]


def unsettled(queries: Queries) -> Tensor:
    """[Q] bool: no view of another time shows the same surface in place."""
    evidence = queries.evidence
    return ~(evidence.same & (evidence.apart_s.abs() > 1e-3)).any(1)


def nearest_in_time(views: Views) -> tuple[Tensor, Tensor]:
    """The next view of the same camera after and before each: (index [V, 2], valid [V, 2])."""
    apart = views.times_s[None] - views.times_s[:, None]
    same = views.cameras[None] == views.cameras[:, None]
    index, valid = [], []
    for sign in (1.0, -1.0):
        gap = torch.where(same & (sign * apart > 1e-3), sign * apart, torch.inf)
        nearest_s, chosen = gap.min(1)
        index.append(chosen)
        valid.append(torch.isfinite(nearest_s))
    return torch.stack(index, 1), torch.stack(valid, 1)
