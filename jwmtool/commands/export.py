"""`jwm export`: convert a scene for other tools, or import one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jwmtool.cli.options import DURATION, DryRun, Force, Output, Quiet, Verbose

EXAMPLES = ("jwm export scene.h5 --to ply -o scene.ply", "jwm export scene.ply --to h5 -o imported.h5")


def run(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="Scene, .ply or .splat file; - reads its path from stdin.")
    ],
    to: Annotated[Literal["ply", "splat", "h5"], typer.Option("--to", help="Format to write.")],
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
    """Write a scene as a 3DGS PLY or .splat for public viewers, or turn such a file into a scene.

    Those formats know no time: moving Gaussians are placed where they are at --time, faded ones are left out.
    Sky, exposure, cameras and history stay behind.
    """
    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_path

    source = read_path(artifact)
    check_output(output, force)
    if dry_run:
        return would(reads=[source], writes=[output])
    from jwmtool.artifacts.provenance import record
    from jwmtool.artifacts.scene_files import convert_scene, file_kind

    file_kind(source)  # a bad input is told before it is hashed
    provenance = record(invocation(), [source])
    count = convert_scene(source, output, to, time_s=time_s, provenance=provenance, force=force)
    console.detail(f"wrote {count} Gaussians")
    console.emit(str(output))
