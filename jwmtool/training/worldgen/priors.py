"""Priors to learn from: what WorldRec's scenes of a few frames show at others, and pictures made worse.

Scenes are made of the first frames, so that the others lie ahead, or of frames with others between them. So the model
sees what it gets when it makes video: renders with holes, doubled edges and stretched surfaces, which it must repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip, Split
from jwmtool.geometry import se3
from jwmtool.imaging.push_pull import push_pull
from jwmtool.rendering.filled import filled_view
from jwmtool.rendering.timeline import Timeline
from jwmtool.rendering.view import on_device
from jwmtool.training.autoencoder.degrade import degraded
from jwmtool.training.autoencoder.pictures import Shape
from jwmtool.worldgen.reference import Reference, References, stacked
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.stream import reconstruct_clip

Floats = NDArray[np.float32]
LEAST_CONTEXT = 3  # frames
_MOST_VIEWS = 12  # pictures that a scene is made of: its time goes there
_EVERY = (2, 5)  # from the first to before the second


@dataclass(frozen=True)
class Filled:
    """A prior of V cameras and T frames.

    Attributes:
        color: [V, T, H, W, 3] in [0, 1], without holes; coverage: [V, T, H, W].
        context: [T] bool, the frames that it was made of.
        reference: [V, T, ...], what the scene shows from the nearest of these, if asked for.
    """

    color: Floats
    coverage: Floats
    context: NDArray[np.bool_]
    reference: Reference | None = None


def frames_ahead(num_frames: int, cameras: int, rng: np.random.Generator) -> list[int]:
    """The first few frames, at most about half of them."""
    most = min(num_frames // 2, _most(cameras))
    return list(range(int(rng.integers(LEAST_CONTEXT, max(LEAST_CONTEXT, most) + 1))))


def frames_between(num_frames: int, cameras: int, rng: np.random.Generator) -> list[int]:
    """Every second to fourth frame; of many, the first ones."""
    step = min(int(rng.integers(*_EVERY)), max(1, (num_frames - 1) // (LEAST_CONTEXT - 1)))
    return list(range(0, num_frames, step))[: _most(cameras)]


def rendered(
    clip: Clip,
    model: WorldRec,
    context: Sequence[int],
    names: Sequence[str],
    shape: Shape,
    device: str,
    with_reference: bool = False,
    made_of: Sequence[str] | None = None,
) -> Filled | None:
    """What a scene of some frames shows at all frames of a clip; None if nothing came of it.

    Args:
        clip: with pictures of all `names` in all frames.
        model: on `device`.
        context: frames.
        made_of: cameras that the scene is made of; None: all of `names`. Others are the first of these on other paths.

    Raises:
        InputError: a picture is missing or damaged.
    """
    makers = names if made_of is None else made_of
    keys = [(frame, name) for frame in context for name in makers]
    scene = on_device(reconstruct_clip(replace(clip, split=Split()), model, keys=keys, device=device), device)
    if not len(scene.gaussians):
        return None
    color = np.zeros((len(names), len(clip.frames), shape[1], shape[0], 3), np.float32)
    coverage = np.zeros(color.shape[:4], np.float32)
    # What was not looked at is no part of the recording: the scene is held from the last frame that was.
    seen = np.isin(scene.ego_times_us, clip.times_us[list(context)])
    seen_scene = replace(
        scene, ego_times_us=scene.ego_times_us[seen], ego_world_from_rig=scene.ego_world_from_rig[seen]
    )
    timeline = Timeline(seen_scene)
    nearest = References(seen_scene, timeline)
    found: list[list[Reference]] = [[] for _ in names]
    for frame in range(len(clip.frames)):
        for view, name in enumerate(names):
            camera, time_us = clip.camera_at(frame, name).resized(*shape), clip.frames[frame].images[name].time_us
            known = name if name in makers else makers[0]
            _, filled = filled_view(timeline, camera, time_us, known)
            color[view, frame], coverage[view, frame] = filled.color, filled.coverage
            if with_reference:
                rig = camera.world_from_cam @ se3.inverse(clip.cameras[known].rig_from_cam)
                found[view].append(nearest.of(camera, rig, known, time_us))
    shown = np.zeros(len(clip.frames), bool)
    shown[list(context)] = True
    return Filled(color, coverage, shown, stacked(found) if with_reference else None)


def imitated(
    pictures: Floats,  # [V, T, H, W, 3] in [0, 1]
    rng: np.random.Generator,
) -> Filled:
    """The pictures made worse; for one frame, for a few or for all alike, as errors of a scene last."""
    color, coverage = np.zeros_like(pictures), np.zeros(pictures.shape[:4], np.float32)
    seed, lasts = int(rng.integers(2**31)), int(rng.choice([1, 4, len(pictures[0])]))
    for view, frame in np.ndindex(pictures.shape[:2]):
        worse, covered = degraded(pictures[view, frame], np.random.default_rng((seed, view, frame // lasts)))
        color[view, frame] = push_pull(worse, covered[..., 0]).clip(0.0, 1.0)
        coverage[view, frame] = covered[..., 0]
    return Filled(color, coverage, np.zeros(pictures.shape[1], bool))


def _most(cameras: int) -> int:
    return max(LEAST_CONTEXT, _MOST_VIEWS // cameras)
