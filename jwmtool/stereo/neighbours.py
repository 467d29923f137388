"""Which pictures to match a picture with: chosen by baseline and overlap, not by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

# Baselines wished for, in order. The shorter ones find what is near (little distortion, little occlusion), the
# longer ones tell apart what is far.
_WISHES_M = (1.0, 2.8, 1.8, 4.0)


def choose_neighbours(
    times: Sequence[float],
    cameras: Sequence[Camera],
    index: int,
    *,
    max_neighbours: int = 4,
    min_baseline_m: float = 0.2,
    max_baseline_m: float = 4.5,
    same_time_s: float = 0.045,
    min_overlap: float = 0.3,
) -> list[int]:
    """Choose pictures to match picture `index` with.

    Pictures taken at the same time come first (nothing moves between them), then, from before and after in
    turn, those whose baselines are nearest to about 1, 3, 2 and 4 metres. A clip whose steps are all longer than
    `max_baseline_m` still gets its nearest picture on either side.

    Args:
        times: seconds, one a picture.
        cameras: one a picture, all in one frame.
        index: the reference picture.
        max_neighbours: how many to return at most.
        min_baseline_m, max_baseline_m: limits on the distance between camera centres, metres.
        same_time_s: pictures closer in time than this count as simultaneous.
        min_overlap: share of the reference's view (at 8 and 30 m) that a neighbour must see.

    Returns:
        Indices, the most useful first; empty if no picture overlaps with a usable baseline.
    """
    reference = cameras[index]
    centers = np.stack([camera.world_from_cam[:3, 3] for camera in cameras])
    baselines = np.linalg.norm(centers - centers[index], axis=1)
    near = [j for j, b in enumerate(baselines) if j != index and min_baseline_m <= b <= 3 * max_baseline_m]
    shares = {j: overlap(reference, cameras[j]) for j in near}
    usable = [j for j, share in shares.items() if share >= min_overlap]

    chosen = sorted(
        (j for j in usable if abs(times[j] - times[index]) <= same_time_s and baselines[j] <= max_baseline_m),
        key=lambda j: -shares[j],
    )[: max(max_neighbours // 2, 1)]
    for wish_m in _WISHES_M:
        for side in (-1, 1):
            pool = [j for j in usable if j not in chosen and side * (times[j] - times[index]) > same_time_s]
            within = [j for j in pool if baselines[j] <= max_baseline_m]
            if not within and not any(side * (times[j] - times[index]) > same_time_s for j in chosen):
                within = sorted(pool, key=lambda j: baselines[j])[:1]
            if within and len(chosen) < max_neighbours:
                chosen.append(min(within, key=lambda j: abs(np.log(baselines[j] / wish_m)) + 0.5 * (1 - shares[j])))
    return chosen[:max_neighbours]


def overlap(reference: Camera, other: Camera) -> float:
    """Share of the reference's view that `other` sees, over a grid of pixels at 8 and 30 m; in [0, 1]."""
    u, v = np.meshgrid((np.arange(8) + 0.5) / 8 * reference.width, (np.arange(5) + 0.5) / 5 * reference.height)
    rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ np.linalg.inv(reference.K).T
    points = se3.apply(reference.world_from_cam, np.concatenate([rays * 8.0, rays * 30.0]))
    pixels, depth = other.project(points)
    seen = (depth > 0.5) & (pixels > 0).all(1) & (pixels[:, 0] < other.width) & (pixels[:, 1] < other.height)
    return float(seen.mean())
