"""`jwm export`: convert a scene or clips for other tools, or import a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jwmtool.cli.options import DURATION, DryRun, Force, Output, Quiet, Verbose

EXAMPLES = (
    "jwm export scene.h5 --to ply -o scene.ply",
    "jwm export scene.ply --to h5 -o imported.h5",
    "jwm export clip/ --to nuscenes -o nuscenes/",
)


def run(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARTIFACT...", help="Scene, .ply or .splat file, or clips for nuscenes; - reads paths from stdin."
        ),
    ],
    to: Annotated[Literal["ply", "splat", "h5", "nuscenes"], typer.Option("--to", help="Format to write.")],
    output: Output,
    time_s: Annotated[
        float | None,
        typer.Option("--time", **DURATION, help="Moment to show, since the scene's time origin; the path's middle."),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a scene as a 3DGS PLY or .splat for public viewers, turn such a file into a scene, or clips into nuScenes.

    PLY and .splat know no time: moving Gaussians are placed where they are at --time, faded ones are left out.
    Sky, exposure, cameras and history stay behind. With nuscenes, each clip becomes a scene of a data set that
    nuscenes-devkit loads as version v1.0-jwm: pictures, lidar, poses, boxes and a map mask.
    """
    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_paths
    from jwmtool.errors import UsageError

    sources = read_paths(artifacts)
    check_output(output, force)
    if to == "nuscenes" and time_s is not None:
        raise UsageError("--time: a data set holds every moment; leave it out with --to nuscenes")
    if to != "nuscenes" and len(sources) != 1:
        raise UsageError(f"--to {to}: expected one scene, found {len(sources)}")
    if dry_run:
        return would(reads=sources, writes=[output])
    if to == "nuscenes":
        return _export_nuscenes(sources, output, force)
    source = sources[0]
    from jwmtool.artifacts.provenance import record
    from jwmtool.artifacts.scene_files import convert_scene, file_kind

    file_kind(source)  # a bad input is told before it is hashed
    provenance = record(invocation(), [source])
    count = convert_scene(source, output, to, time_s=time_s, provenance=provenance, force=force)
    console.detail(f"wrote {count} Gaussians")
    console.emit(str(output))


def _export_nuscenes(sources: list[Path], output: Path, force: bool) -> None:
    from jwmtool import console
    from jwmtool.artifacts.clip_io import clip_content_sha256, read_clip
    from jwmtool.artifacts.nuscenes import VERSION, write_nuscenes
    from jwmtool.artifacts.provenance import record
    from jwmtool.cli.options import invocation

    clips = [read_clip(source) for source in sources]
    inputs = [{"path": str(s), "sha256": clip_content_sha256(c)} for s, c in zip(sources, clips, strict=True)]
    for clip in clips:
        if not clip.lidar:
            console.notice(f"{clip.root}: no lidar; LIDAR_TOP gets empty sweeps, because the devkit asks for it")
        if not clip.tracks:
            console.notice(f"{clip.root}: no tracks; there will be no annotations")
    counts = write_nuscenes(clips, output, force=force, provenance=record(invocation(), inputs))
    console.detail(f"version {VERSION}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    console.emit(str(output))
