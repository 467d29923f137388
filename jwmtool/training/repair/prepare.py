"""Renders to learn from, made once before training: scenes of a few frames, seen where the others were taken."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.errors import InputError
from jwmtool.training.autoencoder.pictures import Shape, load_picture, shape_for
from jwmtool.training.clips import Data, Part
from jwmtool.training.repair.store import write_pairs
from jwmtool.training.worldgen.prepare import prepare_parts, runs, usable
from jwmtool.training.worldgen.priors import LEAST_CONTEXT, frames_ahead, frames_between, rendered
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.reference import Reference
from jwmtool.worldgen.repair import Seen, joined, seen_of
from jwmtool.worldrec.model import WorldRec

_BETWEEN = 1 / 3  # of the clips also have a scene of frames with others between them
_ALIKE = 0.01  # cameras, in focal length and in how they are turned
_OWN = 1 / 4  # of the frames that a scene was made of are learned from: there little is to be repaired


@dataclass(frozen=True)
class Preparer:
    """What renders are made with.

    Attributes:
        worldrec: on `device`.
        shapes: of which each clip gets the one nearest to its first camera's.
    """

    worldrec: WorldRec
    shapes: tuple[Shape, ...]
    device: str = "cpu"

    def prepare(self, data: Data, store: Store) -> None:
        """Write what is not there yet.

        Raises:
            InputError: a clip or a picture is missing or damaged, or too little of it is not withheld.
        """
        prepare_parts(data, store, lambda part: self.write(part, store))

    def write(self, part: Part, store: Store) -> None:
        """The file of one part; errors as `prepare`."""
        path, clip = store.path(part), read_clip(part.folder)
        names, frames = usable(clip, part)
        first = clip.cameras[names[0]]
        shape = shape_for(first.width, first.height, self.shapes)
        rng = np.random.default_rng(int(hashlib.sha256(path.name.encode()).hexdigest()[:16], 16))
        choices = [frames_ahead] if rng.random() >= _BETWEEN else [frames_ahead, frames_between]
        makers = names[:1] if _one_elsewhere(clip, names) else names
        found: list[tuple[Seen, Tensor]] = []
        for run in runs(clip, frames):
            piece = replace(clip, frames=run)
            if len(run) < LEAST_CONTEXT:
                continue
            for choose in choices:
                found += self._pairs(piece, names, makers, choose(len(run), len(makers), rng), shape, rng)
        if not found:
            raise InputError(part.folder, f"at least {LEAST_CONTEXT} frames of which a scene can be made", "none")
        write_pairs(path, joined([seen for seen, _ in found]), torch.cat([true for _, true in found]))

    def _pairs(
        self,
        clip: Clip,
        names: list[str],
        makers: list[str],
        context: list[int],
        shape: Shape,
        rng: np.random.Generator,
    ) -> list[tuple[Seen, Tensor]]:
        """Renders and pictures of all cameras and of the frames to learn from; none where the scene is empty.

        Args:
            makers: the cameras that the scene is made of.
        """
        made = rendered(clip, self.worldrec, context, names, shape, self.device, with_reference=True, made_of=makers)
        own = np.outer([name in makers for name in names], np.isin(range(len(clip.frames)), context))  # [V, T]
        rows = ~own | (rng.random(own.shape) < _OWN)
        if made is None or made.reference is None or not rows.any():
            return []
        true = [load_picture(clip, (int(k), names[view]), shape) for view, k in np.argwhere(rows)]
        reference = Reference(*(getattr(made.reference, f.name)[rows] for f in fields(Reference)))
        seen = seen_of(made.color[rows], made.coverage[rows], reference)
        return [(seen, torch.from_numpy(np.stack(true)).permute(0, 3, 1, 2))]


def _one_elsewhere(clip: Clip, names: Sequence[str]) -> bool:
    """Whether cameras are alike and look the same way, so that all are the first one on other paths."""
    first, *others = (clip.cameras[name] for name in names)
    turns = [first.rig_from_cam[:3, :3].T @ other.rig_from_cam[:3, :3] for other in others]
    return bool(others) and all(
        (other.width, other.height) == (first.width, first.height)
        and np.allclose(other.K, first.K, rtol=_ALIKE)
        and np.trace(turn) > 3.0 - _ALIKE
        for other, turn in zip(others, turns, strict=True)
    )
