"""Fusion of windows: what was observed well is never overwritten by what was seen worse.

Inside a window a patch is left out where patches that are kept show its surface as finely (cover.py). From window to
window the same holds, both ways: first new patches go that the scene's tokens cover, then tokens of the window before
that the new patches cover. Who is over covers nothing, what moves is never merged by position, and where new views see
through a token its life ends before. What is new is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from jwmtool.artifacts.tokens import NEVER_S
from jwmtool.worldrec.cover import ENOUGH, PATCH, spread
from jwmtool.worldrec.gate import Facts, Gate, depth_tolerance
from jwmtool.worldrec.holding import HIDDEN, Held, hold, unlikeness
from jwmtool.worldrec.lasting import ended, kept_alive
from jwmtool.worldrec.memory import Memory, plain, remembered
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.reconstruction import DepthMaps, Reconstruction
from jwmtool.worldrec.retell import for_gaussians
from jwmtool.worldrec.scene_cover import life_spans
from jwmtool.worldrec.standstill import standstill, stood_s
from jwmtool.worldrec.state import State
from jwmtool.worldrec.tokens import window_tokens
from jwmtool.worldrec.views import Views

_ALIVE = 1.8  # standard deviations of its life within which a token shows
_CLOSE = 4.0  # tolerances: pairs farther off are not put before the gate
_GONE = 0.02  # presence below which a token is dropped in training
_CHANGED = 0.2  # mean difference in sRGB
_FLOATER = 2  # views that must see through a token that nobody confirmed, for it to be dropped


def fuse_window(
    state: State,
    reconstruction: Reconstruction,
    views: Views,
    gate: Gate,
    *,
    own: Tensor | None = None,
    soft: bool = False,
    known: Tensor | None = None,
) -> State:
    """Add a window to the state.

    Args:
        state: in the frame of the views.
        reconstruction: of the views, by sparse queries.
        gate: decides who speaks for a place.
        own: [V] bool, views whose patches are added; the others only bear witness. None: all.
        soft: for training: who loses fades by the gate's probability instead of going, and the graph is kept.
        known: [V * H/4 * W/4] bool, patches that earlier drives show already: nothing is added of what stands there.
    """
    if own is None:
        own = torch.ones(len(views), dtype=torch.bool, device=views.images.device)
    gaussians, tokens, cells, main = window_tokens(views, reconstruction, own)
    times_s = views.times_s
    memory = Memory(views, plain(reconstruction.depth))
    new = replace(
        State.of(gaussians, tokens),
        cell=torch.where(tokens.moving, -1, cells),
        patch=main + 1 + int(state.patch.max()) if len(state.patch) else main,
        from_s=float(times_s.min()),
        until_s=float(times_s.max()),
        memory=memory,
    )
    still = None
    if state.memory is not None and not soft:
        still = standstill(state.gaussians, state.memory, reconstruction, views)
    if still is not None:
        known = still.shown if known is None else known | still.shown
    if known is not None:
        new = new.select(~known[cells] | new.tokens.moving)
    if not len(state.tokens):
        return State.concat([state, new])
    before = state.memory
    with torch.set_grad_enabled(soft and torch.is_grad_enabled()):
        held = hold(state.tokens, views, memory.depth)
        same, changed, covers, covered = judge(state, held, views, gate, soft)
        if still is not None:
            # Rendering decides: who is shown rightly is not asked, and who is not covers nothing.
            right, stands = still.right(held, views), still.then_s.isfinite()
            state = still.kept(state, held.select(right), views)
            held, same, changed, covers = held.select(~right), same[~right], changed[~right], covers[~right]
            changed |= still.changed(state.tokens, held, views)
            same &= ~changed
            covers &= ~stands[held.view]
            covered = _bare(covered, stands)
        new = _without(new, covered, soft)
        fresh = (times_s > state.until_s + 1e-3) | (times_s < state.from_s - 1e-3)
        old = witnessed(_kept_alive(state, held, covers, views), held, same, changed, fresh)
        floats = floating(old, held, fresh)
        if before is not None:
            back = hold(new.tokens, before.views, before.depth)
            same, changed, covers, covered = judge(new, back, before.views, gate, soft)
            if still is not None:
                changed |= still.changed_since(new.tokens, new.cell, back, before.views)
                same &= ~changed
                covers &= ~changed
                covered = _bare(covered, stood_s(views, before.views).isfinite())
            old = _without(old, covered, soft)
            fresh = (before.views.times_s[:, None] - times_s).abs().amin(1) > 1e-3
            new = witnessed(_kept_alive(new, back, covers, before.views), back, same, changed, fresh)
            if state.earlier is not None:
                new = _asked_before(new, state.earlier, gate)
            # Who speaks for what is gone stays: who might take over from it need not know of that.
            heirs = torch.zeros_like(new.cell).index_add(0, back.token, covers.long()) > 0
            new = replace(new, cell=torch.where(heirs, -1, new.cell))
    old = replace(
        old,
        unseen=torch.where(held.inside, torch.zeros_like(old.unseen), old.unseen + 1.0),
        cell=torch.full_like(old.cell, -1),
    )
    if before is not None:
        new = replace(new, earlier=remembered(before, state.earlier))
    least = _GONE if soft else 0.5
    return State.concat([old.select((old.presence > least) & ~floats), new.select(new.presence > least)])


def _asked_before(new: State, earlier: Memory, gate: Gate) -> State:
    """New tokens with what views of windows long past say of them: they stand, but were they there then?"""
    back = hold(new.tokens, earlier.views, earlier.depth)
    same, changed, _, _ = judge(new, back, earlier.views, gate, soft=False)
    return witnessed(new, back, same, changed, torch.ones_like(earlier.views.cameras, dtype=torch.bool))


def judge(
    state: State, held: Held, views: Views, gate: Gate, soft: bool, stay: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Put the pairs that come close before the gate.

    Args:
        stay: who is over lives on where its depth is good enough for the view.

    Returns:
        (same [P] bool: the view shows the token's surface while it may be there; changed [P] bool: it shows a surface
        in the token's place, of quite another color; covers [P] bool: the same, and the token speaks for the place;
        covered [V * H/4 * W/4]: how much of each patch of the views tokens speak for).
    """
    tokens = state.tokens
    allowed = (held.time_s > tokens.since_s[held.token]) & (held.time_s < tokens.until_s[held.token])
    close = (allowed & (held.error < _CLOSE) & (held.residual.abs() < HIDDEN)).nonzero()[:, 0]
    token, finer = held.token[close], held.finer[close]
    age_s = (held.time_s[close] - tokens.last_s[token]).abs()
    unlike = unlikeness(tokens, views, token, held.view[close], held.xy[close])
    facts = Facts(held.residual[close], held.error[close], finer, unlike, tokens.support[token], age_s)
    same, better = gate(facts)
    mid_s, sigma_s = life_spans(state.gaussians, tokens)
    # Who is over covers nothing, unless the eye is still where the token's depth is good enough: then it lives on.
    alive = (held.time_s[close] - mid_s[token]).abs() < _ALIVE * sigma_s[token]
    if stay:
        eye = views.scene_from_cam[held.view[close], :3, 3]
        alive |= (eye - tokens.eye[token]).norm(dim=1) < tokens.way_m[token]
    speaks = torch.sigmoid(same) * torch.sigmoid(-better) if soft else ((same > 0) & (better <= 0)).float()
    area = torch.exp(2.0 * finer.clamp(max=0.0)) * state.presence[token].detach() * alive
    found, changed, covers = (torch.zeros_like(allowed) for _ in range(3))
    changed[close] = (facts.error < 1.0) & (facts.residual.abs() < depth_tolerance(finer)) & (unlike > _CHANGED)
    found[close] = same > 0
    covers[close] = (same > 0) & (better <= 0) & alive
    patches = (len(views), views.size[0] // PATCH, views.size[1] // PATCH)
    return found, changed, covers, spread(held.view[close], held.xy[close], speaks * area, patches)


def _kept_alive(state: State, held: Held, covers: Tensor, views: Views) -> State:
    """Tokens that speak for places in views live then, and so do the other surfaces that their patches showed."""
    token, view = held.token[covers], held.view[covers]
    also, pair = _of_same_patch(state, token)
    tokens, eye, time_s = state.tokens, views.scene_from_cam[view[pair], :3, 3], views.times_s[view[pair]]
    # Of those no view can tell: their depth is an edge's. They are shown from where that does not matter.
    near = (eye - tokens.eye[also]).norm(dim=1) < tokens.way_m[also]
    near &= (time_s > tokens.since_s[also]) & (time_s < tokens.until_s[also])
    token, view = torch.cat([token, also[near]]), torch.cat([view, view[pair[near]]])
    return replace(state, gaussians=kept_alive(state.gaussians, tokens, token, views.times_s[view]))


def _of_same_patch(state: State, token: Tensor) -> tuple[Tensor, Tensor]:
    """For some of the tokens [P] all others of their patches: (others [N], which of the P each belongs to [N])."""
    _, patch = torch.unique(state.patch, return_inverse=True)
    order = patch.argsort(stable=True)
    count = torch.bincount(patch)
    begin = count.cumsum(0) - count
    number = count[patch[token]] * (state.patch[token] >= 0)
    pair = torch.repeat_interleave(torch.arange(len(token), device=token.device), number)
    place = torch.arange(len(pair), device=token.device) - (number.cumsum(0) - number)[pair]
    found = order[begin[patch[token[pair]]] + place]
    other = found != token[pair]
    return found[other], pair[other]


def _bare(covered: Tensor, which: Tensor) -> Tensor:
    """How much of each patch is covered [V * H/4 * W/4], nothing in some of the views, mask [V]."""
    return covered.unflatten(0, (len(which), -1)).masked_fill(which[:, None], 0.0).flatten()


def _without(state: State, covered: Tensor, soft: bool) -> State:
    """Tokens less what of their patches others cover; in training their Gaussians fade with them."""
    share = covered[state.cell.clamp(min=0)].clamp(max=1.0) * (state.cell >= 0)
    if not soft:
        return replace(state, presence=state.presence * (share <= ENOUGH))
    opacities = state.gaussians.opacities * (1.0 - for_gaussians(share, state.tokens.of_gaussian))
    gaussians = state.gaussians.replace(opacities=opacities)
    return replace(state, gaussians=gaussians, presence=state.presence * (1.0 - share))


@torch.no_grad()
def witnessed(state: State, held: Held, same: Tensor, changed: Tensor, fresh: Tensor) -> State:
    """Tokens with what views say of them: support, times, and when something was seen through them.

    Args:
        same: [P] bool, pairs of which the view shows the token's surface; changed: something else in its place.
        fresh: [V] bool, views that had not been asked yet: what others say is not counted again.
    """
    tokens = state.tokens
    same = same & fresh[held.view]
    ones = torch.ones_like(held.error)
    looks = held.asked & fresh[held.view]
    against = (held.through | changed) & fresh[held.view]
    # A view from afar sees through things by mistake: it counts by how near it is.
    weight = torch.exp(held.finer.clamp(max=0.0))
    votes = torch.zeros_like(tokens.support).index_add(0, held.token, weight * (against.float() - same.float()))
    seen = tokens.seen(held.token[same], held.time_s[same])
    believed = against & (votes > 0)[held.token]
    token, time_s = held.token[believed], held.time_s[believed]
    after = time_s > 0.5 * (seen.first_s + seen.last_s)[token]
    until = tokens.until_s.scatter_reduce(0, token[after], time_s[after], "amin")
    since = tokens.since_s.scatter_reduce(0, token[~after], time_s[~after], "amax")
    told = replace(
        tokens,
        support=tokens.support.index_add(0, held.token[same], ones[same]),
        asked=tokens.asked.index_add(0, held.token[looks], ones[looks]),
        first_s=torch.maximum(seen.first_s, since),
        last_s=torch.minimum(seen.last_s, until),
        since_s=since,
        until_s=until,
    )
    return replace(state, tokens=told, gaussians=ended(state.gaussians, told, tokens))


@torch.no_grad()
def floating(state: State, held: Held, fresh: Tensor) -> Tensor:
    """[Q] bool: tokens that nobody ever confirmed and that several views see through."""
    against = held.through & fresh[held.view]
    count = torch.zeros_like(state.tokens.support).index_add(0, held.token, against.float())
    return (count >= _FLOATER) & (state.tokens.support < 1) & (state.tokens.until_s < NEVER_S)


def unroll(model: WorldRec, windows: Sequence[Views]) -> list[Reconstruction]:
    """Reconstruct consecutive windows and fuse each into those before: what trains the gate.

    With gradients who loses fades by the gate's probability; without it goes or stays, as in use.

    Args:
        windows: views of each, all in one scene frame and with one time origin.

    Returns:
        The whole scene after each window, its sky the mean, with depth and exposure of the views so far.
    """
    state = State.empty(windows[0].images.device)
    skies: list[Tensor] = []
    exposures: list[Tensor] = []
    depths: list[DepthMaps] = []
    results = []
    for views in windows:
        found = model(views)
        state = fuse_window(state, found, views, model.gate, soft=torch.is_grad_enabled())
        skies.append(found.sky)
        exposures.append(found.exposure)
        depths.append(found.depth)
        depth = DepthMaps(*(torch.cat([getattr(d, f.name) for d in depths]) for f in fields(DepthMaps)))
        results.append(Reconstruction(state.gaussians, torch.stack(skies).mean(0), torch.cat(exposures), depth))
    return results
