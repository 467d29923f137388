"""Priors of clips: WorldRec looks at a few frames, and what it made of them is rendered where later frames stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.worldgen.latents import Prior


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


def prior_of(
    clip: Clip,
    worldrec: Any,
    context: Sequence[int],  # frames that the scene is made of
    frames: Sequence[int],  # that it is rendered at
    cameras: Sequence[str],
    device: str = "cpu",
) -> Prior:  # B: the cameras
    """Hole-filled renders, as training of the generator makes them."""
    from jwmtool.training.worldgen.priors import rendered

    chosen = [*context, *frames]
    part = replace(clip, frames=[clip.frames[i] for i in chosen], tracks=[], extras={})
    made = rendered(part, worldrec, range(len(context)), cameras, shape_of(clip, cameras[0]), device)
    if made is None:
        raise SystemExit(f"{clip.root}: nothing came of the scene of frames {list(context)}")
    color, coverage = torch.from_numpy(made.color), torch.from_numpy(made.coverage)
    later = slice(len(context), None)
    return Prior(color[:, later].permute(0, 1, 4, 2, 3).contiguous(), coverage[:, later, None].contiguous())


def with_holes(prior: Prior, rng: np.random.Generator) -> Prior:
    """Two rectangles of a third to a half of the width and the height, alike in all frames, cut out and filled."""
    from jwmtool.imaging.push_pull import push_pull

    left = np.ones(prior.coverage.shape[-2:], np.float32)
    for _ in range(2):
        sides = [int(rng.integers(side // 3, side // 2 + 1)) for side in left.shape]
        row, column = (int(rng.integers(whole - side + 1)) for whole, side in zip(left.shape, sides, strict=True))
        left[row : row + sides[0], column : column + sides[1]] = 0.0
    color = prior.color.permute(0, 1, 3, 4, 2).numpy()
    filled = [[push_pull(frame, left) for frame in view] for view in color]
    made = torch.from_numpy(np.array(filled, np.float32)).permute(0, 1, 4, 2, 3).contiguous()
    return Prior(made, prior.coverage * torch.from_numpy(left))
