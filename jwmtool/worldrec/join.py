"""Joining finished scenes by their poses: what one observed well is not overwritten by what another saw worse.

There are no depth maps any more, so patches are held against patches (scene_cover.py); scenes without tokens are
compared by their Gaussians (cells.py). Every scene is held against all others as they came, so order does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.tokens import Tokens
from jwmtool.errors import UsageError
from jwmtool.gaussians.exposure import Exposure
from jwmtool.gaussians.model import Gaussians
from jwmtool.worldrec.cells import coarser_in_cells
from jwmtool.worldrec.lasting import everlasting
from jwmtool.worldrec.retell import DAY_S, retold
from jwmtool.worldrec.scene_cover import covered, surfaces
from jwmtool.worldrec.sky import fill

_SAME_PATH_M = 1.0  # two paths at one time are one drive's if they are within this


def join_scenes(scenes: Sequence[Scene]) -> Scene:
    """One scene of several, in the frame of the first, its times from the earliest origin of the last day.

    Raises:
        UsageError: fewer than two, or too far apart.
    """
    if len(scenes) < 2:
        raise UsageError(f"fuse: expected two scenes or more, found {len(scenes)}")
    latest = max(scene.time_origin_us for scene in scenes)
    origin = min(t for t in (scene.time_origin_us for scene in scenes) if latest - t < DAY_S * 1e6)
    told = [retold(scene, scenes[0].world_from_scene, origin) for scene in scenes]
    before = np.cumsum([0, *(len(scene.actors) for scene in told)]).tolist()
    numbered = [
        scene.gaussians.replace(actor=torch.where(scene.gaussians.actor >= 0, scene.gaussians.actor + k, -1).int())
        for scene, k in zip(told, before[:-1], strict=True)
    ]
    with_tokens = [scene.tokens for scene in told if scene.tokens is not None]
    if len(with_tokens) == len(told):
        parts = _by_tokens(numbered, with_tokens)
    else:
        lost = coarser_in_cells(numbered)
        parts = [_without(g, s.tokens, gone) for g, s, gone in zip(numbered, told, lost, strict=True)]
    gaussians = Gaussians.concat([g for g, _ in parts])
    tokens = Tokens.concat([t for _, t in parts]) if with_tokens else None
    return replace(beside(told), gaussians=gaussians, tokens=tokens)


def beside(scenes: Sequence[Scene]) -> Scene:
    """What joins beside Gaussians and tokens, which are the first scene's here: sky, exposure, cameras, paths, actors.

    Args:
        scenes: in one frame, with one time origin.
    """
    times_us, path = _paths(scenes)
    sky, sky_weight = _joined_sky(scenes)
    return replace(
        scenes[0],
        sky=sky,
        sky_weight=sky_weight,
        exposure=_exposures(scenes),
        cameras={name: camera for scene in reversed(scenes) for name, camera in scene.cameras.items()},
        ego_times_us=times_us,
        ego_world_from_rig=path,
        actors=[actor for scene in scenes for actor in scene.actors],
        history=[record for scene in scenes for record in scene.history],
    )


def _by_tokens(gaussians: list[Gaussians], tokens: list[Tokens]) -> list[tuple[Gaussians, Tokens]]:
    whole, everything = Tokens.concat(tokens), Gaussians.concat(gaussians)
    seen = surfaces(everything, whole)
    scene = torch.repeat_interleave(torch.arange(len(tokens)), torch.tensor([len(t) for t in tokens]))
    heirs, gone = whole, torch.zeros(len(whole), dtype=torch.bool)
    known = gone.clone()
    for i in range(len(tokens)):
        mine, theirs = (scene == i).nonzero()[:, 0], (scene != i).nonzero()[:, 0]
        lost, left, heir = covered(seen.rows(mine), seen.rows(theirs), scene[theirs] < i)
        gone[mine] = lost
        # Who was not there when the other was seen stands for it too from now on.
        known[theirs[heir]] = True
        heirs = _inherited(heirs, theirs[heir], whole.rows(mine[left]))
    kept, stays = replace(heirs, of_gaussian=whole.of_gaussian).select(~gone)
    return [(everlasting(everything.select(stays), kept, known[~gone]), kept)]


def _inherited(heirs: Tokens, rows: Tensor, left: Tokens) -> Tokens:
    """Tokens of which some (`rows`) take over what others, one for each, knew of their place."""

    def most(values: Tensor) -> Tensor:
        return torch.zeros_like(heirs.support).scatter_reduce(0, rows, values, "amax")

    return replace(
        heirs,
        support=heirs.support + most(left.support + 1.0),
        asked=heirs.asked + most(left.asked + 1.0),
        first_s=heirs.first_s.scatter_reduce(0, rows, left.first_s, "amin"),
        last_s=heirs.last_s.scatter_reduce(0, rows, left.last_s, "amax"),
    )


def _without(gaussians: Gaussians, tokens: Tokens | None, gone: Tensor) -> tuple[Gaussians, Tokens]:
    tokens = (Tokens.empty(len(gaussians)) if tokens is None else tokens).select_gaussians(~gone)
    used = torch.zeros(len(tokens), dtype=torch.bool)
    used[tokens.of_gaussian[tokens.of_gaussian >= 0].long()] = True
    return gaussians.select(~gone), tokens.select(used)[0]


def sky_sums(scene: Scene, size: int) -> Tensor | None:
    """[6, size, size, 4] what `splat_sky` would have left: colors times weights, and weights; 1 where unknown."""
    if scene.sky is None:
        return None
    weight = torch.ones_like(scene.sky[..., 0]) if scene.sky_weight is None else scene.sky_weight
    total = torch.cat([scene.sky * weight[..., None], weight[..., None]], -1)
    return interpolate(total.permute(0, 3, 1, 2), size=(size, size), mode="bilinear").permute(0, 2, 3, 1)


def _joined_sky(scenes: Sequence[Scene]) -> tuple[Tensor | None, Tensor | None]:
    """The mean by weights, as large as the largest, and the weights."""
    size = max((scene.sky.shape[1] for scene in scenes if scene.sky is not None), default=0)
    sums = [total for total in (sky_sums(scene, size) for scene in scenes) if total is not None]
    if not sums:
        return None, None
    total = torch.stack(sums).sum(0)
    known = any(scene.sky_weight is not None for scene in scenes)
    return fill(total), total[..., 3] if known else None


def _exposures(scenes: Sequence[Scene]) -> dict[str, Exposure]:
    """By camera and time; where two scenes have the same, their mean."""
    found: dict[str, dict[int, list[Tensor]]] = {}
    for scene in scenes:
        for name, exposure in scene.exposure.items():
            maps = found.setdefault(name, {})
            for time_us, affine in zip(exposure.times_us.tolist(), exposure.affine, strict=True):
                maps.setdefault(time_us, []).append(affine)
    return {
        name: Exposure(
            np.array(sorted(maps), np.int64), torch.stack([torch.stack(maps[t]).mean(0) for t in sorted(maps)])
        )
        for name, maps in found.items()
    }


def _paths(scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """The recorded paths one after the other; of drives that ran at the same time elsewhere, the longest one's."""
    order = sorted(scenes, key=lambda scene: -len(scene.ego_times_us))
    poses: dict[int, np.ndarray] = {}
    for scene in order:
        times = scene.ego_times_us.tolist()
        known = np.array(sorted(poses), np.int64)
        inside = [t for t in times if len(known) and known[0] <= t <= known[-1]]
        if inside and not _same_drive(poses, known, scene, inside):
            continue
        for time_us, pose in zip(times, scene.ego_world_from_rig, strict=True):
            poses.setdefault(time_us, pose)
    times_us = np.array(sorted(poses), np.int64)
    return times_us, np.stack([poses[t] for t in times_us.tolist()]) if poses else np.zeros((0, 4, 4))


def _same_drive(poses: dict[int, np.ndarray], known: np.ndarray, scene: Scene, inside: list[int]) -> bool:
    positions = np.stack([poses[t][:3, 3] for t in known.tolist()])
    at = np.stack([np.interp(inside, known, positions[:, axis]) for axis in range(3)], 1)
    mine = scene.ego_world_from_rig[np.searchsorted(scene.ego_times_us, inside), :3, 3]
    return bool(np.linalg.norm(at - mine, axis=1).max() < _SAME_PATH_M)
