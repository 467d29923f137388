"""`jwm ingest`: turn a driving recording into a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jwmtool.cli.options import SIZE, DryRun, Duration, Force, Output, Quiet, Start, Verbose
from jwmtool.cli.parsing import Size

EXAMPLES = (
    "jwm ingest drive/transforms.json -o clip/ --duration 10s --size 416x128 --withhold every=4",
    "jwm ingest dataset/ --scene 06 -o clip/ --withhold camera=image_1",
)


def run(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE", help="Recordings: a folder or index file each; - reads paths from stdin."),
    ],
    output: Output,
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="F", help="nerfstudio, kitti-odometry or dgp; else detected.")
    ] = None,
    scene: Annotated[
        str | None, typer.Option("--scene", metavar="S", help="Which scene, where the source holds several.")
    ] = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Keep each Nth frame.")] = 1,
    rate_hz: Annotated[
        float | None, typer.Option("--rate", metavar="HZ", help="Keep the frames nearest to this rate.")
    ] = None,
    size: Annotated[
        Size | None, typer.Option("--size", **SIZE, help="Scale to cover WxH, then crop about the center.")
    ] = None,
    cameras: Annotated[
        str | None, typer.Option("--cameras", metavar="A,B", help="Cameras to keep, in this order; else all.")
    ] = None,
    withhold: Annotated[
        list[str] | None,
        typer.Option(
            "--withhold",
            metavar="RULE",
            help="Keep from fitting, for scoring: every=N[,offset=M], frames=I,J or camera=NAME; repeatable.",
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            "--mask", metavar="CAMERA=FILE", help="Picture with 0 where to ignore (own car), or none; repeatable."
        ),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read a recording and write it as a clip: posed pictures without distortion, lidar, boxes, and what is withheld.

    Formats: nerfstudio transforms.json, KITTI odometry, DGP (DDAD). every=4 withholds the frames whose index in the
    clip is 2 modulo 4 (N // 2; offset=M says another). Several sources become clips in the folder -o, by name.
    """
    from jwmtool import console
    from jwmtool.artifacts.provenance import record
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import parse_names, read_paths
    from jwmtool.readers import read_recording
    from jwmtool.readers.ingest import ingest
    from jwmtool.readers.select import Selection, override_masks

    paths = read_paths(sources)
    names = tuple(parse_names(cameras)) if cameras is not None else None
    selection = Selection(start_s, duration_s, every, rate_hz, names, tuple(withhold or ()))
    for source in paths:
        recording = override_masks(read_recording(source, format_name, scene), tuple(mask or ()))
        target = output if len(paths) == 1 else output / recording.name
        if dry_run:
            would(reads=[source], writes=[target])
            continue
        provenance = record(invocation(), list(recording.index_files))
        console.emit(str(ingest(recording, target, selection=selection, size=size, force=force, provenance=provenance)))
