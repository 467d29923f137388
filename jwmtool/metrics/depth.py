"""Rendered depth against the truth: a made world's, or lidar."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.lidar import RANGE_M, lidar_at, lidar_depth
from jwmtool.artifacts.truth import has_truth, read_truth

MIN_ALPHA = 0.5

DepthTruth = Literal["world", "lidar"]


def depth_truth(clip: Clip) -> DepthTruth | None:
    """What depth of this clip is scored against: a world's own truth, else lidar, else nothing."""
    if has_truth(clip):
        return "world"
    return "lidar" if clip.lidar else None


def true_depth(clip: Clip, frame: int, camera: str, truth: DepthTruth) -> NDArray[np.float64] | None:
    """True depth [H, W] of a picture within the range of RANGE_M, metres; 0 where it is not known.

    Returns None where there is no lidar sweep at its time.

    Raises:
        InputError: a world's truth is not there or damaged.
    """
    if truth == "world":
        depth = read_truth(clip, frame, camera, ["depth"])["depth"].astype(np.float64)
        return np.where((depth >= RANGE_M[0]) & (depth <= RANGE_M[1]), depth, 0.0)  # infinite in the sky
    sweep = lidar_at(clip, clip.frames[frame].images[camera].time_us)
    return None if sweep is None else lidar_depth(clip.load_lidar(sweep), clip.camera_at(frame, camera))


def depth_scores(
    depth_m: NDArray[np.floating],  # [H, W] expected depth
    alpha: NDArray[np.floating],  # [H, W]
    truth_m: NDArray[np.floating],  # [H, W], 0: unknown
    mask: NDArray[np.bool_] | None = None,  # [H, W], False: ignore
    range_m: tuple[float, float] = RANGE_M,
) -> dict[str, float] | None:
    """Absolute relative error, RMSE in metres, share within 1.25, over all pixels with truth; None if there is none.

    A hole is no way out: where the scene has no surface at all (alpha 0) its depth counts as the far end of the range;
    everywhere depth is clipped to the range. `depth_coverage` is the share of those pixels with alpha of at least 0.5.
    """
    known = truth_m > 0.0 if mask is None else (truth_m > 0.0) & mask
    count = int(known.sum())
    if count == 0:
        return None
    truth = truth_m[known].astype(np.float64)
    covered = alpha[known]
    predicted = np.clip(np.where(covered > 1e-6, depth_m[known], range_m[1]).astype(np.float64), *range_m)
    ratio = np.maximum(predicted / truth, truth / predicted)
    return {
        "depth_abs_rel": float((np.abs(predicted - truth) / truth).mean()),
        "depth_rmse_m": float(np.sqrt(((predicted - truth) ** 2).mean())),
        "depth_delta1": float((ratio < 1.25).mean()),
        "depth_coverage": float((covered >= MIN_ALPHA).mean()),
        "depth_points": float(count),
    }
