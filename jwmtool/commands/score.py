"""`jwm score`: compare rendered with recorded pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jwmtool.cli.options import Device, DryRun, Force, Json, OptionalOutput, Quiet, Verbose

EXAMPLES = (
    "jwm score scene.h5 clip/ --report report.html",
    "jwm score scene.h5 clip/ -o scores.json --fail-if 'psnr<22'",
)


def run(
    prediction: Annotated[
        Path | None,
        typer.Argument(
            metavar="PRED",
            help="Scene, video or folder of frames (storm-windows: of scenes); - reads its path from stdin.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Argument(metavar="REF", help="Clip, or for a video also a video or folder of frames.")
    ] = None,
    psnr: Annotated[bool, typer.Option("--psnr", help="Peak signal-to-noise ratio.")] = False,
    ssim: Annotated[bool, typer.Option("--ssim", help="Structural similarity.")] = False,
    moving: Annotated[
        bool, typer.Option("--moving", help="The same inside what moves faster than 1 m/s, by the clip's tracks.")
    ] = False,
    depth: Annotated[
        bool, typer.Option("--depth", help="Rendered depth against a world's truth, or else the clip's lidar.")
    ] = False,
    protocol: Annotated[
        Literal["withheld", "storm-windows"],
        typer.Option(
            "--protocol",
            help="What is scored: the clip's own split, or windows of 20 frames at 10 Hz of which frames 0, 5, 10 and "
            "15 were given; PRED is then a folder with a scene for each, named by its first frame (000020.h5).",
        ),
    ] = "withheld",
    split: Annotated[
        Literal["withheld", "train", "all"] | None,
        typer.Option("--split", help="Which of the clip's pictures: withheld from fitting (default), train or all."),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option("--fail-if", metavar="COND", help="Exit 6 if a mean is so, say 'psnr<22'; may be repeated."),
    ] = None,
    output: OptionalOutput = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="HTML", help="Write a self-contained page with curves.")
    ] = None,
    json: Json = False,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a scene on the pictures withheld from it, or a video against a clip or another video.

    Without --psnr, --ssim, --moving or --depth all scores that apply are computed. Without -o a table goes to stdout;
    -o writes JSON with a row for each picture.
    """
    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_path
    from jwmtool.errors import UsageError
    from jwmtool.metrics.threshold import check_thresholds, parse_threshold

    if prediction is None or reference is None:
        raise UsageError(f"expected PRED and REF, for example: {EXAMPLES[0]}")
    source, truth = read_path(prediction), read_path(reference)
    thresholds = [parse_threshold(text) for text in fail_if or []]
    for path in (output, report):
        if path is not None:
            check_output(path, force)
    if dry_run:
        would(reads=[source, truth], writes=[p for p in (output, report) if p is not None])
        return
    from jwmtool.metrics.run import Request, run_score, show, write_outputs

    flags = (("psnr", psnr), ("ssim", ssim), ("moving", moving), ("depth", depth))
    chosen = tuple(name for name, on in flags if on)
    scores, document = run_score(Request(source, truth, chosen, split, device, protocol), invocation())
    for path in write_outputs(scores, document, output, report, invocation(), force):
        if path == output and not json:
            console.emit(str(path))
        else:
            console.notice(f"wrote {path}")
    show(scores, document, as_json=json, on_stdout=output is None)
    check_thresholds(scores.means, thresholds)
