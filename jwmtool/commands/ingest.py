"""`jwm ingest`: turn a driving recording into a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jwmtool.cli.options import SIZE, DryRun, Duration, Force, Output, Quiet, Start, Verbose
from jwmtool.cli.parsing import Size, as_parameter, parse_intrinsics

EXAMPLES = (
    "jwm ingest drive/transforms.json -o clip/ --duration 10s --size 416x128 --withhold every=4",
    "jwm ingest dataset/ --scene 06 -o clip/ --withhold camera=image_1",
    "jwm ingest dataset/ --split all -o clips/ --workers 4 --resume",
)


def run(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE", help="Recordings: a folder or index file each; - reads paths from stdin."),
    ],
    output: Output,
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="F", help="The recording's format (below); else detected.")
    ] = None,
    scene: Annotated[
        str | None, typer.Option("--scene", metavar="S", help="Which scene, where the source holds several.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="S", help="Every scene of a split (train, val ...) or all, each in OUTPUT/SCENE."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, metavar="N", help="Processes for --split.", show_default="1")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --split, leave clips alone that are there, and go on.")
    ] = False,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Keep each Nth frame.")] = 1,
    rate_hz: Annotated[
        float | None, typer.Option("--rate", metavar="HZ", help="Keep the frames nearest to this rate.")
    ] = None,
    key_frames: Annotated[bool, typer.Option("--key-frames", help="Keep the recording's key frames only.")] = False,
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
    intrinsics: Annotated[
        Any,
        typer.Option(
            "--intrinsics",
            parser=as_parameter(parse_intrinsics),
            metavar="FX,FY,CX,CY",
            help="Of a video's camera, px, first pixel's center at 0.5; else estimated.",
        ),
    ] = None,
    camera_height_m: Annotated[
        float | None,
        typer.Option("--camera-height", metavar="M", help="Above the road: the scale of a video's or COLMAP's path."),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read a recording and write it as a clip: posed pictures without distortion, lidar, boxes, and what is withheld.

    Formats: nerfstudio, kitti-odometry, dgp (DDAD), nuscenes, waymo, kitti-raw, argoverse2, comma2k19, colmap, and a
    dash camera's video. every=4 withholds the frames whose index in the clip is 2 modulo 4 (N // 2; offset=M says
    another). Several sources become clips in the folder -o, by name. With --split, a scene that fails does not stop
    the others.
    """
    from jwmtool import console
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import parse_names, read_paths
    from jwmtool.errors import UsageError
    from jwmtool.readers.many import Order, ingest_scenes, plan
    from jwmtool.readers.recording import Hints
    from jwmtool.readers.select import Selection

    if split is None and (resume or workers is not None):
        raise UsageError(f"{'--resume' if resume else '--workers'}: works with --split")
    if split is not None and scene is not None:
        raise UsageError("--scene, --split: give one of them")
    if resume and force:
        raise UsageError("--resume, --force: give one of them")
    paths = read_paths(sources)
    names = tuple(parse_names(cameras)) if cameras is not None else None
    selection = Selection(start_s, duration_s, every, rate_hz, key_frames, names, tuple(withhold or ()))
    hints = Hints(intrinsics, camera_height_m, start_s, duration_s, rate_hz)
    order = Order(format_name, selection, tuple(mask or ()), size, hints, force, tuple(invocation()))
    if split is not None:
        jobs = plan(order, paths, split, output)
        if dry_run:
            return would(reads=paths, writes=[job.target for job in jobs])
        return ingest_scenes(jobs, workers or 1, resume, lambda path: console.emit(str(path)))
    for source in paths:
        recording = order.read(source, scene)
        target = output if len(paths) == 1 else output / recording.name
        if dry_run:
            would(reads=[source], writes=[target])
            continue
        console.emit(str(order.write(recording, source, scene, target)))
