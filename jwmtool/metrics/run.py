"""What `jwm score` does: open the two artifacts, choose the protocol, write the document, the page and the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.provenance import record
from jwmtool.artifacts.scene_files import open_scene
from jwmtool.artifacts.video import VIDEO_SUFFIXES
from jwmtool.device import resolve_device
from jwmtool.errors import InputError, UsageError
from jwmtool.metrics.names import ALL_NAMES, IMAGE_NAMES, LABELS, formatted
from jwmtool.metrics.protocol import SplitName, Tick, score_frames, score_frames_on_clip, score_scene
from jwmtool.metrics.report import report_html
from jwmtool.metrics.scores import Scores
from jwmtool.rendering.view import on_device


@dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        prediction: scene, video or folder of frames.
        reference: clip, or for a video also a video or folder of frames.
        names: of "psnr", "ssim", "depth"; empty: all that apply.
        split: None: withheld, where the reference is a clip.
        device: auto, cpu or cuda.
    """

    prediction: Path
    reference: Path
    names: tuple[str, ...] = ()
    split: SplitName | None = None
    device: str = "auto"


def run_score(request: Request, command: Sequence[str]) -> tuple[Scores, dict[str, Any]]:
    """Score, and return the scores with the document that tells them.

    Raises:
        UsageError: scores or a split that do not apply to these two.
        InputError: see `metrics/protocol.py`.
    """
    names = request.names or (*IMAGE_NAMES, "depth")
    image_names = tuple(n for n in names if n in IMAGE_NAMES)
    frames, on_clip = _is_frames(request.prediction), not _is_frames(request.reference)
    if frames and "depth" in request.names:
        raise UsageError(f"--depth: expected a scene, found frames ({request.prediction})")
    if frames and not on_clip and request.split is not None:
        raise UsageError("--split: expected a clip to compare with, found frames")
    if not frames and not on_clip:
        raise UsageError(f"expected a clip to compare a scene with, found frames ({request.reference})")
    clip = read_clip(request.reference) if on_clip else None
    device, history = None, list(clip.provenance) if clip is not None else []
    with _Ticking() as tick:
        if frames and clip is not None:
            scores = score_frames_on_clip(request.prediction, clip, request.split or "withheld", image_names, tick)
        elif clip is None:
            scores = score_frames(request.prediction, request.reference, image_names, tick)
        else:
            if "depth" in request.names and not clip.lidar:
                raise InputError(request.reference, "lidar sweeps for --depth", "none")
            device = resolve_device(request.device)
            scene = on_device(open_scene(request.prediction), device)
            history += scene.history
            with_depth = "depth" in names and bool(clip.lidar)
            scores = score_scene(scene, clip, request.split or "withheld", image_names, with_depth, tick)
    for note in scores.notes:
        console.notice(note)
    history.append(record(command, [request.prediction, request.reference], device=device))
    return scores, scores.to_json(str(request.prediction), str(request.reference), history)


def write_outputs(
    scores: Scores,
    document: dict[str, Any],
    output: Path | None,
    report: Path | None,
    command: Sequence[str],
    force: bool = False,
) -> Iterator[Path]:
    """Write the JSON document and the page where wanted; yield each path once it is there."""
    if output is not None:
        with atomic_file(output, force) as part:
            part.write_text(json.dumps(document, indent=1, sort_keys=False) + "\n", encoding="utf-8")
        yield output
    if report is not None:
        with atomic_file(report, force) as part:
            part.write_text(report_html(scores, document, command), encoding="utf-8")
        yield report


def show(scores: Scores, document: dict[str, Any], as_json: bool, on_stdout: bool) -> None:
    """Print one line of JSON on stdout, or a table: on stdout, else (stdout carries paths) on stderr."""
    if as_json:
        return console.emit(json.dumps(document))
    if not on_stdout and console.is_quiet():
        return None
    from rich.console import Console
    from rich.table import Table

    split = f", {scores.split}" if scores.split else ""
    title = f"{document['prediction']} against {document['reference']} ({scores.protocol}{split})"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("camera")
    table.add_column("size")
    table.add_column("pictures", justify="right")
    names = [name for name in ALL_NAMES if name in scores.means]
    for name in names:
        table.add_column(LABELS[name], justify="right")
    groups = {camera or "-": rows for camera, rows in scores.cameras.items()}
    if len(groups) > 1:
        groups["all"] = scores.rows
    for label, rows in groups.items():
        means = Scores(scores.protocol, None, rows).means
        sizes = {f"{r.size[0]}x{r.size[1]}" for r in rows}
        size = sizes.pop() if len(sizes) == 1 else "mixed"
        cells = [formatted(n, means[n]) if n in means else "-" for n in names]
        table.add_row(label, size, str(len(rows)), *cells)
    stream = sys.stdout if on_stdout else sys.stderr
    Console(file=stream, width=None if stream.isatty() else 10_000, soft_wrap=not stream.isatty()).print(table)
    return None


def _is_frames(path: Path) -> bool:
    """True for a video or a folder of frames; False for a clip or a scene."""
    if path.is_dir():
        return not (path / "clip.json").is_file()
    return path.suffix.lower() in VIDEO_SUFFIXES


class _Ticking:
    """Progress on stderr, told as (done, total)."""

    def __enter__(self) -> Tick:
        self._bar: console.Progress | None = None
        return self._tick

    def _tick(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = console.Progress("scoring", total)
        self._bar.update(done, f"{done}/{total}")

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
