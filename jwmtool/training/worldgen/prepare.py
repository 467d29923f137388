"""Latents of clips, encoded once before training: pictures, priors, camera rays, layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool import console
from jwmtool.artifacts.clip import Clip, ClipFrame
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.errors import InputError
from jwmtool.training.autoencoder.pictures import Shape, load_picture, shape_for
from jwmtool.training.clips import Data, Part
from jwmtool.training.worldgen.priors import (
    LEAST_CONTEXT,
    Filled,
    frames_ahead,
    frames_between,
    imitated,
    rendered,
)
from jwmtool.training.worldgen.store import CARRIED, LEVELS, Latents, Store, write_latents
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.carry import carried
from jwmtool.worldgen.drawing import Box, boxes_at, draw_layout
from jwmtool.worldgen.known import cells
from jwmtool.worldgen.rays import rays_of
from jwmtool.worldgen.tags import known_tags
from jwmtool.worldrec.model import WorldRec

KINDS = ("ahead", "between", "imitated")
_AT_ONCE = 32  # frames: those of long clips have a scene for so many each
_CARRIED_FROM, _CARRIED_OVER = (0, 8), 24  # frames: pictures are carried from these, and from every 24th after them


@dataclass(frozen=True)
class Preparer:
    """What latents are made with.

    Attributes:
        autoencoder, worldrec: on `device`; without a WorldRec all priors are imitated.
        shapes: of which each clip gets the one nearest to its first camera's.
    """

    autoencoder: Autoencoder
    worldrec: WorldRec | None
    shapes: tuple[Shape, ...]
    device: str = "cpu"

    def prepare(self, data: Data, store: Store) -> None:
        """Write what is not there yet. Several ranks may, each beginning elsewhere.

        Raises:
            InputError: a clip or a picture is missing or damaged, or all are withheld.
        """
        prepare_parts(data, store, lambda part: self.write(part, store))

    @torch.no_grad()
    def write(self, part: Part, store: Store) -> None:
        """The file of one part; errors as `prepare`."""
        path = store.path(part)
        clip = read_clip(part.folder)
        names, frames = usable(clip, part)
        first = clip.cameras[names[0]]
        shape = shape_for(first.width, first.height, self.shapes)
        rng = np.random.default_rng(int(hashlib.sha256(path.name.encode()).hexdigest()[:16], 16))
        pieces = [self._piece(replace(clip, frames=run), names, shape, rng) for run in runs(clip, frames)]
        times_us = clip.times_us[frames]
        starts = [first for first in _CARRIED_FROM if first < len(frames)]
        known = [self._carried(replace(clip, frames=[clip.frames[k] for k in frames]), names, shape, k) for k in starts]
        scenes = _Priors(
            torch.cat([piece.priors for piece in pieces], 2),
            torch.cat([piece.coverage for piece in pieces], 2),
            torch.cat([piece.context for piece in pieces], 1),
        )
        latents = Latents(
            latents=torch.cat([piece.latents for piece in pieces], 1),
            rays=rays_of([clip.cameras[name] for name in names], shape, self._stride),
            layout=torch.cat([piece.layout for piece in pieces], 1),
            world_from_rig=torch.from_numpy(clip.world_from_rig[frames]),
            times_s=torch.from_numpy((times_us - times_us[0]) * 1e-6),
            priors=torch.cat([part.priors for part in (scenes, *known)]),
            coverage=torch.cat([part.coverage for part in (scenes, *known)]),
            context=torch.cat([part.context for part in (scenes, *known)]),
        )
        told = {"name": clip.name, "cameras": names, "shape": shape, "tags": known_tags(clip.tags)}
        kinds = [*(KINDS if self.worldrec is not None else ["imitated"] * len(KINDS)), *[CARRIED] * len(known)]
        write_latents(path, latents, {**told, "drawn": bool(clip.tracks or _lanes(clip)), "kinds": kinds})

    @property
    def _stride(self) -> int:
        return self.autoencoder.stride

    def _piece(self, clip: Clip, names: Sequence[str], shape: Shape, rng: np.random.Generator) -> _Piece:
        """Of all frames of a clip, which has few."""
        numbers = range(len(clip.frames))
        pictures = np.stack([np.stack([load_picture(clip, (k, name), shape) for k in numbers]) for name in names])
        priors = [self._prior(kind, clip, names, shape, pictures, rng) for kind in KINDS]
        boxes, lanes = _Boxes(clip), _lanes(clip)
        layout = np.stack(
            [
                [draw_layout(clip.camera_at(k, name).resized(*shape), boxes.at(k, name), lanes) for k in numbers]
                for name in names
            ]
        )
        return _Piece(
            torch.stack([self._encoded(prior.color) for prior in priors]),
            torch.stack([_bytes(self._cells(torch.from_numpy(prior.coverage)[:, :, None])) for prior in priors]),
            torch.stack([torch.from_numpy(prior.context) for prior in priors]),
            self._encoded(pictures),
            _bytes(self._cells(torch.from_numpy(layout), reduced=True)),
        )

    def _prior(
        self, kind: str, clip: Clip, names: Sequence[str], shape: Shape, pictures: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> Filled:  # fmt: skip
        made = None
        if kind != "imitated" and self.worldrec is not None and len(clip.frames) >= LEAST_CONTEXT:
            choose = frames_ahead if kind == "ahead" else frames_between
            context = choose(len(clip.frames), len(names), rng)
            made = rendered(clip, self.worldrec, context, names, shape, self.device)
        return imitated(pictures, rng) if made is None else made

    def _carried(self, clip: Clip, names: Sequence[str], shape: Shape, first: int) -> _Priors:
        """All frames of a clip, carried from one frame and from every so many after it."""
        context = torch.zeros(len(clip.frames), dtype=torch.bool)
        context[first::_CARRIED_OVER] = True
        sources = context.nonzero().flatten().tolist()
        ends = [*sources[1:], len(clip.frames)]
        priors, coverage = [], []
        for number, (source, end) in enumerate(zip(sources, ends, strict=True)):
            span = range(source if number else 0, end)
            shown = [_carry(clip, name, shape, source, span) for name in names]
            priors.append(self._encoded(np.array([[color for color, _ in row] for row in shown])))
            covered = torch.from_numpy(np.array([[covered for _, covered in row] for row in shown]))
            coverage.append(_bytes(self._cells(covered[:, :, None])))
        return _Priors(torch.cat(priors, 1)[None], torch.cat(coverage, 1)[None], context[None])

    def _encoded(self, pictures: NDArray[np.float32]) -> Tensor:
        """[V, T, H, W, 3] to [V, T, C, h, w] float16."""
        video = torch.from_numpy(pictures).permute(0, 1, 4, 2, 3).contiguous()
        return torch.cat([self.autoencoder.encode(view[None].to(self.device)).half().cpu() for view in video])

    def _cells(self, maps: Tensor, reduced: bool = False) -> Tensor:
        """[V, T, m, ., .] to [V, T, ., h, w]."""
        return cells(maps.flatten(0, 1), self._stride, reduced).unflatten(0, maps.shape[:2])


@dataclass(frozen=True)
class _Priors:
    """See `Latents`."""

    priors: Tensor
    coverage: Tensor
    context: Tensor


@dataclass(frozen=True)
class _Piece(_Priors):
    """See `Latents`."""

    latents: Tensor
    layout: Tensor


def _carry(
    clip: Clip, name: str, shape: Shape, source: int, frames: range
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """One camera's picture of a frame as it would be in others: color [H, W, 3] and coverage [H, W] of each."""
    picture, world_from_rig = load_picture(clip, (source, name), shape), clip.frames[source].world_from_rig
    taken = clip.camera_at(source, name).resized(*shape)
    return [carried(picture, taken, world_from_rig, clip.camera_at(k, name).resized(*shape)) for k in frames]


def prepare_parts(data: Data, store: Store, write: Callable[[Part], None]) -> None:
    """Have what is not there yet written, with progress. Several ranks may, each beginning elsewhere."""
    parts = [part for group in data.training for part in group] + list(data.held_out)
    begin = len(parts) * int(os.environ.get("RANK", "0")) // int(os.environ.get("WORLD_SIZE", "1"))
    todo = [part for part in parts[begin:] + parts[:begin] if not store.path(part).is_file()]
    if not todo:
        return
    console.notice(f"preparing {len(todo)} clips once, in {store.folder}; an interrupted preparation goes on")
    with console.progress("preparing", len(todo)) as bar:
        for done, part in enumerate(todo):
            if not store.path(part).is_file():
                write(part)
            bar.update(done + 1, f"{done + 1} of {len(todo)} clips")


def usable(clip: Clip, part: Part) -> tuple[list[str], list[int]]:
    """Cameras and frames of a part that training may look at: frames with pictures of all cameras not withheld.

    Raises:
        InputError: there is none.
    """
    inside = range(part.first, part.end)
    shot = {name for k in inside for name in clip.frames[k].images}
    names = [name for name in clip.cameras if name in shot and name not in clip.split.cameras]
    frames = [k for k in inside if k not in clip.split.frames and all(name in clip.frames[k].images for name in names)]
    if not names or not frames:
        raise InputError(clip.root, "frames with pictures of all cameras that are not withheld", "none")
    return names, frames


def runs(clip: Clip, frames: Sequence[int]) -> Iterator[list[ClipFrame]]:
    """Some frames of a clip in stretches that have a scene for each."""
    count = -(-len(frames) // _AT_ONCE)
    for some in np.array_split(np.array(frames), count):
        yield [clip.frames[k] for k in some]


class _Boxes:
    """A clip's bodies at the times of its pictures; cameras mostly share them."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._found: dict[int, list[Box]] = {}

    def at(self, frame: int, name: str) -> list[Box]:
        """When a picture was taken."""
        time_us = self._clip.frames[frame].images[name].time_us
        if time_us not in self._found:
            self._found[time_us] = boxes_at(self._clip.tracks, time_us)
        return self._found[time_us]


def _lanes(clip: Clip) -> list[NDArray[np.float64]]:
    """Points [N, 3] in the world of each lane that a clip tells of."""
    told = clip.extras.get("lanes", [])
    lines = [np.asarray(lane["points"], np.float64) for lane in told if isinstance(lane, dict) and "points" in lane]
    return [line for line in lines if line.ndim == 2 and line.shape[1] == 3 and len(line) > 1]


def _bytes(maps: Tensor) -> Tensor:
    return (maps.clamp(0.0, 1.0) * LEVELS).round().to(torch.uint8)
