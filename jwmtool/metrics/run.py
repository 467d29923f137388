"""What `jwm score` does: open the two artifacts, choose the protocol, write the document, the page and the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.provenance import record
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_files import open_scene
from jwmtool.artifacts.video import VIDEO_SUFFIXES
from jwmtool.device import resolve_device
from jwmtool.errors import InputError, UsageError
from jwmtool.metrics.depth import depth_truth
from jwmtool.metrics.names import ALL_NAMES, IMAGE_NAMES, LABELS, formatted
from jwmtool.metrics.pairs import Tick
from jwmtool.metrics.protocol import SplitName, score_frames, score_frames_on_clip, score_scene
from jwmtool.metrics.report import report_html
from jwmtool.metrics.scores import Scores
from jwmtool.metrics.window_protocol import WINDOWS_PROTOCOL, score_windows
from jwmtool.metrics.windows import Window, scene_files, windows
from jwmtool.rendering.view import on_device

ProtocolName = Literal["withheld", "storm-windows"]


@dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        prediction: scene, video or folder of frames; for storm-windows a folder with a scene for each window.
        reference: clip, or for a video also a video or folder of frames.
        names: of "psnr", "ssim", "moving", "depth"; empty: all that apply.
        split: None: withheld, where the reference is a clip.
        device: auto, cpu or cuda.
        protocol: which pictures are scored.
    """

    prediction: Path
    reference: Path
    names: tuple[str, ...] = ()
    split: SplitName | None = None
    device: str = "auto"
    protocol: ProtocolName = "withheld"

    @property
    def image_names(self) -> tuple[str, ...]:
        """Of "psnr", "ssim", for whole pictures."""
        return tuple(n for n in IMAGE_NAMES if n in self.names or not self.names)

    @property
    def moving_names(self) -> tuple[str, ...]:
        """The same for moving regions."""
        return (self.image_names or IMAGE_NAMES) if not self.names or "moving" in self.names else ()

    @property
    def depth(self) -> bool:
        """Whether depth is scored if it can be."""
        return not self.names or "depth" in self.names


def run_score(request: Request, command: Sequence[str]) -> tuple[Scores, dict[str, Any]]:
    """Score, and return the scores with the document that tells them.

    Raises:
        UsageError: scores, a split or a protocol that do not apply to these two.
        InputError: see `metrics/protocol.py`.
    """
    in_windows, on_clip = request.protocol == WINDOWS_PROTOCOL, not _is_frames(request.reference)
    # Its folder holds scenes, not frames.
    frames = _is_frames(request.prediction) and not (in_windows and request.prediction.is_dir())
    _check(request, frames, on_clip)
    clip = read_clip(request.reference) if on_clip else None
    history = [] if clip is None else list(clip.provenance)
    device = None
    with _Ticking() as tick:
        if clip is None:
            scores = score_frames(request.prediction, request.reference, request.image_names, tick)
        elif frames:
            _check_clip(request, clip)
            scores = score_frames_on_clip(
                request.prediction, clip, request.split or "withheld", request.image_names, tick, request.moving_names
            )
        else:
            _check_clip(request, clip)
            device = resolve_device(request.device)
            scores = _score_scenes(request, clip, device, history, tick)
    for note in scores.notes:
        console.notice(note)
    history.append(record(command, [request.prediction, request.reference], device=device))
    return scores, scores.to_json(str(request.prediction), str(request.reference), history)


def _score_scenes(request: Request, clip: Clip, device: str, history: list[dict[str, Any]], tick: Tick) -> Scores:
    """Score a scene, or one for each window; their histories go to `history`."""

    def opened(path: Path) -> Scene:
        scene = on_device(open_scene(path), device)
        history.extend(r for r in scene.history if r not in history)
        return scene

    names, moving = request.image_names, request.moving_names
    if request.protocol == WINDOWS_PROTOCOL:
        files = scene_files(request.prediction, windows(clip))

        def scene_of(window: Window) -> Scene:
            return opened(files[window.first])

        return score_windows(scene_of, clip, names, request.depth, tick, moving)
    scene = opened(request.prediction)
    return score_scene(scene, clip, request.split or "withheld", names, request.depth, tick, moving)


def _check(request: Request, frames: bool, on_clip: bool) -> None:
    """UsageError unless these scores can be had of these two."""
    if frames and "depth" in request.names:
        raise UsageError(f"--depth: expected a scene, found frames ({request.prediction})")
    if request.protocol == WINDOWS_PROTOCOL:
        if frames:
            raise UsageError(f"--protocol storm-windows: expected a folder of scenes, found {request.prediction}")
        if request.split is not None:
            raise UsageError("--split: storm-windows says itself which pictures are scored")
    if not on_clip and request.split is not None:
        raise UsageError("--split: expected a clip to compare with, found frames")
    if not on_clip and "moving" in request.names:
        raise UsageError("--moving: expected a clip to compare with, found frames")
    if not frames and not on_clip:
        raise UsageError(f"expected a clip to compare a scene with, found frames ({request.reference})")


def _check_clip(request: Request, clip: Clip) -> None:
    """InputError if a score was asked for that the clip has no truth for."""
    if "depth" in request.names and depth_truth(clip) is None:
        raise InputError(request.reference, "lidar sweeps or the truth of a world for --depth", "none")
    if "moving" in request.names and not clip.tracks:
        raise InputError(request.reference, "tracks for --moving", "none")


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
    table = Table(
        title=title, title_justify="left", caption=scores.summary, caption_justify="left", box=None, pad_edge=False
    )
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
