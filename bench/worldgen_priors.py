"""Priors of clips: WorldRec looks at a few frames, and what it made of them is rendered where later frames stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.joint.prior import PriorFrames
from jwmtool.worldgen.latents import Prior
from jwmtool.worldgen.reference import Reference
from jwmtool.worldgen.repair import Repair, Seen, repaired, seen_of


def shape_of(clip: Clip, camera: str) -> tuple[int, int]:
    """(width, height) of its pictures, cut to multiples of 16 px."""
    model = clip.cameras[camera]
    return model.width // 16 * 16, model.height // 16 * 16


def true_frames(clip: Clip, camera: str, frames: Sequence[int]) -> Tensor:  # [T, 3, H, W] in [0, 1]
    """The recorded pictures of `shape_of`."""
    from jwmtool.training.autoencoder.pictures import load_picture

    shape = shape_of(clip, camera)
    pictures = np.stack([load_picture(clip, (i, camera), shape) for i in frames])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def seen_of_clip(
    clip: Clip,
    worldrec: Any,
    context: Sequence[int],  # frames that the scene is made of
    frames: Sequence[int],  # that it is rendered at
    cameras: Sequence[str],
    device: str = "cpu",
) -> list[Seen]:  # of each camera, T pictures
    """What is known of frames before they are repaired."""
    from jwmtool.training.worldgen.priors import rendered

    chosen = [*context, *frames]
    part = replace(clip, frames=[clip.frames[i] for i in chosen], tracks=[], extras={})
    shape = shape_of(clip, cameras[0])
    made = rendered(part, worldrec, range(len(context)), cameras, shape, device, with_reference=True)
    if made is None or made.reference is None:
        raise SystemExit(f"{clip.root}: nothing came of the scene of frames {list(context)}")
    later = slice(len(context), None)
    references = [
        Reference(*(getattr(made.reference, field.name)[view, later] for field in fields(Reference)))
        for view in range(len(cameras))
    ]
    return [
        seen_of(color[later], coverage[later], reference)
        for color, coverage, reference in zip(made.color, made.coverage, references, strict=True)
    ]


def prior_of_seen(seen: Sequence[Seen], repair: Repair | None = None) -> Prior:  # B: the cameras
    """Renders as they are, or repaired; these are believed as `jwm generate` does."""
    color = [view.color if repair is None else repaired(repair, view) for view in seen]
    coverage = torch.stack([view.coverage for view in seen])
    shown = PriorFrames(torch.stack(color), torch.stack(color), coverage, repair is not None)
    return Prior(shown.color, shown.trust)
