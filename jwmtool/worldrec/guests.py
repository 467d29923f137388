"""What earlier drives over a road left: it shows what still stands, and is told what does not.

Lives of tokens tell where the ego was on their own drive. A view of a later drive is held against what that drive saw
from the same place; of a patch that it shows already nothing is added, and its tokens and Gaussians stay as they are.
Only when something was seen through, or changed, is noted: `Timeline` shows it no more from then on.
"""

# V views, Q tokens.
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.rendering.timeline import Drive
from jwmtool.worldrec.cover import ENOUGH
from jwmtool.worldrec.fusion import judge, witnessed
from jwmtool.worldrec.gate import Gate
from jwmtool.worldrec.holding import hold, in_view
from jwmtool.worldrec.novelty import as_well, errors
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.scene_cover import life_spans
from jwmtool.worldrec.state import State
from jwmtool.worldrec.tokens import patch_index
from jwmtool.worldrec.views import Views

FAR_M = 100.0  # farther from the ego nobody is asked
_NEAR_M, _BEHIND_M = 3.5, 0.3  # an earlier drive looked from so near a view, and not from farther behind it
# Shown already: so many times the window's own error, and mean sRGB besides; of such views, and of others.
_WORSE, _BY = (1.5, 1.25), (0.1, 0.01)
OVER = 3.0  # standard deviations of its life after which a token is over


@dataclass(frozen=True)
class Visit:
    """Some tokens of an earlier drive, and when that drive was where the views are from.

    Attributes:
        state: in the frame of the views.
        then_s: [V] by the earlier drive's clock; inf where it never was.
    """

    state: State
    then_s: Tensor

    def known(self, found: Reconstruction, mine: Tensor, views: Views, gate: Gate) -> tuple[Tensor, State]:
        """Which patches of views [V * H/4 * W/4] it shows, and the state with what the views say against it.

        Args:
            found: of the views; mine: [V, H/4, W/4] its own errors (`novelty.errors`).
        """
        held = hold(self.state.tokens, views, found.depth)
        then = replace(held, time_s=self.then_s[held.view])
        same, changed, _, covered = judge(self.state, then, views, gate, soft=False, stay=False)
        theirs = errors(found, self.state.gaussians, self.then_s, views)
        looked = self._looked(views)
        worse, by = (torch.where(looked, *values)[:, None, None] for values in (_WORSE, _BY))
        patches = (covered > ENOUGH) | as_well(theirs, mine, worse, by).flatten()
        # Whatever depth says: a view whose picture is shown right speaks against nothing.
        wrong = ~patches[patch_index(views, held.view, held.xy)]
        fresh = torch.ones_like(views.cameras, dtype=torch.bool)
        told = witnessed(self.state, held.select(wrong), same[wrong], changed[wrong], fresh)
        bounds = {name: getattr(told.tokens, name) for name in ("since_s", "until_s")}
        return patches, replace(self.state, tokens=replace(self.state.tokens, **bounds))

    def _looked(self, views: Views) -> Tensor:
        """[V] bool: views from where the earlier drive looked, too, or between such places: it saw as finely."""
        eyes = self.state.tokens.eye.unique(dim=0)
        to_eyes = eyes - views.scene_from_cam[:, None, :3, 3]  # [V, E, 3]
        ahead_m = (to_eyes * views.scene_from_cam[:, None, :3, 2]).sum(2)
        return ((to_eyes.norm(dim=2) < _NEAR_M) & (ahead_m > -_BEHIND_M)).any(1)


def times_then(drive: Drive, places: Sequence[tuple[NDArray[np.float64], int]], origin_us: int) -> list[float]:
    """When a drive was at places of the ego (world) of other times (us): seconds since the origin; inf: never near."""
    found = [drive.nearest_us(place, time_us) for place, time_us in places]
    return [math.inf if time_us is None else (time_us - origin_us) * 1e-6 for time_us in found]


def standing_there(state: State, views: Views, then_s: Sequence[float]) -> Tensor:
    """[Q] bool: tokens, told in the frame of the views, that an earlier drive had there then, and that still stand."""
    tokens = state.tokens
    seen = [t for t in then_s if math.isfinite(t)]
    near = (tokens.anchor.norm(dim=1) < FAR_M) & ~tokens.moving & living(state, min(seen), max(seen))
    gone = (tokens.until_s < float(views.times_s.max())) | (tokens.since_s > float(views.times_s.min()))
    return near & ~gone & in_view(tokens.anchor, views, FAR_M)


def living(state: State, first_s: float, last_s: float) -> Tensor:
    """[Q] bool: tokens that live at some time between two."""
    mid_s, sigma_s = life_spans(state.gaussians, state.tokens)
    return (mid_s + OVER * sigma_s > first_s) & (mid_s - OVER * sigma_s < last_s)
