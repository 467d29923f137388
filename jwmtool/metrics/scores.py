"""Scores of a run: one row a picture, their means, and the pictures that came out worst."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.lidar import RANGE_M
from jwmtool.metrics.depth import DepthTruth, depth_scores
from jwmtool.metrics.image import MIN_REGION_PX, image_scores
from jwmtool.metrics.moving import MIN_SPEED_MPS
from jwmtool.metrics.names import ALL_NAMES, IMAGE_NAMES
from jwmtool.metrics.windows import Window

FORMAT, VERSION = "jwm-scores", "1.1"
NUM_WORST = 6
DEFINITION = {
    "psnr": "per picture in 8-bit sRGB, data range 1, 120 dB if equal; then the mean over pictures",
    "ssim": "Wang et al. 2004: Gaussian window 11, sigma 1.5, population covariance, data range 1, per color channel, "
    "border of 5 px left out; then the mean over pictures",
    "moving": f"psnr and ssim inside what moves faster than {MIN_SPEED_MPS:g} m/s; box: in the filled convex "
    "hulls of its projected boxes, hidden or not; exact: on the pixels that show it, by the truth of a made world; per "
    f"picture with at least {MIN_REGION_PX} such pixels, then the mean over those pictures",
    "depth": f"expected depth against {{}} at {RANGE_M[0]:g}-{RANGE_M[1]:g} m; holes count as the far end; per "
    "picture, then the mean",
}
DEPTH_TRUTHS: dict[DepthTruth, str] = {
    "world": "the true depth of a made world, all pixels",
    "lidar": "lidar, of the sweep nearest in time, nearest point a pixel, points behind nearer neighbors dropped",
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
    regions: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)  # see moving.py


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
    """Scores under one protocol.

    Attributes:
        protocol, split: its name, and the side of the clip's split that was scored.
        rows: one a picture.
        worst: the pictures of lowest PSNR (or SSIM), worst first.
        notes: what a reader of the figures must know.
        setting: what was given and what was scored, in words.
        depth_truth: what depth was scored against.
        windows: of the protocols that have some; rows count frames through the whole clip.
    """

    protocol: str
    split: str | None
    rows: list[Row]
    worst: list[tuple[Row, Pair]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    setting: str = ""
    depth_truth: DepthTruth | None = None
    windows: tuple[Window, ...] = ()

    @property
    def means(self) -> dict[str, float]:
        """Mean of each score over the pictures that have it."""
        return _means(self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures have each score."""
        return {name: sum(name in r.values for r in self.rows) for name in self.means}

    @property
    def summary(self) -> str:
        """One line: setting, number and size of the pictures, and what only some of them were scored on."""
        sizes = sorted({f"{r.size[0]}x{r.size[1]}" for r in self.rows})
        parts = [self.setting] if self.setting else []
        parts.append(f"{len(self.rows)} pictures of {', '.join(sizes)} px")
        for region, text in (("moving_box", "moving boxes in {}"), ("moving_exact", "moving pixels in {}")):
            count = max((n for name, n in self.counts.items() if name.startswith(region)), default=0)
            parts += [text.format(count)] if count else []
        if self.depth_truth is not None and any(name.startswith("depth") for name in self.means):
            against = {"world": "the world's truth", "lidar": "lidar"}[self.depth_truth]
            parts.append(f"depth against {against} in {self.counts['depth_abs_rel']}")
        return "; ".join(parts)

    @property
    def cameras(self) -> dict[str, list[Row]]:
        """Rows by camera name ("" for pictures of no camera)."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.camera or "", []).append(row)
        return groups

    def to_json(self, prediction: str, reference: str, provenance: list[dict[str, Any]]) -> dict[str, Any]:
        """The document that `-o` writes."""
        shown = {part for row in self.rows for name in row.values for part in name.split("_")}
        return {
            "format": FORMAT,
            "version": VERSION,
            "protocol": self.protocol,
            "setting": self.summary,
            "definition": {name: self._defined(name) for name in DEFINITION if name in shown},
            "prediction": prediction,
            "reference": reference,
            "split": self.split,
            "depth_truth": self.depth_truth,
            "num_images": len(self.rows),
            "notes": list(self.notes),
            "means": self.means,
            "counts": self.counts,
            "cameras": {
                name: {"num_images": len(rows), "size": list(rows[0].size), "means": _means(rows)}
                for name, rows in self.cameras.items()
            },
            **({"windows": [self._window_json(window) for window in self.windows]} if self.windows else {}),
            "images": [
                {"frame": r.frame, "camera": r.camera, "time_us": r.time_us, "size": list(r.size), **r.values}
                for r in self.rows
            ],
            "provenance": provenance,
        }

    def _defined(self, name: str) -> str:
        against = DEPTH_TRUTHS[self.depth_truth] if self.depth_truth is not None else "the truth given"
        return DEFINITION[name].format(against) if name == "depth" else DEFINITION[name]

    def _window_json(self, window: Window) -> dict[str, Any]:
        rows = [r for r in self.rows if window.first <= r.frame < window.first + window.length]
        context = [window.first + i for i in window.context]
        return {"first": window.first, "context": context, "num_images": len(rows), "means": _means(rows)}


def score_pairs(
    pairs: Iterable[Pair],
    protocol: str,
    split: str | None = None,
    names: tuple[str, ...] = IMAGE_NAMES,
    num_worst: int = NUM_WORST,
    notes: tuple[str, ...] = (),
    setting: str = "",
    region_names: tuple[str, ...] | None = None,
) -> Scores:
    """Score pictures one by one; only the worst are kept in memory.

    Args:
        names: "psnr" and "ssim" as wanted; depth is scored where a pair has it.
        region_names: of those, what to score in a pair's regions; by default `names`.
    """
    rows: list[Row] = []
    worst: list[tuple[float, int, Row, Pair]] = []  # a heap whose root is the best of the worst
    for pair in pairs:
        inside = names if region_names is None else region_names
        values = image_scores(pair.image, pair.truth, pair.mask, names, pair.regions, inside)
        if pair.depth is not None:
            values |= depth_scores(pair.depth.depth_m, pair.depth.alpha, pair.depth.truth_m, pair.mask) or {}
        height, width = pair.image.shape[:2]
        row = Row(pair.frame, pair.camera, pair.time_us, (width, height), values)
        rows.append(row)
        badness = -values.get("psnr", values.get("ssim", -values.get("depth_abs_rel", 0.0)))
        heapq.heappush(worst, (badness, -len(rows), row, pair))
        if len(worst) > num_worst:
            heapq.heappop(worst)
    pictures = [(row, pair) for _, _, row, pair in sorted(worst, reverse=True)]
    return Scores(protocol, split, rows, pictures, notes, setting)


def _means(rows: list[Row]) -> dict[str, float]:
    found = {name: [r.values[name] for r in rows if name in r.values] for name in ALL_NAMES}
    return {name: math.fsum(values) / len(values) for name, values in found.items() if values}
