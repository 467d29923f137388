"""Streaming a new drive into a scene that is there: what it shows better takes over, what it does not see stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.tokens import Tokens
from jwmtool.errors import InputError
from jwmtool.rendering.timeline import APART_US, Drive, drives_of, nearest_drive
from jwmtool.worldrec.join import beside, sky_sums
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.plan import Key
from jwmtool.worldrec.retell import DAY_S, check_near, retold
from jwmtool.worldrec.scene_cover import life_spans
from jwmtool.worldrec.state import State
from jwmtool.worldrec.stream import Chunk, Stream, Tick, chunk

_CELL_M = 50.0  # of the chunks that a scene is cut into


def extend_scene(
    scene: Scene,
    clip: Clip,
    model: WorldRec,
    *,
    keys: Sequence[Key] | None = None,
    device: str = "cpu",
    tick: Tick | None = None,
) -> Scene:
    """A scene and a clip of the same world as one scene, in the scene's frame.

    Args:
        scene: with tokens.
        model: by sparse queries, on `device`.
        keys, tick: as `reconstruct_clip`.

    Raises:
        InputError: there are no pictures to look at, or one is missing or damaged.
        UsageError: the two lie too far apart.
        ValueError: the scene has no tokens.
    """
    if scene.tokens is None:
        raise ValueError("extend_scene: expected a scene with tokens, found none")
    keys = clip.images(withheld=False) if keys is None else list(keys)
    if not keys:
        raise InputError(clip.root, "pictures to reconstruct from", "none that are not withheld")
    start_us = clip.frames[0].time_us
    far = abs(start_us - scene.time_origin_us) >= DAY_S * 1e6
    scene = retold(scene, scene.world_from_scene, start_us if far else scene.time_origin_us)
    check_near(scene.world_from_scene, clip.frames[0].world_from_rig)
    stream = Stream(model, scene.world_from_scene, scene.time_origin_us, device)
    stream.guests, stream.frozen = left_by(scene, clip)
    total = sky_sums(scene, model.config.sky_size)
    stream.sky = None if total is None else total.to(device)
    stream.extend(clip, keys, tick=tick)
    grown = stream.scene(clip)
    # Gaussians that stayed are numbered by the scene's actors, which come first; the clip has none of its own.
    both = beside([scene, grown])
    return replace(
        grown,
        exposure=both.exposure,
        cameras=both.cameras,
        actors=both.actors,
        history=both.history,
        ego_times_us=both.ego_times_us,
        ego_world_from_rig=both.ego_world_from_rig,
    )


def left_by(scene: Scene, clip: Clip) -> tuple[list[tuple[Drive, list[Chunk]]], list[Chunk]]:
    """A scene as what each of the other drives left, and as what the drive left that the clip goes on with."""
    drives = drives_of(scene)
    first_us, last_us = int(clip.times_us[0]), int(clip.times_us[-1])
    other = [d.times_us[0] > last_us + APART_US or d.times_us[-1] < first_us - APART_US for d in drives]
    left: list[list[Chunk]] = [[] for _ in drives]
    mine = []
    for piece in chunks(scene):
        if not any(other) or not len(piece.state.tokens):
            mine.append(piece)
            continue
        which = nearest_drive(scene, drives, life_spans(piece.state.gaussians, piece.state.tokens)[0])
        for k, pieces in enumerate(left):
            if bool((which == k).any()):
                (pieces if other[k] else mine).append(chunk(piece.state.select(which == k)))
    return [(drive, pieces) for drive, pieces in zip(drives, left, strict=True) if pieces], mine


def chunks(scene: Scene) -> list[Chunk]:
    """A scene cut into chunks that a stream can take up again: one for each cell of the ground, one of no token."""
    tokens = Tokens.empty(len(scene.gaussians)) if scene.tokens is None else scene.tokens
    state = State.of(scene.gaussians, tokens)
    alone = tokens.of_gaussian < 0
    found = []
    if bool(alone.any()):
        loose = scene.gaussians.select(alone)
        found.append(chunk(State.of(loose, Tokens.empty(len(loose)))))
        state = replace(state, gaussians=scene.gaussians.select(~alone), tokens=tokens.select_gaussians(~alone))
    cells = torch.floor(tokens.anchor[:, :2] / _CELL_M).long()
    _, which = torch.unique(cells, dim=0, return_inverse=True)
    return found + [chunk(state.select(which == k)) for k in range(int(which.max()) + 1 if len(which) else 0)]
