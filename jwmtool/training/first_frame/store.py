"""Pictures with their cameras and tags: one file for each part of a clip."""

# T frames, V cameras, H, W height and width, px.
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.training.prepared import opened

LEVELS = 255.0
_PICTURES, _RAYS, _TAGS, _SUBJECT = "pictures", "rays", "tags", "subject"


@dataclass(frozen=True)
class Pictures:
    """Of a part of a clip, or of some of its frames.

    Attributes:
        pictures: [T, V, 3, H, W] in [0, 1].
        rays: [V, 6, H / 8, W / 8].
        tags: [T, V, groups] int64, as `tags.tag_numbers`, -1: not told.
        subject: [T, V, 1, H / 4, W / 4] bool, where the bodies of the told event are.
    """

    pictures: Tensor
    rays: Tensor
    tags: Tensor
    subject: Tensor


def write_pictures(path: Path, some: Pictures) -> None:
    """Atomically: what is there already holds the same."""
    with atomic_file(path, force=True) as temporary:
        levels = (some.pictures.clamp(0.0, 1.0) * LEVELS).round().to(torch.uint8)
        tensors = {_PICTURES: levels, _RAYS: some.rays, _TAGS: some.tags, _SUBJECT: some.subject}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


def picture_shape(path: Path) -> tuple[int, int, int, int]:
    """T, V, H, W; errors as `read_pictures`."""
    with opened(path, "pictures") as file:
        frames, views, _, height, width = file.get_slice(_PICTURES).get_shape()
        return frames, views, height, width


def read_pictures(path: Path, frames: slice) -> Pictures:
    """Some frames of a file.

    Raises:
        InputError: missing or damaged.
    """
    with opened(path, "pictures") as file:
        pictures, tags, subject = (file.get_slice(name)[frames] for name in (_PICTURES, _TAGS, _SUBJECT))
        return Pictures(pictures.float() / LEVELS, file.get_tensor(_RAYS), tags, subject)
