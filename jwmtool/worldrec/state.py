"""What fusion carries from window to window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jwmtool.artifacts.tokens import NEVER_S, Tokens
from jwmtool.gaussians.model import Gaussians
from jwmtool.gaussians.rigid import moved
from jwmtool.worldrec.memory import Memory

_ROWS = ("presence", "unseen", "cell", "patch")


@dataclass(frozen=True)
class State:
    """What fusion carries from window to window.

    Attributes:
        gaussians, tokens: in one frame.
        presence: [Q] how much each token is still there: 1, or in training what the gate has left of it.
        unseen: [Q] windows since a view could last have shown it.
        cell: [Q] int64, the patch of a view of `memory` that each token is, -1: of none.
        patch: [Q] int64, alike for the surfaces that one patch showed, -1: not known any more.
        from_s, until_s: the times of the views that it is from; views between are not asked twice.
        memory: the latest window; earlier: a few views of each of some windows before it.
    """

    gaussians: Gaussians
    tokens: Tokens
    presence: Tensor
    unseen: Tensor
    cell: Tensor
    patch: Tensor
    from_s: float = NEVER_S
    until_s: float = -NEVER_S
    memory: Memory | None = None
    earlier: Memory | None = None

    @staticmethod
    def of(gaussians: Gaussians, tokens: Tokens) -> State:
        """A scene as it is, nothing asked yet."""
        ones = torch.ones_like(tokens.support)
        none = torch.full_like(ones, -1, dtype=torch.int64)
        return State(gaussians, tokens, ones, 0.0 * ones, none, none)

    @staticmethod
    def empty(device: torch.device | str = "cpu") -> State:
        """Nothing seen yet."""
        return State.of(Gaussians.empty().to(device), Tokens.empty(device=device))

    def select(self, keep: Tensor) -> State:
        """Some tokens by mask [Q], with their Gaussians and those of no token."""
        tokens, stays = self.tokens.select(keep)
        rows = {name: getattr(self, name)[keep] for name in _ROWS}
        gaussians = self.gaussians.select(stays.nonzero()[:, 0])  # one search for all of its tensors
        return replace(self, gaussians=gaussians, tokens=tokens, **rows)

    def moved(self, new_from_old: Tensor) -> State:
        """Told in another frame; [4, 4] rigid, float64."""
        return replace(
            self,
            gaussians=moved(self.gaussians, new_from_old),
            tokens=self.tokens.moved(new_from_old),
            memory=None if self.memory is None else self.memory.moved(new_from_old),
            earlier=None if self.earlier is None else self.earlier.moved(new_from_old),
        )

    def to(self, device: torch.device | str) -> State:
        """Move every tensor; the memories stay behind."""
        rows = {name: getattr(self, name).to(device) for name in _ROWS}
        return replace(
            self, gaussians=self.gaussians.to(device), tokens=self.tokens.to(device), memory=None, earlier=None, **rows
        )

    @staticmethod
    def concat(parts: Sequence[State]) -> State:
        """Join; the memories are the last one's."""
        rows = {name: torch.cat([getattr(p, name) for p in parts]) for name in _ROWS}
        return State(
            gaussians=Gaussians.concat([p.gaussians for p in parts]),
            tokens=Tokens.concat([p.tokens for p in parts]),
            **rows,
            from_s=min(p.from_s for p in parts),
            until_s=max(p.until_s for p in parts),
            memory=parts[-1].memory,
            earlier=parts[-1].earlier,
        )
