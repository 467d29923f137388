"""`jwm world`: make a driving world, or many, with exact truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jwmtool.cli.options import DURATION, SIZE, DryRun, Force, Output, Quiet, Seed, Verbose
from jwmtool.cli.parsing import Size

EXAMPLES = (
    "jwm world city --seed 7 --duration 500ms --size 224x128 -o city/",
    "jwm world country --rig stereo --weather rain --event deer --duration 200ms --size 224x128 -o deer/",
)


def run(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="city, suburb, motorway or country; random lets the seed decide.")
    ],
    output: Output,
    seed: Seed = 0,
    duration_s: Annotated[
        float, typer.Option("--duration", **DURATION, help="Length of the clip.", show_default="10s")
    ] = 10.0,
    rig: Annotated[
        str,
        typer.Option(
            "--rig", metavar="R", help="front1, front3, surround6 (like nuScenes), stereo (like KITTI) or a JSON file."
        ),
    ] = "front1",
    rate_hz: Annotated[float, typer.Option("--rate", metavar="HZ", help="Frames a second, say 10 or 30.")] = 10.0,
    size: Annotated[
        Size | None, typer.Option("--size", **SIZE, help="Picture size.", show_default="448x256, or the JSON rig's")
    ] = None,
    weather: Annotated[
        str, typer.Option("--weather", metavar="W", help="clear, overcast, rain, fog, snow or random.")
    ] = "clear",
    time_of_day: Annotated[str, typer.Option("--time-of-day", metavar="D", help="day, dusk, night or random.")] = "day",
    event: Annotated[
        str,
        typer.Option(
            "--event",
            metavar="E",
            help="horse, deer, tiger, dog, rocks, wrong-way, cut-in, child, cargo, none or random.",
        ),
    ] = "none",
    lidar: Annotated[
        str, typer.Option("--lidar", metavar="L", help="none, 32 or 64 beams; auto is what the rig has.")
    ] = "auto",
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, metavar="N", help="Make N seeds from --seed on, each in OUTPUT/KIND-SEED."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="Processes for --count.", show_default="one per core"),
    ] = None,
    withhold: Annotated[
        list[str] | None,
        typer.Option(
            "--withhold",
            metavar="RULE",
            help="Keep from fitting, for scoring: every=N[,offset=M], frames=I,J or camera=NAME; repeatable.",
        ),
    ] = None,
    supersampling: Annotated[
        int, typer.Option("--supersampling", min=1, max=8, metavar="N", help="N x N rays a pixel.")
    ] = 2,
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a driving world and film it: a clip with depth, normals, motion, classes, boxes, lanes and actions.

    The same seed gives the same world, and another --rig, --weather or --size films the same streets. With --count,
    seeds that are there already are left alone, so that a stopped run goes on; seeds that fail do not stop the others.
    """
    from dataclasses import replace

    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.cli.options import invocation, would
    from jwmtool.errors import UsageError
    from jwmtool.worlds.random_stream import Stream
    from jwmtool.worlds.rigs import is_rig_file, make_rig, rig_size
    from jwmtool.worlds.spec import WorldSpec

    if workers is not None and count is None:
        raise UsageError("--workers: works with --count; one world uses all cores anyway (JWM_THREADS=N for fewer)")
    width, height = size or rig_size(rig)
    spec = WorldSpec(kind, seed, duration_s, rate_hz, width, height, weather, time_of_day, event)
    cameras = make_rig(rig, width, height, Stream(seed, "check"), lidar).cameras  # a bad rig is told before any work
    rules = tuple(withhold or ())
    if rules:
        from jwmtool.artifacts.withhold import make_split

        make_split(rules, spec.num_frames, [camera.name for camera in cameras])
    inputs = [Path(rig)] if is_rig_file(rig) else []
    if count is None:
        check_output(output, force)
    if dry_run:
        specs = [replace(spec, seed=s).resolved() for s in range(seed, seed + (count or 0))]
        return would(reads=inputs, writes=[output / s.name for s in specs] or [output])
    from jwmtool.artifacts.provenance import record

    provenance = record(invocation(), inputs, seed=seed, device="cpu")
    if count is None:
        from jwmtool.worlds.generate import write_world
        from jwmtool.worlds.world import make_world

        world = make_world(spec, rig, lidar)
        console.detail(f"{world.num_frames} frames, {len(cameras)} cameras")
        written = write_world(
            world, output, supersampling=supersampling, withhold=rules, force=force, provenance=provenance
        )
        return console.emit(str(written))
    from jwmtool.device import num_threads
    from jwmtool.worlds.many import Order, write_worlds

    order = Order(spec, output, rig, lidar, supersampling, rules, force, provenance)
    write_worlds(order, count, min(workers or num_threads(), count), lambda path: console.emit(str(path)))
