"""Scores of a run: one row a picture, their means, and the pictures that came out worst."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.metrics.depth import RANGE_M, depth_scores
from jwmtool.metrics.image import image_scores
from jwmtool.metrics.names import ALL_NAMES, IMAGE_NAMES

FORMAT, VERSION = "jwm-scores", "1.0"
NUM_WORST = 6
DEFINITION = {
    "psnr": "per picture in 8-bit sRGB, data range 1, 120 dB if equal; then the mean over pictures",
    "ssim": "Wang et al. 2004: Gaussian window 11, sigma 1.5, population covariance, data range 1, per color channel, "
    "border of 5 px left out; then the mean over pictures",
    "depth": f"expected depth against lidar at {RANGE_M[0]:g}-{RANGE_M[1]:g} m, of the sweep nearest in time, nearest "
    "point a pixel, points behind nearer neighbors dropped; holes count as the far end; per picture, then the mean",
}


@dataclass(frozen=True)
class DepthPair:
    """What depth is scored on."""

    depth_m: NDArray[np.floating]  # [H, W]
    alpha: NDArray[np.floating]  # [H, W]
    truth_m: NDArray[np.floating]  # [H, W], 0: unknown


@dataclass(frozen=True)
class Pair:
    """A predicted picture and the true one."""

    frame: int
    camera: str | None
    time_us: int | None
    image: NDArray[np.uint8]  # [H, W, 3]
    truth: NDArray[np.uint8]  # [H, W, 3]
    mask: NDArray[np.bool_] | None = None  # [H, W], False: ignore
    depth: DepthPair | None = None


@dataclass(frozen=True)
class Row:
    """The scores of one picture."""

    frame: int
    camera: str | None
    time_us: int | None
    size: tuple[int, int]
    values: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """Scores under one protocol; `worst` holds the pictures of lowest PSNR (or SSIM), worst first."""

    protocol: str
    split: str | None
    rows: list[Row]
    worst: list[tuple[Row, Pair]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def means(self) -> dict[str, float]:
        """Mean of each score over the pictures that have it."""
        return _means(self.rows)

    @property
    def cameras(self) -> dict[str, list[Row]]:
        """Rows by camera name ("" for pictures of no camera)."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.camera or "", []).append(row)
        return groups

    def to_json(self, prediction: str, reference: str, provenance: list[dict[str, Any]]) -> dict[str, Any]:
        """The document that `-o` writes."""
        shown = {name.split("_")[0] for row in self.rows for name in row.values}
        return {
            "format": FORMAT,
            "version": VERSION,
            "protocol": self.protocol,
            "definition": {name: text for name, text in DEFINITION.items() if name in shown},
            "prediction": prediction,
            "reference": reference,
            "split": self.split,
            "num_images": len(self.rows),
            "notes": list(self.notes),
            "means": self.means,
            "cameras": {
                name: {"num_images": len(rows), "size": list(rows[0].size), "means": _means(rows)}
                for name, rows in self.cameras.items()
            },
            "images": [
                {"frame": r.frame, "camera": r.camera, "time_us": r.time_us, "size": list(r.size), **r.values}
                for r in self.rows
            ],
            "provenance": provenance,
        }


def score_pairs(
    pairs: Iterable[Pair],
    protocol: str,
    split: str | None = None,
    names: tuple[str, ...] = IMAGE_NAMES,
    num_worst: int = NUM_WORST,
    notes: tuple[str, ...] = (),
) -> Scores:
    """Score pictures one by one; only the worst are kept in memory.

    Args:
        names: "psnr" and "ssim" as wanted; depth is scored where a pair has it.
    """
    rows: list[Row] = []
    worst: list[tuple[float, int, Row, Pair]] = []  # a heap whose root is the best of the worst
    for pair in pairs:
        values = image_scores(pair.image, pair.truth, pair.mask, names)
        if pair.depth is not None:
            values |= depth_scores(pair.depth.depth_m, pair.depth.alpha, pair.depth.truth_m, pair.mask) or {}
        height, width = pair.image.shape[:2]
        row = Row(pair.frame, pair.camera, pair.time_us, (width, height), values)
        rows.append(row)
        badness = -values.get("psnr", values.get("ssim", -values.get("depth_abs_rel", 0.0)))
        heapq.heappush(worst, (badness, -len(rows), row, pair))
        if len(worst) > num_worst:
            heapq.heappop(worst)
    return Scores(protocol, split, rows, [(row, pair) for _, _, row, pair in sorted(worst, reverse=True)], notes)


def _means(rows: list[Row]) -> dict[str, float]:
    found = {name: [r.values[name] for r in rows if name in r.values] for name in ALL_NAMES}
    return {name: math.fsum(values) / len(values) for name, values in found.items() if values}
