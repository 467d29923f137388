"""`jwm render`: render video or stills from a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jwmtool.cli.options import DURATION, SIZE, Device, DryRun, Force, PathText, Quiet, ShiftText, Verbose
from jwmtool.cli.parsing import Size

EXAMPLES = (
    "jwm render scene.h5 -o video.mp4 --compare clip/",
    "jwm render scene.h5 -o turn.mp4 --trajectory 'straight 20m, left 90deg' --size 416x128",
    "jwm render scene.h5 -o above.png --bev",
)


def run(
    scene: Annotated[Path, typer.Argument(metavar="SCENE", help="Scene; - reads its path from stdin.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="MP4|DIR|PNG", help="Video, folder of PNGs, or a still; printed on stdout."
        ),
    ],
    camera: Annotated[
        str | None, typer.Option("--camera", metavar="C", help="Camera of the rig; else the first.")
    ] = None,
    time_s: Annotated[
        float | None,
        typer.Option("--time", **DURATION, help="Seconds from the start: the still's moment; a video freezes then."),
    ] = None,
    trajectory: PathText = None,
    offset: ShiftText = None,
    bev: Annotated[bool, typer.Option("--bev", help="From above, with the path and a scale.")] = False,
    depth: Annotated[bool, typer.Option("--depth", help="Depth in colors: 2 m red, 80 m blue.")] = False,
    alpha: Annotated[bool, typer.Option("--alpha", help="How much the scene covers, in gray.")] = False,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="CLIP", help="Beside the recording, from its exact poses.")
    ] = None,
    difference: Annotated[bool, typer.Option("--difference", help="With --compare: also their difference.")] = False,
    only: Annotated[
        Literal["observed", "imagined"] | None,
        typer.Option("--only", help="Only what was seen, or only what was made up."),
    ] = None,
    size: Annotated[
        Size | None, typer.Option("--size", **SIZE, help="Scale the view to cover WxH, then crop about the center.")
    ] = None,
    rate_hz: Annotated[
        float | None,
        typer.Option("--rate", metavar="HZ", help="Frames a second, interpolating the path; else as recorded."),
    ] = None,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Render a scene along its recorded path, or along another one, as a video, a folder of PNGs or a still.

    A video (.mp4) gets a .jsonl beside it with the time, pose and coverage of each frame; a folder holds frames.jsonl.
    """
    from jwmtool import console
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_path
    from jwmtool.errors import UsageError

    source = read_path(scene)
    if depth and alpha:
        raise UsageError("--depth, --alpha: expected one of them")
    from jwmtool.artifacts.video import check_video_output, open_writer

    check_video_output(output, force)
    if dry_run:
        would(reads=[source, *([compare] if compare else [])], writes=[output])
        return
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.artifacts.provenance import record
    from jwmtool.artifacts.scene_files import open_scene
    from jwmtool.device import resolve_device
    from jwmtool.geometry.trajectory_text import parse_offset
    from jwmtool.rendering.plan import RenderRequest, plan_render
    from jwmtool.rendering.view import on_device

    request = RenderRequest(
        camera=camera,
        time_s=time_s,
        trajectory=trajectory,
        offset=parse_offset(offset) if offset is not None else None,
        show="depth" if depth else "alpha" if alpha else "color",
        bev=bev,
        compare=compare is not None,
        difference=difference,
        only=only,
        size=size,
        rate_hz=rate_hz,
        still=output.suffix.lower() == ".png",
    )
    opened = open_scene(source)
    clip = read_clip(compare) if compare is not None else None
    target = resolve_device(device)
    plan = plan_render(on_device(opened, target), request, clip)
    inputs = [source, *([compare] if compare is not None else [])]
    provenance = [*opened.history, record(invocation(), inputs, device=target)]
    with (
        console.progress("rendering", plan.total) as bar,
        open_writer(output, plan.rate_hz, force, provenance) as writer,
    ):
        for done, frame in enumerate(plan.frames, 1):
            writer.write(frame.image, frame.meta)
            bar.update(done, f"frame {done}/{plan.total}")
    console.emit(str(output))
