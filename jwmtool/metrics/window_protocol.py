"""The protocol `storm-windows`: a scene for each window of a clip, scored on the frames that it was not given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.metrics.depth import depth_truth
from jwmtool.metrics.names import IMAGE_NAMES
from jwmtool.metrics.pairs import Tick, cameras_told, scene_pair
from jwmtool.metrics.scores import Pair, Scores, score_pairs
from jwmtool.metrics.windows import Window, window_clip, windows
from jwmtool.rendering.timeline import Timeline

WINDOWS_PROTOCOL = "storm-windows"


def score_windows(
    scene_of: Callable[[Window], Scene],
    clip: Clip,
    names: tuple[str, ...] = IMAGE_NAMES,
    depth: bool = True,
    tick: Tick | None = None,
    moving: tuple[str, ...] | None = None,
) -> Scores:
    """Score a clip by the protocol `storm-windows`, a scene for each window; see `windows.py`.

    Args:
        scene_of: gives the scene of a window, reconstructed from `window_clip(clip, window)` by whatever method; asked
            once for each window, in order.
        clip: 20 frames at 10 Hz or more.
        names, depth, tick, moving: as `score_scene`.

    Returns:
        Scores of all windows' scored frames; rows count frames through the whole clip.

    Raises:
        InputError: the clip has no such windows, or a picture is missing or damaged.
    """
    found = windows(clip)
    inside = names if moving is None else moving
    against = depth_truth(clip) if depth else None
    parts = [(window, window_clip(clip, window)) for window in found]
    keys = {window.first: part.images(withheld=True) for window, part in parts}
    total, notes = sum(map(len, keys.values())), []

    def pairs() -> Iterator[Pair]:
        done = 0
        for window, part in parts:
            scene = scene_of(window)
            notes.extend(_window_notes(scene, part, window))
            timeline = Timeline(scene)
            for key in keys[window.first]:
                pair = scene_pair(timeline, part, key, against, bool(inside))
                yield replace(pair, frame=window.first + pair.frame)
                done += 1
                if tick is not None:
                    tick(done, total)

    scores = score_pairs(pairs(), WINDOWS_PROTOCOL, "withheld", names, region_names=inside)
    window = found[0]
    given = ", ".join(map(str, window.context))
    setting = (
        f"{len(found)} window{'s' if len(found) > 1 else ''} of {window.length} frames at {clip.rate_hz:.3g} Hz, "
        f"{cameras_told(parts[0][1])}; given frames {given} of each, the other {len(window.scored)} scored"
    )
    return replace(scores, notes=tuple(notes), setting=setting, depth_truth=against, windows=tuple(found))


def _window_notes(scene: Scene, clip: Clip, window: Window) -> list[str]:
    """Whether the scene of a window's clip was fitted to more than the pictures given."""
    fitted = {(name, int(time_us)) for name, exposure in scene.exposure.items() for time_us in exposure.times_us}
    given = {(name, clip.frames[i].images[name].time_us) for i, name in clip.images(withheld=False)}
    count = len(fitted - given)
    return [f"the scene of window {window.first} was fitted to {count} pictures that were not given"] if count else []
