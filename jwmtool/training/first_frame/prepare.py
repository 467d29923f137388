"""Pictures to learn from, cut to size once before training, with what their tags tell of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.training.autoencoder.pictures import Shape, load_picture, shape_for
from jwmtool.training.clips import Data, Part
from jwmtool.training.first_frame.store import Pictures, write_pictures
from jwmtool.training.worldgen.prepare import prepare_parts, usable
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.drawing import boxes_at, draw_layout
from jwmtool.worldgen.first_frame import RAYS_PX
from jwmtool.worldgen.known import SUBCELL
from jwmtool.worldgen.rays import rays_of
from jwmtool.worldgen.tags import known_tags, tag_numbers

_EVENT, _NOTHING = "event", "none"
_LEAST = 0.004  # of a picture must be a body's outline, for its event to be seen there


@dataclass(frozen=True)
class Preparer:
    """How pictures are cut.

    Attributes:
        shapes: (width, height), px, of which each clip gets the one nearest to its first camera's.
    """

    shapes: tuple[Shape, ...]

    def prepare(self, data: Data, store: Store) -> None:
        """Write what is not there yet.

        Raises:
            InputError: a clip or a picture is missing or damaged, or all are withheld.
        """
        prepare_parts(data, store, lambda part: self.write(part, store))

    def write(self, part: Part, store: Store) -> None:
        """The file of one part; errors as `prepare`."""
        clip = read_clip(part.folder)
        names, frames = usable(clip, part)
        first = clip.cameras[names[0]]
        shape = shape_for(first.width, first.height, self.shapes)
        pictures = np.stack([np.stack([load_picture(clip, (k, name), shape) for name in names]) for k in frames])
        told = [[_told(clip, k, name, shape) for name in names] for k in frames]
        tags, subject = (torch.stack([torch.stack([one[part] for one in row]) for row in told]) for part in range(2))
        color = torch.from_numpy(pictures).permute(0, 1, 4, 2, 3)
        rays = rays_of([clip.cameras[name] for name in names], shape, RAYS_PX)
        write_pictures(store.path(part), Pictures(color, rays, tags, subject[:, :, None]))


def _told(clip: Clip, frame: int, name: str, shape: Shape) -> tuple[Tensor, Tensor]:
    """Tags of one picture, and where [H / 4, W / 4] the bodies of its event are.

    Bodies are tracks that are named after the event. One whose bodies are not seen in a picture does not happen there.
    """
    tags = known_tags(clip.tags)
    event = tags.get(_EVENT, _NOTHING)
    bodies = [track for track in clip.tracks if track.id.startswith(f"{event}_")]
    subject = np.zeros((shape[1] // SUBCELL, shape[0] // SUBCELL), bool)
    if event != _NOTHING and bodies:
        time_us = clip.frames[frame].images[name].time_us
        view = clip.camera_at(frame, name).resized(*shape)
        outlines = draw_layout(view, boxes_at(bodies, time_us), []).max(0) > 0.0
        if outlines.mean() < _LEAST:
            tags[_EVENT] = _NOTHING
        else:
            subject = outlines
    return tag_numbers(tags), torch.from_numpy(subject)
