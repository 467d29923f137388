"""Where the ego stands, a view is the picture of a moment ago but for what changed, and rendering tells what did.

Depth cannot tell: matching sees nothing from one place, and every window would add its own outlines and end others'. So
what the scene shows as well as the window would is left as it is, and lives on; elsewhere the window has its way.
"""

# V views, P pairs of a token and a view, Q tokens.
from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jwmtool.artifacts.tokens import Tokens
from jwmtool.gaussians.model import Gaussians
from jwmtool.worldrec.evidence import SAME_COLOR, same_place
from jwmtool.worldrec.holding import Held, unlikeness
from jwmtool.worldrec.lasting import kept_alive
from jwmtool.worldrec.memory import Memory
from jwmtool.worldrec.novelty import as_well, errors
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.scene_cover import life_spans
from jwmtool.worldrec.state import State
from jwmtool.worldrec.tokens import patch_index
from jwmtool.worldrec.views import Views

_LATER_S = 0.25  # at least so much later
_WORSE, _BY = 1.25, 0.02  # shown as well: so many times the window's own error, and mean sRGB besides
_THERE = 1.5  # standard deviations of its life within which a token was part of what was shown
_CHANGED = 0.08  # mean difference in sRGB of a token to where it is shown wrong


@dataclass(frozen=True)
class Standstill:
    """What a scene shows of views from where the ego stood before.

    Attributes:
        then_s: [V] when it last stood there; inf: never.
        shown: [V * H/4 * W/4] bool, patches that the scene of then shows as well as the window; none of other views.
    """

    then_s: Tensor
    shown: Tensor

    def right(self, held: Held, views: Views) -> Tensor:
        """[P] bool: pairs whose token falls into a patch that is shown."""
        return self.shown[patch_index(views, held.view, held.xy)]

    def kept(self, state: State, right: Held, views: Views) -> State:
        """The scene, of which those in pairs that are `right` live on; those that the view shows were seen then."""
        tokens = state.tokens
        mid_s, sigma_s = life_spans(state.gaussians, tokens)
        there = (self.then_s[right.view] - mid_s[right.token]).abs() < _THERE * sigma_s[right.token]
        there &= (right.time_s > tokens.since_s[right.token]) & (right.time_s < tokens.until_s[right.token])
        right = right.select(there)
        gaussians = kept_alive(state.gaussians, tokens, right.token, right.time_s)
        alike = unlikeness(tokens, views, right.token, right.view, right.xy) < SAME_COLOR
        seen = right.select(right.asked & alike)
        return replace(state, gaussians=gaussians, tokens=tokens.seen(seen.token, seen.time_s))

    def changed(self, tokens: Tokens, wrong: Held, views: Views) -> Tensor:
        """[P] bool: of pairs that are not `right` those whose token is not what the view shows in its place."""
        unlike = unlikeness(tokens, views, wrong.token, wrong.view, wrong.xy) > _CHANGED
        return unlike & self.then_s.isfinite()[wrong.view] & wrong.asked

    def changed_since(self, tokens: Tokens, cell: Tensor, back: Held, before: Views) -> Tensor:
        """[P] bool: pairs of tokens from where the ego stood before and views of then that did not show them.

        Args:
            tokens: new ones; cell: [Q] int64, the patch of the window's views that each is, -1: of none.
        """
        patches = len(self.shown) // len(self.then_s)
        seen = self.then_s.isfinite()[cell.clamp(min=0) // patches] & (cell >= 0)
        unlike = unlikeness(tokens, before, back.token, back.view, back.xy) > _CHANGED
        return unlike & seen[back.token]


@torch.no_grad()
def standstill(
    gaussians: Gaussians,  # of the scene, in the frame of the views
    before: Memory,  # the window before
    found: Reconstruction,  # of the views
    views: Views,
) -> Standstill | None:
    """None unless some view is from where the ego stood in the window before."""
    then_s = stood_s(before.views, views)
    stands = then_s.isfinite()
    if not bool(stands.any()):
        return None
    theirs = errors(found, gaussians, then_s, views)
    mine = errors(found, found.gaussians, torch.where(stands, views.times_s, torch.inf), views)
    shown = stands[:, None, None] & as_well(theirs, mine, _WORSE, _BY)
    return Standstill(then_s, shown.flatten())


def stood_s(before: Views, views: Views) -> Tensor:
    """[V] when the same camera was last where a view is from, if it stood there for long enough; else inf."""
    there = same_place(views, before)
    stood = (there & ((views.times_s[:, None] - before.times_s).abs() > _LATER_S)).any(1)
    return torch.where(stood, torch.where(there, before.times_s, -torch.inf).amax(1), torch.inf)
