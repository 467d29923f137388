"""A scene at any time and from any place: what stands is shown as it was seen when the ego was there.

Fused scenes hold a surface for as long as it was the best view of a place, so a life tells where the ego was rather
than what happened. The time of what moves is the clock's; the time of what stands is that at which the ego, on each
drive over the road, came nearest to where the camera is now. What comes far nearer than it was ever seen is unknown.
"""

# G Gaussians, F poses of the ego's path.
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.tokens import NEVER_S
from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

APART_US = 30_000_000  # between poses of two drives
_NEAR_M = 15.0  # farther from a drive's path nothing is known of what that drive would have shown
_SAME_M = 0.25  # of poses about as near that of the nearest time counts
_NEARER = 3.0  # times as near as it was seen from what stands begins to fade, and at half as much again it is gone
_FAINT = 0.01  # of their opacity: what has less left is not rendered


@dataclass(frozen=True)
class Drive:
    """Part of the path without a gap: times [F] us, rising; places [F, 3] of the rig, world."""

    times_us: NDArray[np.int64]
    places: NDArray[np.float64]

    def nearest_us(self, place: NDArray[np.float64], time_us: int) -> int | None:
        """When the ego came nearest to a place, if possible at or about `time_us`; None if it never came near."""
        times, places = self.times_us, self.places
        if times[0] <= time_us <= times[-1]:
            here = np.array([np.interp(time_us - times[0], times - times[0], places[:, axis]) for axis in range(3)])
            times, places = np.append(times, time_us), np.vstack([places, here])
        away_m = np.linalg.norm(places - place, axis=1)
        if away_m.min() > _NEAR_M:
            return None
        close = np.flatnonzero(away_m <= away_m.min() + _SAME_M)
        if abs(time_us - self.clipped_us(time_us)) > APART_US:  # of another drive: while it stood, no time is nearer
            return int(times[close[len(close) // 2]])
        return int(times[close[np.abs(times[close] - time_us).argmin()]])

    def clipped_us(self, time_us: int) -> int:
        """The time itself, or the drive's beginning or end."""
        return int(np.clip(time_us, self.times_us[0], self.times_us[-1]))


class Timeline:
    """A scene through all time. Before its recording what moves stays as it was first seen; after it, it goes on.

    Args:
        scene: on the device that shall render.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._drives = [] if scene.gaussians.is_static else drives_of(scene)
        self._lives: _Lives | None = None

    def at(self, time_us: int, camera: Camera | None = None, camera_name: str | None = None) -> Scene:
        """The scene to render at a time.

        Args:
            camera: who looks, posed in the world; None: one who is where the ego was at that time.
            camera_name: of the scene's rig; others stand where the ego stands.
        """
        if not self._drives:
            return self._scene
        outside = [abs(time_us - drive.clipped_us(time_us)) for drive in self._drives]
        own = int(np.argmin(outside))
        last_us = self._drives[own].clipped_us(time_us)
        then_us: list[int | None] = [None for _ in self._drives]
        if camera is not None:
            place = self._place(camera, camera_name)
            then_us = [drive.nearest_us(place, time_us) for drive in self._drives]
        if then_us[own] is None:
            then_us[own] = last_us
        if all(t == time_us if k == own else t is None for k, t in enumerate(then_us)):
            return self._scene
        gaussians = self._shown(time_us, last_us, then_us, camera)
        return replace(self._scene, gaussians=gaussians, tokens=None)

    def _place(self, camera: Camera, name: str | None) -> NDArray[np.float64]:
        known = self._scene.cameras.get(name) if name is not None else None
        world_from_cam = np.asarray(camera.world_from_cam)
        world_from_rig = world_from_cam if known is None else world_from_cam @ se3.inverse(known.rig_from_cam)
        place: NDArray[np.float64] = world_from_rig[:3, 3]
        return place

    def _shown(self, time_us: int, last_us: int, then_us: list[int | None], camera: Camera | None) -> Gaussians:
        """Lives of what stands shifted from when it was seen; what moves held from `last_us` on, if that has passed."""
        scene, gaussians = self._scene, self._scene.gaussians
        if self._lives is None:
            self._lives = _lives(scene, self._drives)
        lives = self._lives
        shifts_s = torch.tensor([0.0 if t is None else (time_us - t) * 1e-6 for t in then_us])
        shift = shifts_s.to(gaussians.time_mid)[lives.drive] * lives.stands
        now_s = scene.seconds(time_us)
        gone = (shift != 0) & ((now_s > lives.until_s) | (now_s < lives.since_s))
        means, opacities = gaussians.means, torch.where(gone, 0.0, gaussians.opacities)
        if camera is not None:
            eye = torch.from_numpy(scene.local(camera).world_from_cam[:3, 3]).to(means)
            nearer = lives.seen_m / (means - eye).norm(dim=1).clamp(min=1e-3)
            left = 1.0 - (2.0 * (nearer / _NEARER - 1.0)).clamp(0.0, 1.0)
            opacities = torch.where(lives.stands, opacities * left, opacities)
        mid, sigma = gaussians.time_mid + shift, gaussians.time_sigma
        if last_us != time_us and not bool(lives.stands.all()):
            last_s = scene.seconds(last_us)
            held_means, held = gaussians.at(last_s)
            means = torch.where(lives.stands[:, None], means, held_means)
            opacities = torch.where(lives.stands, opacities, held)
            mid = torch.where(lives.stands, mid, torch.full_like(mid, last_s))
            sigma = torch.where(lives.stands, sigma, torch.full_like(sigma, STATIC_SIGMA_S))
        shown = gaussians.replace(means=means, opacities=opacities, time_mid=mid, time_sigma=sigma)
        return shown.select(shown.at(now_s)[1] > _FAINT * gaussians.opacities)


@dataclass(frozen=True)
class _Lives:
    """[G] of each Gaussian: whether it stands, which drive saw it, between which times nothing was seen through it
    (seconds since the scene's time origin), and from how far its token was seen, m; 0: unknown."""

    stands: Tensor
    drive: Tensor
    since_s: Tensor
    until_s: Tensor
    seen_m: Tensor


def _lives(scene: Scene, drives: list[Drive]) -> _Lives:
    gaussians, tokens = scene.gaussians, scene.tokens
    mid = gaussians.time_mid
    since, until = torch.full_like(mid, -NEVER_S), torch.full_like(mid, NEVER_S)
    seen_m = torch.zeros_like(mid)
    if tokens is not None:
        owner = tokens.of_gaussian.long().to(mid.device)
        rows = (owner >= 0).nonzero()[:, 0]
        since[rows] = tokens.since_s.to(mid)[owner[rows]]
        until[rows] = tokens.until_s.to(mid)[owner[rows]]
        seen_m[rows] = (tokens.anchor - tokens.eye).norm(dim=1).to(mid)[owner[rows]]
    return _Lives((gaussians.velocity == 0).all(1), nearest_drive(scene, drives, mid), since, until, seen_m)


def nearest_drive(scene: Scene, drives: list[Drive], times_s: Tensor) -> Tensor:  # [...] int64
    """In which of the drives times [...] lie, seconds since the scene's time origin, or which they are nearest to."""
    ends = torch.tensor([[scene.seconds(int(d.times_us[k])) for k in (0, -1)] for d in drives]).to(times_s)
    away = torch.stack([torch.maximum(low - times_s, times_s - high) for low, high in ends])
    return away.clamp(min=0.0).argmin(0)


def drives_of(scene: Scene) -> list[Drive]:
    """The recorded path, cut where there are long gaps."""
    times = np.asarray(scene.ego_times_us, np.int64)
    if not len(times):
        return []
    cuts = np.flatnonzero(np.diff(times) > APART_US) + 1
    places = scene.ego_world_from_rig[:, :3, 3]
    return [Drive(t, p) for t, p in zip(np.split(times, cuts), np.split(places, cuts), strict=True)]
