"""Windows of a clip: which pictures the network is given and which it is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.errors import InputError
from jwmtool.training.clips import MIN_FRAMES, Part

Key = tuple[int, str]  # frame, camera

_OWN, _BEYOND, _ASIDE = 0.12, 0.2, 0.12  # how often a target is at a context's time, beyond them, of another camera
_APART = 0.8  # how often context frames have others between them, where they can
_SLACK_S = 1e-3
_SCORED_SPAN_S, _SCORED_CONTEXT, _SCORED_TARGETS = 2.0, 4, 4


@dataclass(frozen=True)
class Sampling:
    """What windows are drawn; see `draw_window`.

    Attributes:
        span_s: shortest and longest window; gap_s: likewise between its context frames. Clips that are shorter or
            slower give what they have.
        max_frames, max_cameras, max_views: of context.
        targets: fewest and most target views.
    """

    span_s: tuple[float, float] = (0.8, 2.2)
    gap_s: tuple[float, float] = (0.1, 0.6)
    max_frames: int = 5
    max_cameras: int = 3
    max_views: int = 6
    targets: tuple[int, int] = (3, 4)


@dataclass(frozen=True)
class Window:
    """Pictures given and to be rendered. The rig at frame `middle` is the scene's frame, its time the scene's zero."""

    context: tuple[Key, ...]
    targets: tuple[Key, ...]
    middle: int


def draw_window(clip: Clip, part: Part, rng: np.random.Generator, sampling: Sampling) -> Window:
    """Draw a window of a clip; withheld pictures are in none.

    Some cameras that follow each other in the rig's list; context frames about evenly apart, in a run of frames;
    targets between them, sometimes up to one gap beyond them, at a context frame's own time, or of a camera beside.

    Raises:
        InputError: too few frames that are not withheld have pictures.
    """
    names = _names(clip)
    count = int(rng.integers(1, min(sampling.max_cameras, len(names), sampling.max_views // 2) + 1))
    first_camera = int(rng.integers(len(names) - count + 1))
    cameras = names[first_camera : first_camera + count]
    frames = _frames(clip, part, cameras)
    if len(frames) < MIN_FRAMES:
        cameras, frames = _fullest(clip, part, names)
    run, seconds, step = _run(clip, frames, rng, sampling)
    picked, gap = _context(seconds, step, sampling.max_views // len(cameras), rng, sampling)
    first, last = seconds[picked[0]] - gap - _SLACK_S, seconds[picked[-1]] + gap + _SLACK_S
    near = [i for i, s in enumerate(seconds) if first <= s <= last]
    context = [run[i] for i in picked]
    targets = _targets(clip, context, [run[i] for i in near], cameras, rng, sampling)
    return Window(tuple((frame, name) for frame in context for name in cameras), targets, context[len(context) // 2])


def scored_window(clip: Clip, part: Part, sampling: Sampling) -> Window:
    """The window on which a clip kept away is scored: always the same; four context frames within two seconds.

    Raises:
        InputError: as `draw_window`.
    """
    names = _names(clip)
    count = min(len(names), max(1, sampling.max_views // _SCORED_CONTEXT))
    first = (len(names) - count) // 2
    cameras = names[first : first + count]
    frames = _frames(clip, part, cameras)
    if len(frames) < MIN_FRAMES:
        cameras, frames = _fullest(clip, part, names)
    seconds = clip.times_us[frames] * 1e-6
    run = [frame for frame, s in zip(frames, seconds, strict=True) if s <= seconds[0] + _SCORED_SPAN_S]
    if len(run) < MIN_FRAMES:
        run = frames[:MIN_FRAMES]
    context = _spread(run, min(_SCORED_CONTEXT, (len(run) + 1) // 2))
    targets = _spread([frame for frame in run if frame not in context], _SCORED_TARGETS)
    return Window(
        tuple((frame, name) for frame in context for name in cameras),
        tuple((frame, name) for frame in targets for name in cameras),
        context[len(context) // 2],
    )


def _run(
    clip: Clip, frames: list[int], rng: np.random.Generator, sampling: Sampling
) -> tuple[list[int], NDArray[np.float64], float]:
    """Frames that follow each other, when they were taken (seconds from the first), and the clip's usual step, s."""
    times_us = clip.times_us[frames]
    step = float(np.median(np.diff(times_us))) * 1e-6
    length = max(MIN_FRAMES, round(float(rng.uniform(*sampling.span_s)) / step) + 1)
    begin = int(rng.integers(max(0, len(frames) - length) + 1))
    part = slice(begin, begin + length)
    return frames[part], (times_us[part] - times_us[begin]) * 1e-6, step


def _context(
    seconds: NDArray[np.float64], step: float, most: int, rng: np.random.Generator, sampling: Sampling
) -> tuple[list[int], float]:
    """Which of a run's frames are given, at least two and at most `most`, and about how far apart they are, s."""
    whole = float(seconds[-1])
    number = int(rng.integers(2, max(2, min(sampling.max_frames, most, len(seconds) - 1)) + 1))
    most_steps = max(1, int(min(sampling.gap_s[1], whole / (number - 1)) / step + 0.25))
    fewest_steps = max(1, min(most_steps, math.ceil(sampling.gap_s[0] / step - 0.25)))
    if fewest_steps == 1 and rng.random() < _APART:
        fewest_steps = min(2, most_steps)
    gap = int(rng.integers(fewest_steps, most_steps + 1)) * step
    start = float(rng.uniform(0.0, max(0.0, whole - gap * (number - 1))))
    picked = sorted({int(np.abs(seconds - start - k * gap).argmin()) for k in range(number)})
    return (picked if len(picked) >= 2 else [0, len(seconds) - 1]), gap


def _targets(
    clip: Clip, context: list[int], near: list[int], cameras: list[str], rng: np.random.Generator, sampling: Sampling
) -> tuple[Key, ...]:
    """Pictures to render, of the frames `near` the context's; at least one."""
    between = [frame for frame in near if context[0] < frame < context[-1] and frame not in context]
    beyond = [frame for frame in near if not context[0] <= frame <= context[-1]]
    kinds = [kind for kind in ((1.0 - _OWN - _BEYOND, between), (_BEYOND, beyond), (_OWN, context)) if kind[1]]
    shares = np.array([share for share, _ in kinds]) / sum(share for share, _ in kinds)
    aside = _beside(clip, cameras)
    wanted = int(rng.integers(sampling.targets[0], sampling.targets[1] + 1))
    found: dict[Key, None] = {}
    for _ in range(4 * wanted):  # draws that repeat are dropped
        frames = kinds[int(rng.choice(len(kinds), p=shares))][1]
        frame = frames[int(rng.integers(len(frames)))]
        pool = aside if aside and rng.random() < _ASIDE else cameras
        name = pool[int(rng.integers(len(pool)))]
        if name in clip.frames[frame].images and len(found) < wanted:
            found[frame, name] = None
    return tuple(found) or ((context[0], cameras[0]),)


def _names(clip: Clip) -> list[str]:
    return [name for name in clip.cameras if name not in clip.split.cameras]


def _beside(clip: Clip, cameras: list[str]) -> list[str]:
    """The cameras before the first and after the last of some, in the rig's list."""
    names = _names(clip)
    first, last = names.index(cameras[0]), names.index(cameras[-1])
    return names[max(0, first - 1) : first] + names[last + 1 : last + 2]


def _frames(clip: Clip, part: Part, cameras: Sequence[str]) -> list[int]:
    """Frames with pictures of all these cameras, none of them withheld."""
    return [
        i
        for i in range(part.first, part.end)
        if all(name in clip.frames[i].images and not clip.split.withholds(i, name) for name in cameras)
    ]


def _fullest(clip: Clip, part: Part, names: list[str]) -> tuple[list[str], list[int]]:
    """The single camera with most frames: cameras that never fire in the same frame make no window together."""
    found = [([name], _frames(clip, part, [name])) for name in names]
    best = max(found, key=lambda item: len(item[1]), default=([], []))
    if len(best[1]) < MIN_FRAMES:
        raise InputError(clip.root, f"at least {MIN_FRAMES} frames of a camera to train on", f"{len(best[1])}")
    return best


def _spread(frames: list[int], count: int) -> list[int]:
    """Some of the frames, evenly, both ends included."""
    if len(frames) <= count:
        return frames
    return [frames[round(k * (len(frames) - 1) / max(1, count - 1))] for k in range(count)]
