"""Clips as latents, with all that the transformer is told of them: one file for each part of a clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from jwmtool.artifacts.atomic import atomic_file
from jwmtool.errors import InputError
from jwmtool.training.clips import Part
from jwmtool.training.prepared import opened

FORMAT, VERSION = "jwm-latents", "1.3"
CARRIED = "carried"  # the kind of priors that no scene gave: known pictures, carried along the path
LEVELS = 255.0  # coverage and layout as bytes


@dataclass(frozen=True)
class Latents:
    """Of V cameras and T frames; h x w latent cells of C channels.

    Attributes:
        latents: [V, T, C, h, w] float16, of the pictures.
        rays: [V, 6, h, w] float32.
        layout: [V, T, m, h, w] uint8, of 255.
        world_from_rig: [T, 4, 4] float64; times_s: [T] float64.
        priors: [N, V, T, C, h, w] float16, of N hole-filled priors of the same frames.
        coverage: [N, V, T, n, h, w] uint8, of 255.
        context: [N, T] bool, the frames that a prior was made of. Of a carried one each frame comes from the last of
            them up to it.
    """

    latents: Tensor
    rays: Tensor
    layout: Tensor
    world_from_rig: Tensor
    times_s: Tensor
    priors: Tensor
    coverage: Tensor
    context: Tensor


@dataclass(frozen=True)
class Stored:
    """What a file holds, without what is large.

    Attributes:
        name: of the clip.
        cameras: names, in order.
        shape: (width, height) of the pictures, px.
        tags: as `tags.known_tags`.
        drawn: a layout was known.
        kinds: of each prior, one word; `scenes` and `carried` are their numbers.
        context: as in `Latents`.
    """

    path: Path
    name: str
    cameras: tuple[str, ...]
    shape: tuple[int, int]
    tags: dict[str, str]
    drawn: bool
    kinds: tuple[str, ...]
    world_from_rig: NDArray[np.float64]
    times_s: NDArray[np.float64]
    context: NDArray[np.bool_]

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.times_s)

    @property
    def scenes(self) -> list[int]:
        """Priors that show a scene."""
        return [k for k, kind in enumerate(self.kinds) if kind != CARRIED]

    @property
    def carried(self) -> list[int]:
        """Priors that show what was known."""
        return [k for k, kind in enumerate(self.kinds) if kind == CARRIED]


@dataclass(frozen=True)
class Cut:
    """Some of the cameras, one after another, and some of the frames, evenly."""

    first_view: int
    views: int
    first: int
    frames: int
    stride: int = 1

    @property
    def numbers(self) -> range:
        """Of the frames."""
        return range(self.first, self.first + self.frames * self.stride, self.stride)


@dataclass(frozen=True)
class Store:
    """A folder of such files, which runs may share.

    Attributes:
        made_by: JSON values that decide what a file of a given part of a clip holds; others name other files.
    """

    folder: Path
    made_by: Mapping[str, Any]

    def path(self, part: Part) -> Path:
        """Where the latents of a part are, or will be. The name tells clip.json and `made_by` apart by their hash."""
        clip = hashlib.sha256((part.folder / "clip.json").read_bytes()).hexdigest()
        told = {"version": VERSION, "clip": clip, "frames": [part.first, part.end], **self.made_by}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{part.folder.resolve().name}-{digest[:20]}.safetensors"


def write_latents(path: Path, latents: Latents, told: Mapping[str, Any]) -> None:
    """Write atomically; what is there already holds the same.

    Args:
        told: the other attributes of `Stored`, as JSON values.
    """
    tensors = {f.name: getattr(latents, f.name).cpu().contiguous() for f in fields(latents)}
    text = json.dumps({**told, "format": FORMAT, "version": VERSION}, sort_keys=True)
    with atomic_file(path, force=True) as temporary:
        save_file(tensors, temporary, metadata={"jwm": text})


def open_latents(path: Path) -> Stored:
    """What a file holds.

    Raises:
        InputError: missing or damaged.
    """
    with opened(path, "latents") as file:
        told = json.loads((file.metadata() or {}).get("jwm", "{}"))
        if told.get("format") != FORMAT or told.get("version") != VERSION:
            raise InputError(path, f"{FORMAT} version {VERSION}", f"{told.get('format')} version {told.get('version')}")
        poses, times_s, context = (file.get_tensor(name).numpy() for name in ("world_from_rig", "times_s", "context"))
    cameras, kinds = tuple(told["cameras"]), tuple(told["kinds"])
    width, height = told["shape"]
    return Stored(
        path, told["name"], cameras, (width, height), told["tags"], told["drawn"], kinds, poses, times_s, context
    )


def read_cut(
    stored: Stored,
    cut: Cut,
    prior: int | None,  # number of the one wanted
) -> dict[str, Tensor]:
    """Of V cameras and T frames `latents` [V, T, C, h, w], `rays` [V, T, 6, h, w] and `layout` [V, T, m, h, w].

    With a prior also `prior` and `coverage` [V, T, ., h, w]. All float32, coverage and layout in [0, 1].

    Raises:
        InputError: missing or damaged.
    """
    views = slice(cut.first_view, cut.first_view + cut.views)
    span = slice(cut.first, cut.numbers[-1] + 1)
    with opened(stored.path, "latents") as file:
        found = {
            "latents": file.get_slice("latents")[views, span][:, :: cut.stride].float(),
            "rays": file.get_slice("rays")[views][:, None].float().expand(-1, cut.frames, -1, -1, -1),
            "layout": file.get_slice("layout")[views, span][:, :: cut.stride].float() / LEVELS,
        }
        if prior is not None:
            one = slice(prior, prior + 1)
            found["prior"] = file.get_slice("priors")[one, views, span][0, :, :: cut.stride].float()
            found["coverage"] = file.get_slice("coverage")[one, views, span][0, :, :: cut.stride].float() / LEVELS
    return found
