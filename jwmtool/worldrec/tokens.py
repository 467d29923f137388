"""Tokens of a window: what the queries of its own views leave behind for fusion."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from jwmtool.artifacts.tokens import NEVER_S, Tokens
from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.harmonics import C0
from jwmtool.worldrec.cover import PATCH
from jwmtool.worldrec.evidence import SAME_COLOR, SAME_DEPTH, Evidence
from jwmtool.worldrec.holding import hold, unlikeness
from jwmtool.worldrec.life import DRIFT_PX, LONG, around, gaps, sights
from jwmtool.worldrec.reconstruction import DepthMaps, Reconstruction
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels, lift
from jwmtool.worldrec.views import Views

MOVES_MPS = 0.5  # slower is standing
APART = 0.15  # log distance from the query's own surface: another one
UNLIKE = 0.15  # mean difference of color, sRGB: another one


def window_tokens(
    views: Views, reconstruction: Reconstruction, own: Tensor
) -> tuple[Gaussians, Tokens, Tensor, Tensor]:
    """The Gaussians of queries from some of the views, their tokens, and the tokens' places.

    A query on an edge has Gaussians on two or three surfaces: each surface becomes a token.

    Args:
        own: [V] bool, the views whose queries are wanted.

    Returns:
        (Gaussians, tokens, cell [Q] int64: the patch of a view that each token lies in, as `patch_index` counts; main
        [Q] int64: the token of the query itself). Those come before those of other surfaces.

    Raises:
        ValueError: the reconstruction has no queries.
    """
    queries, owner = reconstruction.queries, reconstruction.owner
    if queries is None or owner is None:
        raise ValueError("window_tokens: expected a reconstruction by sparse queries, found none")
    pixels, evidence, gaussians = queries.pixels, queries.evidence, reconstruction.gaussians
    with torch.no_grad():
        time_s = views.times_s[pixels.view]
        first, last = sights(evidence.same, evidence, time_s)
        since, until = contradicted(evidence, time_s)
        velocity = time_s.new_zeros(len(queries), 3).index_copy(0, owner, gaussians.velocity)
        tokens = Tokens(
            anchor=lift(views, pixels, queries.inverse),
            eye=views.scene_from_cam[pixels.view][:, :3, 3],
            focal=views.Ks[pixels.view, 0, 0],
            footprint_m=1.0 / (queries.inverse * views.Ks[pixels.view, 0, 0]),
            way_m=way_m(views, reconstruction.depth, pixels, queries.inverse),
            color=nearest(avg_pool2d(views.images, 2), pixels.view, pixels.xy, 2),
            support=(evidence.same & elsewhen(evidence)).sum(1).float(),
            asked=(evidence.inside & (evidence.residual < SAME_DEPTH) & elsewhen(evidence)).sum(1).float(),
            first_s=first,
            last_s=last,
            since_s=since,
            until_s=until,
            moving=velocity.norm(dim=1) > MOVES_MPS,
            of_gaussian=owner.to(torch.int32),
        )
        place = patch_index(views, pixels.view, pixels.xy)
        mine, stays = tokens.select(own[pixels.view])
        wanted = own[pixels.view]
        time_s, place, view = time_s[wanted], place[wanted], pixels.view[wanted]
    gaussians = gaussians.select(stays)
    with torch.no_grad():
        edges, query = other_surfaces(gaussians, mine)
        edges = held_in_window(edges, views, reconstruction.depth, time_s[query])
        life = edge_life(edges, time_s[query], gaps(views)[view[query]])
        everything = torch.arange(len(mine), device=place.device)
        whole = replace(Tokens.concat([mine.rows(everything), edges]), of_gaussian=edges.of_gaussian)
        life = torch.cat([torch.full_like(time_s, torch.inf), life])[whole.of_gaussian.long()]
    moves = whole.moving[whole.of_gaussian.long()]
    gaussians = gaussians.replace(
        time_sigma=torch.minimum(gaussians.time_sigma, life), velocity=gaussians.velocity * moves[:, None]
    )
    return gaussians, whole, torch.cat([place, place[query]]), torch.cat([everything, query])


def other_surfaces(gaussians: Gaussians, tokens: Tokens) -> tuple[Tokens, Tensor]:
    """Tokens of Gaussians that lie before or behind their own token's surface, or on it in quite another color.

    What a view confirms of a token is its middle: the rest of its patch may show the edge of what drives by.

    Returns:
        (their tokens, `of_gaussian` counting the given ones first; which of those each came from).
    """
    owner = tokens.of_gaussian.long()
    eye, anchor = tokens.eye[owner], tokens.anchor[owner]
    far = (gaussians.means - eye).norm(dim=1) / (anchor - eye).norm(dim=1)
    color = 0.5 + C0 * gaussians.sh[:, 0]
    unlike = (color - tokens.color[owner]).abs().mean(1) > UNLIKE
    side = torch.where(far.log() > APART, 1, torch.where(far.log() < -APART, 2, 3 * unlike.long()))
    rows = (side != 0).nonzero()[:, 0]
    keys, group = torch.unique(owner[rows] * 4 + side[rows], return_inverse=True)
    query = keys // 4
    count = torch.bincount(group, minlength=len(keys)).float()

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(len(keys), *values.shape[1:]).index_add(0, group, values[rows]) / count[:, None]

    anchor = mean(gaussians.means)
    of_gaussian = tokens.of_gaussian.clone()
    of_gaussian[rows] = (len(tokens) + group).to(torch.int32)
    own = tokens.rows(query)
    scale = (anchor - own.eye).norm(dim=1) / (own.anchor - own.eye).norm(dim=1)
    found = replace(
        own,
        anchor=anchor,
        color=mean(color),
        footprint_m=own.footprint_m * scale,
        way_m=own.way_m * scale,
        of_gaussian=of_gaussian,
    )
    return found, query


def held_in_window(tokens: Tokens, views: Views, depth: DepthMaps, time_s: Tensor) -> Tokens:
    """Tokens with what the views of their own window say of them.

    Args:
        time_s: [Q] of the view that each is from.
    """
    held = hold(tokens, views, depth)
    elsewhen = (held.time_s - time_s[held.token]).abs() > 1e-3
    like = unlikeness(tokens, views, held.token, held.view, held.xy) < SAME_COLOR
    same = (held.error < 1.0) & (held.residual.abs() < SAME_DEPTH) & like & elsewhen
    through = held.through & elsewhen
    support = torch.zeros_like(time_s).index_add(0, held.token, same.float())
    believed = through & (torch.zeros_like(time_s).index_add(0, held.token, through.float()) > support)[held.token]
    before, after = (believed & (held.time_s < time_s[held.token])), (believed & (held.time_s > time_s[held.token]))
    return replace(
        tokens,
        support=support,
        asked=torch.zeros_like(time_s).index_add(0, held.token, (held.asked & elsewhen).float()),
        first_s=time_s.scatter_reduce(0, held.token[same], held.time_s[same], "amin"),
        last_s=time_s.scatter_reduce(0, held.token[same], held.time_s[same], "amax"),
        since_s=torch.full_like(time_s, -NEVER_S).scatter_reduce(0, held.token[before], held.time_s[before], "amax"),
        until_s=torch.full_like(time_s, NEVER_S).scatter_reduce(0, held.token[after], held.time_s[after], "amin"),
    )


def edge_life(tokens: Tokens, time_s: Tensor, gap_s: Tensor) -> Tensor:
    """[Q] seconds, the longest life of what another surface's Gaussians were decoded with; the decoder's own rule."""
    confirmed_s = torch.maximum(tokens.last_s - time_s, time_s - tokens.first_s)
    against_s = torch.minimum(tokens.until_s - time_s, time_s - tokens.since_s)
    return torch.maximum(torch.minimum(LONG * confirmed_s, 0.5 * against_s), 0.6 * gap_s)


def way_m(views: Views, depth: DepthMaps, pixels: Pixels, inverse: Tensor) -> Tensor:
    """[Q] metres that an eye may move aside until the likely error of points' depths shows; `lifetime`'s measure."""
    error = nearest(depth.log_error[:, None], pixels.view, pixels.xy)[:, 0].clamp(-5.0, 1.0).exp()
    return DRIFT_PX / (error * views.Ks[pixels.view, 0, 0] * inverse)


def patch_index(views: Views, view: Tensor, xy: Tensor) -> Tensor:
    """[...] int64, which patch of which view a place (px) lies in, counted over all views row by row."""
    rows, columns = views.size[0] // PATCH, views.size[1] // PATCH
    column = (xy[..., 0] / PATCH).long().clamp(0, columns - 1)
    row = (xy[..., 1] / PATCH).long().clamp(0, rows - 1)
    return (view * rows + row) * columns + column


def elsewhen(evidence: Evidence) -> Tensor:
    """[Q, N] the other view is of another time."""
    return evidence.apart_s.abs() > 1e-3


def contradicted(evidence: Evidence, time_s: Tensor) -> tuple[Tensor, Tensor]:
    """[Q] the last time before and the first after at which views see through the point; NEVER_S where none does.

    Where more views confirm a point than see through it, those are believed. One from the same place that shows
    something else always is.
    """
    through = evidence.through & elsewhen(evidence)
    believed = through.sum(1) > (evidence.same & elsewhen(evidence)).sum(1)
    return around((through & believed[:, None]) | evidence.changed, evidence, time_s, NEVER_S)
