"""Tokens: what a scene remembers of each observed patch, so that later pictures can be held against it.

A token is a patch of some 4 x 4 pixels of one picture that speaks for a place of the surface; its Gaussians know it by
index. `worldrec/fusion.py` makes and merges tokens; scenes that were optimized, edited or imported have none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

NEVER_S = 1e6  # seconds before or after all times


@dataclass(frozen=True)
class Tokens:
    """Q tokens of N Gaussians; positions in the scene frame, times in seconds since the scene's time origin.

    Attributes:
        anchor: [Q, 3] metres, the patch's center on the surface.
        eye: [Q, 3] metres, where the camera stood that saw it finest.
        focal: [Q] of that picture, px.
        footprint_m: [Q] width of a pixel of that picture at the anchor, metres.
        way_m: [Q] metres that an eye may move from there until the anchor's likely error of depth shows.
        color: [Q, 3] sRGB there, of 2 x 2 px.
        support: [Q] how many other pictures saw the same surface in place.
        asked: [Q] how many looked there with nothing before it, `support` among them.
        first_s, last_s: [Q] the earliest and the latest time at which it was seen there.
        since_s, until_s: [Q] the last time before and the first after at which something was seen through its place;
            -NEVER_S and NEVER_S: none.
        moving: [Q] bool, it has a velocity; such tokens are never merged by position.
        of_gaussian: [N] int32, the token of each Gaussian, -1: none.
    """

    anchor: Tensor
    eye: Tensor
    focal: Tensor
    footprint_m: Tensor
    way_m: Tensor
    color: Tensor
    support: Tensor
    asked: Tensor
    first_s: Tensor
    last_s: Tensor
    since_s: Tensor
    until_s: Tensor
    moving: Tensor
    of_gaussian: Tensor

    def __post_init__(self) -> None:
        n = len(self.anchor)
        for name in TOKEN_FIELDS:
            shape = (n, 3) if name in ("anchor", "eye", "color") else (n,)
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"Tokens.{name}: expected shape {shape}, found {found}")
        if self.of_gaussian.ndim != 1:
            raise ValueError(f"Tokens.of_gaussian: expected [N], found {list(self.of_gaussian.shape)}")

    def __len__(self) -> int:
        return len(self.anchor)

    @staticmethod
    def empty(num_gaussians: int = 0, device: torch.device | str = "cpu") -> Tokens:
        """No tokens, for a number of Gaussians that belong to none."""
        none, points = torch.zeros(0, device=device), torch.zeros(0, 3, device=device)
        owner = torch.full((num_gaussians,), -1, dtype=torch.int32, device=device)
        return Tokens(
            points,
            points,
            none,
            none,
            none,
            points,
            none,
            none,
            none,
            none,
            none,
            none,
            torch.zeros_like(none).bool(),
            owner,
        )

    @property
    def free(self) -> Tensor:
        """[Q] bool: stands, and was never seen through."""
        return ~self.moving & (self.until_s >= NEVER_S) & (self.since_s <= -NEVER_S)

    def select(self, keep: Tensor) -> tuple[Tokens, Tensor]:
        """Some tokens by mask [Q], with their Gaussians only.

        Returns:
            (tokens, mask [N] of the Gaussians that stay). Gaussians without a token stay.
        """
        owner = self.of_gaussian.long()
        stays = keep[owner.clamp(min=0)] | (owner < 0) if len(self) else owner < 0
        number = torch.cumsum(keep, 0) - 1
        renumbered = torch.where(owner[stays] < 0, -1, number[owner[stays].clamp(min=0)]) if len(self) else owner[stays]
        rows = {name: getattr(self, name)[keep] for name in TOKEN_FIELDS}
        return Tokens(**rows, of_gaussian=renumbered.to(torch.int32)), stays

    def rows(self, index: Tensor) -> Tokens:
        """Tokens by index, as of no Gaussians."""
        return Tokens(**{name: getattr(self, name)[index] for name in TOKEN_FIELDS}, of_gaussian=self.of_gaussian[:0])

    def select_gaussians(self, stays: Tensor) -> Tokens:
        """All tokens, after Gaussians were chosen by mask or index."""
        return replace(self, of_gaussian=self.of_gaussian[stays])

    def seen(self, token: Tensor, time_s: Tensor) -> Tokens:
        """Seen at other times, too: pairs of a token [P] and a time [P]."""
        first = self.first_s.scatter_reduce(0, token, time_s, "amin")
        return replace(self, first_s=first, last_s=self.last_s.scatter_reduce(0, token, time_s, "amax"))

    def moved(self, new_from_old: Tensor) -> Tokens:
        """Told in another frame; [4, 4] rigid."""
        R, t = new_from_old[:3, :3].to(self.anchor), new_from_old[:3, 3].to(self.anchor)
        return replace(self, anchor=self.anchor @ R.T + t, eye=self.eye @ R.T + t)

    def later(self, seconds: float) -> Tokens:
        """Told from another time origin, `seconds` before."""
        times = {name: getattr(self, name) + seconds for name in ("first_s", "last_s")}
        bounds = {name: getattr(self, name) for name in ("since_s", "until_s")}
        bounds = {k: torch.where(v.abs() >= NEVER_S, v, v + seconds) for k, v in bounds.items()}
        return replace(self, **times, **bounds)

    def to(self, device: torch.device | str) -> Tokens:
        """Move every tensor."""
        return Tokens(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @staticmethod
    def concat(parts: list[Tokens]) -> Tokens:
        """Join, in step with their Gaussians."""
        owners, before = [], 0
        for part in parts:
            owners.append(torch.where(part.of_gaussian < 0, part.of_gaussian, part.of_gaussian + before))
            before += len(part)
        joined = {name: torch.cat([getattr(p, name) for p in parts]) for name in TOKEN_FIELDS}
        return Tokens(**joined, of_gaussian=torch.cat(owners))


TOKEN_FIELDS = tuple(f.name for f in fields(Tokens) if f.name != "of_gaussian")
