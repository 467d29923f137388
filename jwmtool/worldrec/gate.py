"""The gate: does a view show the surface of an old token, and if so, does it show it better?

Before any training it is the rule of evidence.py and queries.py: the same place there and back, the same depth, a like
color; and the nearer view speaks. What is learned is added to the rule's logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jwmtool.imaging.residual import zero
from jwmtool.worldrec.evidence import COARSER, SAME_COLOR, SAME_DEPTH

FINER = 0.05  # by so much (log) a new view must be nearer to take over from an old token
_SURE = 4.0  # the largest logit of the rule
_SHARP = 20.0  # logits for each unit of log footprint


@dataclass(frozen=True)
class Facts:
    """What is known of P pairs of an old token and a view.

    Attributes:
        residual: [P] log of the token's depth in the view over what the view sees there.
        error: [P] how far the view's surface lands, back in the token's picture, from the token; 1 is just tolerated.
        finer: [P] log of the token's footprint over the view's; positive where the view is nearer.
        unlike: [P] mean difference of color.
        support: [P] how many pictures have confirmed the token.
        age_s: [P] since it was last seen.
    """

    residual: Tensor
    error: Tensor
    finer: Tensor
    unlike: Tensor
    support: Tensor
    age_s: Tensor


class Gate(nn.Module):
    """Two logits for each pair: it is the same surface; the view's own patch should speak for it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.judge = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))
        zero(self.judge[2])

    def forward(self, facts: Facts) -> tuple[Tensor, Tensor]:
        """(same [P], better [P]) logits."""
        told = torch.stack(
            [
                (facts.residual / SAME_DEPTH).clamp(-3.0, 3.0),
                facts.error.clamp(max=4.0),
                facts.finer.clamp(-2.0, 2.0),
                (facts.unlike / SAME_COLOR).clamp(max=4.0),
                torch.log1p(facts.support),
                torch.log1p(facts.age_s),
            ],
            1,
        )
        learned_same, learned_better = self.judge(told).unbind(1)
        same, better = rule(facts)
        return same + learned_same, better + learned_better


def depth_tolerance(finer: Tensor) -> Tensor:
    """How far (log) depths of one surface may differ: the more, the coarser the token was seen beside the view."""
    return SAME_DEPTH * torch.exp(finer.clamp(0.0, COARSER))


def rule(facts: Facts) -> tuple[Tensor, Tensor]:
    """The untrained logits: positive where all that evidence.py and queries.py ask for holds."""
    depth = facts.residual.abs() / depth_tolerance(facts.finer)
    room = torch.stack([facts.error, depth, facts.unlike / SAME_COLOR]).amax(0)
    return _SURE * (1.0 - room).clamp(min=-2.0), (_SHARP * (facts.finer - FINER)).clamp(-_SURE, _SURE)
