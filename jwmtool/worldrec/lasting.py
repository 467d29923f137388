"""How long Gaussians live, as far as their tokens know."""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.artifacts.tokens import NEVER_S, Tokens
from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.worldrec.retell import for_gaussians
from jwmtool.worldrec.scene_cover import GONE, HALF, coarse, life_spans, surfaces, trusted

STATIC_AFTER_S = 1.0  # what lives so long (standard deviation) and was never seen through stays for all time
_STATIC_WAY_M = 5.0  # and whose depth is good enough from so far aside
_LONGEST_PX = 3.0
_SHORTEST_S = 0.02


def ended(gaussians: Gaussians, tokens: Tokens, was: Tokens) -> Gaussians:
    """Gaussians of tokens that something was seen through since: their lives end, or begin, between then and their own.

    A life goes from the middle between that time and the token's first or last sight, to half its opacity.

    Args:
        was: the tokens as they were when the life spans were set.
    """
    owner = tokens.of_gaussian.long()
    theirs = (owner >= 0).nonzero()[:, 0]
    rows = owner[theirs]
    standing = ~tokens.moving[rows]
    mid, sigma = gaussians.time_mid[theirs], gaussians.time_sigma[theirs]
    first, last, since, until = (
        value[rows] for value in (tokens.first_s, tokens.last_s, tokens.since_s, tokens.until_s)
    )
    ends, begins = until < NEVER_S, since > -NEVER_S
    low = 0.5 * (first + since)
    high = torch.where(ends, 0.5 * (last + until), torch.maximum(last, 2.0 * mid - low))
    low = torch.where(begins, low, torch.minimum(first, 2.0 * mid - high))
    center, short = within(low, high, since, until)
    short = short.clamp(min=_SHORTEST_S)
    news = (until < was.until_s[rows]) | (since > was.since_s[rows])
    cut = standing & news & (short < sigma)
    mid, sigma = torch.where(cut, center, mid), torch.where(cut, short, sigma)
    return gaussians.replace(
        time_mid=gaussians.time_mid.index_copy(0, theirs, mid),
        time_sigma=gaussians.time_sigma.index_copy(0, theirs, sigma),
    )


def kept_alive(gaussians: Gaussians, tokens: Tokens, token: Tensor, time_s: Tensor) -> Gaussians:
    """Gaussians of tokens that are to live at some times, and to be seen then: pairs of a token [P] and a time [P].

    To the other side of its middle a life ends as it did.
    """
    mid_s, sigma_s = life_spans(gaussians, tokens)
    low = mid_s.scatter_reduce(0, token, time_s, "amin")
    high = mid_s.scatter_reduce(0, token, time_s, "amax")
    longer = (high > mid_s + HALF * sigma_s) | (low < mid_s - HALF * sigma_s)
    owner = tokens.of_gaussian
    theirs = for_gaussians(longer, owner)
    mid, reach = gaussians.time_mid, HALF * gaussians.time_sigma
    low = torch.minimum(for_gaussians(low, owner), mid - reach)
    high = torch.maximum(for_gaussians(high, owner), mid + reach)
    return gaussians.replace(
        time_mid=torch.where(theirs, 0.5 * (low + high), mid),
        time_sigma=torch.where(theirs, 0.5 * (high - low) / HALF, gaussians.time_sigma),
    )


def within(low: Tensor, high: Tensor, since: Tensor, until: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and standard deviation of lives at half from `low` to `high`, and over at `since` and `until`; seconds."""
    mid = 0.5 * (low + high)
    return mid, torch.minimum(0.5 * (high - low) / HALF, torch.minimum(mid - since, until - mid) / GONE)


def everlasting(gaussians: Gaussians, tokens: Tokens, known: Tensor | None = None) -> Gaussians:
    """What lives long, was confirmed by most that looked there and never seen through stays for all time.

    Patches that finer ones fill do not: they would blur those. Nor do Gaussians far longer than their token's pixels:
    no view has confirmed their ends.

    Args:
        known: [Q] bool, tokens that are known to have been there at times far apart, however short they live.
    """
    seen = surfaces(gaussians, tokens)
    lasting = (
        trusted(tokens)
        & (tokens.way_m >= _STATIC_WAY_M)
        & ((seen.sigma_s >= STATIC_AFTER_S) | (known if known is not None else False))
    )
    lasting &= ~coarse(seen, lasting)
    longest = for_gaussians(_LONGEST_PX * tokens.footprint_m * lasting, tokens.of_gaussian)
    stays = gaussians.scales.amax(1) < longest
    sigma = torch.where(stays, torch.full_like(gaussians.time_sigma, STATIC_SIGMA_S), gaussians.time_sigma)
    still = gaussians.velocity * (~stays)[:, None]
    return gaussians.replace(time_sigma=sigma, velocity=still)
