"""Which tokens of a scene other scenes' tokens cover, without depth maps: as near to them, as seen from their eyes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from jwmtool.artifacts.tokens import Tokens
from jwmtool.gaussians.model import Gaussians
from jwmtool.gaussians.rigid import shortest_axes
from jwmtool.worldrec.cover import ENOUGH, PATCH
from jwmtool.worldrec.gate import FINER, depth_tolerance

TRUST = 0.75  # share of the pictures that looked at a token, and one more, that must have confirmed it
_NEIGHBORS = 8
_SAME_COLOR = 0.2  # exposure differs from drive to drive
HALF, GONE = 1.18, 2.45  # standard deviations at which a normal curve is at half its height, and at a twentieth


def trusted(tokens: Tokens) -> Tensor:
    """[Q] bool: stands, was never seen through, and most that looked there confirmed it."""
    return tokens.free & (tokens.support >= TRUST * (tokens.asked + 1.0))


@dataclass(frozen=True)
class Surfaces:
    """Q tokens that may be held against others.

    Attributes:
        tokens: their positions in a common frame, their times from a common origin.
        normals: [Q, 3] of their surfaces, toward the eye; 0 for a token without Gaussians.
        mid_s, sigma_s: [Q] middle and standard deviation of the lives of their Gaussians.
    """

    tokens: Tokens
    normals: Tensor
    mid_s: Tensor
    sigma_s: Tensor

    @property
    def standing(self) -> Tensor:
        """Rows of tokens that stand."""
        return (~self.tokens.moving).nonzero()[:, 0]

    def rows(self, index: Tensor) -> Surfaces:
        """Some of them."""
        return Surfaces(self.tokens.rows(index), self.normals[index], self.mid_s[index], self.sigma_s[index])


def surfaces(gaussians: Gaussians, tokens: Tokens) -> Surfaces:
    """Tokens with what their Gaussians tell of them."""
    rows = (tokens.of_gaussian >= 0).nonzero()[:, 0]
    owner = tokens.of_gaussian[rows].long()
    shortest = shortest_axes(gaussians.quats[rows], gaussians.scales[rows])
    normals = torch.zeros_like(tokens.anchor).index_copy(0, owner, shortest)
    normals = normals * torch.sign((normals * (tokens.eye - tokens.anchor)).sum(1, keepdim=True))
    return Surfaces(tokens, normals, *life_spans(gaussians, tokens))


@torch.no_grad()
def life_spans(gaussians: Gaussians, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """[Q] middle and [Q] standard deviation of the lives of each token's Gaussians, seconds; means, in logs.

    A token without Gaussians never lives: 0 and 0.
    """
    rows = (tokens.of_gaussian >= 0).nonzero()[:, 0]
    owner = tokens.of_gaussian[rows].long()
    number = torch.bincount(owner, minlength=len(tokens))
    count = number.clamp(min=1)
    mid = torch.zeros_like(tokens.support).index_add(0, owner, gaussians.time_mid[rows]) / count
    log = torch.zeros_like(tokens.support).index_add(0, owner, gaussians.time_sigma[rows].log()) / count
    return mid, log.exp() * (number > 0)


def coarse(seen: Surfaces, lasting: Tensor) -> Tensor:
    """[Q] bool: of the lasting [Q] those whose patch finer lasting ones fill."""
    rows = (lasting & ~seen.tokens.moving).nonzero()[:, 0]
    found = torch.zeros_like(lasting)
    if len(rows):
        some = seen.rows(rows)
        a, b = _nearest(some, some)
        same, finer, off_px = _compare(some, a, some, b)
        found[rows] = _share(same & (finer > FINER), finer, off_px).sum(1) > ENOUGH
    return found


def _share(same: Tensor, finer: Tensor, off_px: Tensor) -> Tensor:
    """[S, K] of a patch that each of its nearest tokens fills.

    A token is spread over the patches about it; much finer ones crowd together, and the nearest stand for all of them.
    """
    return torch.exp(-2.0 * finer).clamp(1.0 / finer.shape[1], 1.0) * (1.0 - off_px / PATCH) * same


def covered(mine: Surfaces, others: Surfaces, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hold a scene's tokens against those of other scenes.

    Who has the finest token at a place speaks for it with all that it has there: a token goes if others have a finer
    one than its own scene, and fill its patch, at its time or with what is sure enough to have been there then.

    Args:
        before: [P] bool, others that win where nothing else tells two apart.

    Returns:
        (lost [Q] bool, [K] and [K]: pairs of one of mine that is lost and one of theirs that was not there at its time
        and has to be, to stand for it).
    """
    lost = torch.zeros(len(mine.tokens), dtype=torch.bool)
    if not len(mine.standing) or not len(others.standing):
        none = torch.zeros(0, dtype=torch.int64)
        return lost, none, none
    a, own = _nearest(mine, mine)
    same, finer, _ = _compare(mine, a, mine, own)
    same &= _there(mine, a, mine, own) | _may_stay(mine, a, mine, own)
    my_finer, best = _finest(same, finer, own)  # a token is the same as itself, so there is always one
    a, b = _nearest(mine, others)
    same, finer, off_px = _compare(mine, a, others, b)
    there = _there(mine, a, others, b)
    same &= there | _may_stay(mine, a, others, b)
    their_finer, theirs = _finest(same, finer, b)
    gain = their_finer - my_finer
    # Of two as fine the one seen later speaks, then the one confirmed more often.
    later = others.tokens.last_s[theirs] - mine.tokens.last_s[best]
    surer = others.tokens.support[theirs] - mine.tokens.support[best]
    first = (later > 0) | ((later == 0) & (surer > 0))
    first |= (later == 0) & (surer == 0) & ((gain > 0) | ((gain == 0) & before[theirs]))
    speak = same.any(1) & ((gain > FINER) | ((gain.abs() <= FINER) & first))
    share = _share(same, finer, off_px)
    lost[mine.standing] = speak & (share.sum(1) > ENOUGH)
    lacks = (share * there).sum(1, keepdim=True) <= ENOUGH
    pairs = same & ~there & lacks & lost[a]
    return lost, a[pairs], b[pairs]


def _there(mine: Surfaces, a: Tensor, others: Surfaces, b: Tensor) -> Tensor:
    """[S, K] pairs of which the other lives when mine does."""
    return (others.mid_s[b] - mine.mid_s[a]).abs() < HALF * others.sigma_s[b]


def _may_stay(mine: Surfaces, a: Tensor, others: Surfaces, b: Tensor) -> Tensor:
    """[S, K] pairs of which the other is surely there at all times, and good enough from where mine was seen."""
    eyes_m = (mine.tokens.eye[a] - others.tokens.eye[b]).norm(dim=-1)
    return trusted(others.tokens)[b] & (eyes_m < others.tokens.way_m[b])


def _finest(same: Tensor, finer: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """[S] how much finer (log) the finest of the same surface is, and which."""
    best, column = torch.where(same, finer, -torch.inf).max(1)
    return best, rows.gather(1, column[:, None])[:, 0]


def _nearest(mine: Surfaces, others: Surfaces) -> tuple[Tensor, Tensor]:
    """For each standing token its nearest others: (rows [S, K] of mine, of others)."""
    standing, theirs = mine.standing, others.standing
    count = min(_NEIGHBORS, len(theirs))
    tree = cKDTree(others.tokens.anchor[theirs].numpy())
    found = tree.query(mine.tokens.anchor[standing].numpy(), k=count)[1].reshape(-1, count)
    return standing[:, None].expand(-1, count), theirs[torch.from_numpy(found)]


def _compare(mine: Surfaces, a: Tensor, others: Surfaces, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of pairs of tokens: the same surface, within a patch; how much finer (log) the other's is; px apart in mine."""
    one, two = mine.tokens, others.tokens
    finer = torch.log(one.footprint_m[a] / two.footprint_m[b])
    ray, there = one.anchor[a] - one.eye[a], two.anchor[b] - one.eye[a]
    along = (ray * there).sum(-1)
    off_px = one.focal[a] * torch.linalg.cross(ray, there).norm(dim=-1) / along.clamp(min=1e-6)
    depth = torch.log(there.norm(dim=-1) / ray.norm(dim=-1))
    same = (along > 0) & (off_px < PATCH) & (depth.abs() < depth_tolerance(finer))
    same &= (mine.normals[a] * others.normals[b]).sum(-1) >= 0.0  # not the other side of a wall
    # Neither was seen through when the other was seen.
    same &= (one.last_s[a] < two.until_s[b]) & (one.first_s[a] > two.since_s[b])
    same &= (two.last_s[b] < one.until_s[a]) & (two.first_s[b] > one.since_s[a])
    same &= (one.color[a] - two.color[b]).abs().mean(-1) < _SAME_COLOR
    return same, finer, off_px
