"""Windows of the published `storm` protocol (STORM, Yang et al. 2025), on any clip: `storm-windows`.

20 frames at 10 Hz from frame 0, 20, 40, ...; frames 0, 5, 10 and 15 of each are given, the other 16 are scored. A
window that would overrun the clip is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jwmtool.artifacts.clip import Clip, Split
from jwmtool.artifacts.cut import cut_frames
from jwmtool.errors import InputError, UsageError

LENGTH = 20
CONTEXT = (0, 5, 10, 15)
RATE_HZ = 10.0
_RATE_TOLERANCE = 0.1  # KITTI's 10 Hz are 9.7


@dataclass(frozen=True)
class Window:
    """Frames that are reconstructed from some of them and scored on the others.

    Attributes:
        first: its first frame, an index into the clip's frames.
        context, scored: what is given and what is scored; offsets from `first`, together 0 ... length - 1.
    """

    first: int
    context: tuple[int, ...]
    scored: tuple[int, ...]

    @property
    def length(self) -> int:
        """Frames, given and scored."""
        return len(self.context) + len(self.scored)


def windows(
    clip: Clip, length: int = LENGTH, context: tuple[int, ...] = CONTEXT, rate_hz: float | None = RATE_HZ
) -> list[Window]:
    """Cut a clip into windows that follow each other.

    Args:
        clip: with at least `length` frames.
        length: frames of a window.
        context: offsets of the frames that are given, each once, in [0, length).
        rate_hz: what the clip's rate has to be within a tenth; None: any.

    Raises:
        UsageError: a context that is none. InputError: the clip is too short or has another rate.
    """
    scored = tuple(i for i in range(length) if i not in context)
    if not context or not scored or len(set(context) & set(range(length))) != len(context):
        raise UsageError(f"windows: expected some of 0 to {length - 1}, each once, as context, found {context}")
    if len(clip.frames) < length:
        raise InputError(clip.root, f"at least {length} frames for a window", f"{len(clip.frames)}")
    if rate_hz is not None and abs(clip.rate_hz / rate_hz - 1.0) > _RATE_TOLERANCE:
        expected = f"{rate_hz:g} frames a second, as the windows of this protocol (--rate {rate_hz:g} at ingest)"
        raise InputError(clip.root, expected, f"{clip.rate_hz:.3g}")
    return [Window(first, tuple(sorted(context)), scored) for first in range(0, len(clip.frames) - length + 1, length)]


def window_clip(clip: Clip, window: Window) -> Clip:
    """The clip of one window, as a method may see it: its split withholds the scored frames, and nothing else is left.

    Frames and lidar sweeps outside the window are dropped, so are whole cameras that the clip withholds, and sparse
    points, which were triangulated from all pictures. Tracks stay whole. Its frame i is frame `first + i` of the clip;
    files lie where they lay.

    Raises:
        ValueError: the window overruns the clip.
    """
    if window.first < 0 or window.first + window.length > len(clip.frames):
        raise ValueError(f"window_clip: {window.length} frames from {window.first} on, of {len(clip.frames)}")
    names = [name for name in clip.cameras if name not in clip.split.cameras]
    part = cut_frames(clip, slice(window.first, window.first + window.length))
    return replace(
        part,
        cameras={name: clip.cameras[name] for name in names},
        frames=[replace(f, images={name: f.images[name] for name in f.images if name in names}) for f in part.frames],
        split=Split(frames=window.scored, rules=(f"frames={','.join(map(str, window.scored))}",)),
    )


def scene_files(folder: Path, found: Sequence[Window]) -> dict[int, Path]:
    """The scene of each window: `<first>.h5` in a folder, say `000000.h5` or `0.h5`, by the window's first frame.

    A clip of one window may have its scene as a file.

    Raises:
        InputError: a window without a scene or with two, a scene of no window, or no folder.
    """
    named = ", ".join(f"{w.first:06d}.h5" for w in found[:3]) + (", ..." if len(found) > 3 else "")
    if not folder.is_dir():
        if len(found) == 1 and folder.is_file():
            return {found[0].first: folder}
        raise InputError(folder, f"a folder with a scene for each window ({named})", _kind(folder))
    firsts = {w.first for w in found}
    files: dict[int, Path] = {}
    for file in sorted(folder.glob("*.h5")):
        first = int(file.stem) if file.stem.isascii() and file.stem.isdigit() else -1
        if first not in firsts or first in files:
            raise InputError(file, f"one scene for each window, named by its first frame ({named})", "another")
        files[first] = file
    missing = sorted(firsts - files.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(folder, f"a scene for each window ({named})", f"no {missing[0]:06d}.h5{more}")
    return files


def _kind(path: Path) -> str:
    return "one file" if path.is_file() else "no such folder"
