"""Which clips a training uses, and which are kept away to score it."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError, UsageError

MIN_FRAMES = 3  # of a scene: two of context, one between
HELD_OUT_SHARE, MAX_HELD_OUT = 0.05, 8
_LAST_SHARE, _LAST_FRAMES = 0.2, 6  # of an only clip
_OPEN_CLIPS = 1024
_TRIES = 16  # draws, until one fits


@dataclass(frozen=True)
class Part:
    """A clip folder, and which of its frames may be used: [first, end)."""

    folder: Path
    first: int
    end: int

    @property
    def num_frames(self) -> int:
        """Withheld ones included."""
        return self.end - self.first


@dataclass(frozen=True)
class Data:
    """Training parts by the argument that named them, and parts for scoring."""

    training: tuple[tuple[Part, ...], ...]
    held_out: tuple[Part, ...]

    def draw(self, rng: np.random.Generator) -> Part:
        """A part for training: each argument equally often, then each of its clips."""
        group = self.training[int(rng.integers(len(self.training)))]
        return group[int(rng.integers(len(group)))]

    def draw_fitting(self, rng: np.random.Generator, fits: Callable[[Part], bool]) -> Part:
        """One that fits, of which there is one."""
        for _ in range(_TRIES):
            part = self.draw(rng)
            if fits(part):
                return part
        return next(part for group in self.training for part in group if fits(part))

    def document(self) -> dict[str, Any]:
        """As JSON: folders, frames, and the hash of each clip.json."""

        def told(part: Part) -> dict[str, Any]:
            digest = hashlib.sha256((part.folder / "clip.json").read_bytes()).hexdigest()
            return {"clip": str(part.folder), "frames": [part.first, part.end], "sha256": digest}

        return {"training": [[told(p) for p in g] for g in self.training], "held_out": [told(p) for p in self.held_out]}


def gather(arguments: Sequence[Path], held_out: Sequence[Path] = (), least: int = MIN_FRAMES) -> Data:
    """Find the clips of arguments, each a clip folder or a folder of clip folders.

    Of `held_out` at most eight clips are taken, evenly. Without, one clip in twenty, at least one and at most eight, is
    kept from training; of an only clip, the last fifth of its frames.

    Args:
        least: frames of a clip that can be trained on.

    Raises:
        InputError: no clip, a damaged one, or one too short. UsageError: a clip for both.
    """
    groups = [[_whole(folder, least) for folder in find_clips(argument)] for argument in arguments]
    if not groups:
        raise UsageError("training: expected clips (--data DIR), found none")
    kept = [_whole(folder, least) for argument in held_out for folder in find_clips(argument)]
    if not kept:
        groups, kept = _split(groups)
    elsewhere = {part.folder.resolve() for part in kept} if held_out else set()
    for part in (p for group in groups for p in group):
        if part.folder.resolve() in elsewhere:
            raise UsageError(f"{part.folder}: expected clips for training or for scoring, found one in both")
    return Data(tuple(tuple(group) for group in groups if group), tuple(_evenly(kept, MAX_HELD_OUT)))


def find_clips(argument: Path) -> list[Path]:
    """The clip folder that an argument is, or those in it, by name; the first is read whole, to see that it can be.

    Raises:
        InputError: there is none, or the first is damaged.
    """
    if (argument / "clip.json").is_file() or not argument.is_dir():
        folders = [argument]
    else:
        # A folder whose name begins with a dot is one still being written.
        inside = sorted(path.parent for path in argument.glob("*/clip.json"))
        folders = [folder for folder in inside if not folder.name.startswith(".")]
    if not folders:
        raise InputError(argument, "a clip folder, or a folder of them (jwm world --count makes one)", "no clip")
    read_clip(folders[0])
    return folders


class OpenClips:
    """Clips read so far, for any thread; of what they tell only what training needs is kept in memory."""

    def __init__(self) -> None:
        self._clips: OrderedDict[Path, Clip] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, folder: Path) -> Clip:
        """The clip of a folder.

        Raises:
            InputError: damaged.
        """
        with self._lock:
            if folder in self._clips:
                self._clips.move_to_end(folder)
                return self._clips[folder]
        clip = read_clip(folder)
        clip = replace(clip, tracks=[], provenance=[], extras={k: v for k, v in clip.extras.items() if k == "truth"})
        with self._lock:
            self._clips[folder] = clip
            if len(self._clips) > _OPEN_CLIPS:
                self._clips.popitem(last=False)
        return clip


def _whole(folder: Path, least: int) -> Part:
    """All of a clip. Only counts: reading and checking hundreds of clips whole would take minutes."""
    document = read_json(folder / "clip.json")
    frames, split = document.get("frames"), document.get("split", {})
    if not isinstance(frames, list) or not isinstance(split, dict) or not isinstance(split.get("frames", []), list):
        read_clip(folder)  # says what is wrong
        raise InputError(folder, "a clip", "another document")
    withheld = len(split.get("frames", []))
    if len(frames) - withheld < least:
        found = f"{len(frames)}" + (f", of which {withheld} are withheld" if withheld else "")
        raise InputError(folder, f"at least {least} frames to train on", found)
    return Part(folder, 0, len(frames))


def _split(groups: list[list[Part]]) -> tuple[list[list[Part]], list[Part]]:
    """Keep some parts for scoring, evenly from all arguments that name several clips (from all, if none does)."""
    total = sum(map(len, groups))
    if total == 1:
        return _split_frames(groups[0][0])
    several = any(len(group) > 1 for group in groups)
    choice = [part for group in groups if len(group) > 1 or not several for part in group]
    count = min(MAX_HELD_OUT, max(1, round(HELD_OUT_SHARE * total)), len(choice) - 1)
    kept = _evenly(choice, count)
    return [[part for part in group if part not in kept] for group in groups], kept


def _evenly(parts: list[Part], count: int) -> list[Part]:
    return parts if len(parts) <= count else [parts[int((k + 0.5) * len(parts) / count)] for k in range(count)]


def _split_frames(part: Part) -> tuple[list[list[Part]], list[Part]]:
    last = max(_LAST_FRAMES, round(_LAST_SHARE * part.num_frames))
    if part.num_frames < last + _LAST_FRAMES:
        expected = f"at least {2 * _LAST_FRAMES} frames in an only clip, whose last ones score (or more clips)"
        raise InputError(part.folder, expected, f"{part.num_frames}")
    cut = part.end - last
    return [[replace(part, end=cut)]], [replace(part, first=cut)]
