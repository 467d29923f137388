"""Where fitting starts: points from lidar, sparse points and plane-sweep stereo, and depth to guide the first steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, minimum_filter
from scipy.spatial import cKDTree
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.fitting.growth import seeds_at
from jwmtool.fitting.parameters import Seeds
from jwmtool.fitting.settings import FitSettings
from jwmtool.fitting.views import View, load_views, scene_frame
from jwmtool.gaussians.rasterize import rasterize_tensors
from jwmtool.geometry import se3
from jwmtool.stereo.depth_maps import depth_maps
from jwmtool.stereo.fill import fill

LIDAR_REACH_PX = 12  # pixels about a lidar point in which stereo has to agree with it


@dataclass(frozen=True)
class Guide:
    """What is known of a view's depth before fitting.

    Attributes:
        depth: [H, W] metres.
        confidence: [H, W] in [0, 1]; 0: not known.
        measured: [H, W] bool, where a lidar beam ended: something solid stands there. None without lidar.
    """

    depth: Tensor
    confidence: Tensor
    measured: Tensor | None = None

    def to(self, device: str) -> Guide:
        """Move every tensor."""
        measured = None if self.measured is None else self.measured.to(device)
        return Guide(self.depth.to(device), self.confidence.to(device), measured)


@dataclass(frozen=True)
class Start:
    """What a fit starts from."""

    views: list[View]
    world_from_scene: NDArray[np.float64]
    seeds: Seeds
    guides: dict[int, Guide]  # by view


def concat(parts: list[Seeds]) -> Seeds:
    """Join seeds; the first part's opacity serves all."""
    return Seeds(
        torch.cat([p.xyz for p in parts]),
        torch.cat([p.rgb for p in parts]),
        torch.cat([p.radius_m for p in parts]),
        torch.cat([p.pixel_m for p in parts]),
        parts[0].opacity,
    )


def covering_seeds(views: list[View], guides: dict[int, Guide], known: Seeds | None, settings: FitSettings) -> Seeds:
    """Seeds that cover every view, on a lattice just coarse enough to leave room for growth."""
    stride = settings.seed_stride_px
    while (seeds := _cover(views, guides, known, stride, int(0.8 * settings.max_gaussians))) is None:
        stride += 1
    return seeds


def _cover(views: list[View], guides: dict[int, Guide], known: Seeds | None, stride: int, most: int) -> Seeds | None:
    """Lift views, the last first, each only where what is there already does not cover its pixels.

    The last view comes first because a car drives forward: the last to see a surface saw it from nearest. Returns None
    where that takes more than `most` seeds (but never if nothing coarser would help).
    """
    seeds = known
    for index in sorted(guides, key=lambda i: -views[i].time_us):
        view, guide = views[index], guides[index]
        wanted = guide.confidence > 0
        if view.mask is not None:
            wanted &= view.mask
        if seeds is not None:
            wanted &= _coverage(seeds, view) < 0.6
        lattice = torch.zeros_like(wanted)
        lattice[::stride, ::stride] = True
        flat = torch.nonzero((wanted & lattice).reshape(-1))[:, 0]
        new = seeds_at(view, flat, guide.depth, view.image("cpu"), 0.55 * stride, 0.6)
        seeds = new if seeds is None else concat([seeds, new])
        if len(seeds) > most and stride < 32:
            return None
    if seeds is None:
        raise ValueError("covering_seeds: nothing to start from")
    return seeds


def _coverage(seeds: Seeds, view: View) -> Tensor:
    """Alpha [H, W] of nearly opaque seeds."""
    count = len(seeds)
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(count, 4)
    scales, opacities = seeds.radius_m[:, None].expand(-1, 3), torch.full((count,), 0.9)
    viewmat = torch.from_numpy(view.camera.cam_from_world)
    return rasterize_tensors(seeds.xyz, quats, scales, opacities, seeds.rgb, viewmat, view.camera).alpha


def start_from_clip(clip: Clip, settings: FitSettings, on_progress: Callable[[float], None] | None = None) -> Start:
    """Load the images, find their depth, and lift it.

    Stereo runs on about as many views as a tenth of the budget allows, and on a third of them at least. Lidar, where
    the clip has it, overrules stereo and is spread to the pixels between its points; sweeps that belong to withheld
    frames are left out.
    """
    pose = scene_frame(clip)
    views = load_views(clip, pose)
    references = choose_references(views, 0.1 * settings.budget_s)
    pictures = [v.pixels.numpy() for v in views]
    maps = depth_maps(
        pictures,
        [v.camera for v in views],
        [v.time_us * 1e-6 for v in views],
        references=references,
        masks=[None if v.mask is None else v.mask.numpy() for v in views],
        on_progress=on_progress,
    )
    sweeps = usable_sweeps(clip)
    guides = {}
    for m in maps:
        depth, confidence, measured = m.depth, m.confidence, None
        if sweeps:
            nearest = min(sweeps, key=lambda i: abs(clip.lidar[i].time_us - views[m.index].time_us))
            points = se3.apply(se3.inverse(pose), clip.load_lidar(nearest))
            depth, confidence, hit = with_lidar(views[m.index], depth, confidence, m.sky, points)
            measured = torch.from_numpy(hit)
        confidence = np.where(np.isfinite(depth), confidence, 0.0).astype(np.float32)
        depth = np.where(np.isfinite(depth), depth, 1000.0).astype(np.float32)
        guides[m.index] = Guide(torch.from_numpy(depth), torch.from_numpy(confidence), measured)
    known = sparse_seeds(clip, views, se3.inverse(pose))
    seeds = covering_seeds(views, guides, known, settings)
    return Start(views, pose, seeds, guides)


def choose_references(views: list[View], seconds: float) -> list[int]:
    """Views to run stereo on: every view, every second or every third of each camera, as `seconds` allow."""
    # As measured on two cores, whatever this machine has: the same seed must give the same scene.
    seconds_each = 0.25 * views[0].pixels[..., 0].numel() / 53_000
    stride = min(3, max(1, math.ceil(len(views) * seconds_each / seconds)))
    seen: dict[str, int] = {}
    chosen = []
    for index, view in enumerate(views):
        count = seen.get(view.camera_name, 0)
        if count % stride == 0:
            chosen.append(index)
        seen[view.camera_name] = count + 1
    return chosen


def usable_sweeps(clip: Clip) -> list[int]:
    """Lidar sweeps whose nearest frame is not withheld."""
    times = clip.times_us
    nearest = [int(np.abs(times - sweep.time_us).argmin()) for sweep in clip.lidar]
    return [i for i, frame in enumerate(nearest) if frame not in clip.split.frames]


def with_lidar(
    view: View,
    depth: NDArray[np.float32],  # [H, W]
    confidence: NDArray[np.float32],  # [H, W]
    sky: NDArray[np.bool_],  # [H, W]
    points: NDArray[np.float64],  # [M, 3] in the scene frame
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Put the depth of lidar points where they are seen, and spread it to the pixels between them.

    Returns:
        depth, confidence, and where a point is seen, all [H, W].
    """
    pixels, z = view.camera.project(points)
    inside = (z > 0.5) & (pixels >= 0).all(1) & (pixels[:, 0] < view.camera.width) & (pixels[:, 1] < view.camera.height)
    column, row = pixels[inside].astype(int).T
    hit = np.full(depth.shape, np.inf)
    np.minimum.at(hit, (row, column), z[inside])
    # A point with a much nearer one beside it shines through from behind an edge: the lidar sits elsewhere.
    seen = np.isfinite(hit) & (hit < 1.1 * minimum_filter(hit, size=5))
    if not seen.any():
        return depth, confidence, seen
    # Stereo is kept where it agrees with the nearest lidar point, or where there is none around.
    away_px, (nearest_row, nearest_column) = distance_transform_edt(~seen, return_indices=True)
    agrees = np.abs(np.log(np.maximum(depth, 0.1) / np.where(seen, hit, 1.0)[nearest_row, nearest_column])) < 0.25
    kept = (confidence >= 0.3) & (agrees | (away_px > LIDAR_REACH_PX))
    sure = np.where(kept, confidence, np.float32(0.0))
    depth = np.where(seen, hit, np.where(np.isfinite(depth), depth, 150.0)).astype(np.float32)
    sure = np.where(seen, 1.0, sure).astype(np.float32)
    return *fill(depth, sure, view.image("cpu").numpy(), view.camera, sky & ~seen), seen


def sparse_seeds(clip: Clip, views: list[View], scene_from_world: NDArray[np.float64]) -> Seeds | None:
    """Seeds at the clip's sparse points; None if it has none."""
    xyz, rgb = clip.load_points()
    if not len(xyz):
        return None
    xyz = se3.apply(scene_from_world, xyz)
    centers = np.unique([v.camera.world_from_cam[:3, 3] for v in views], axis=0)
    distance = cKDTree(centers).query(xyz)[0]
    pixel_m = torch.from_numpy(np.maximum(distance, 0.5) / views[0].camera.K[0, 0]).float()
    return Seeds(torch.from_numpy(xyz).float(), torch.from_numpy(rgb).float() / 255, pixel_m, pixel_m, 0.6)
