"""`jwm generate`: make driving video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jwmtool.cli.options import SIZE, Device, DryRun, Force, OptionalOutput, PathText, Quiet, Seed, ShiftText, Verbose
from jwmtool.cli.parsing import Size

EXAMPLES = (
    "jwm generate --prior scene.h5 --frames 8 -o video.mp4",
    "jwm generate --clip clip/ --frames 8 --trajectory 'straight 4m, left 45deg' --prompt 'snow at dusk' -o turn.mp4",
)


def run(
    prior: Annotated[
        Path | None,
        typer.Option("--prior", metavar="SCENE", help="Scene whose renders guide the video; - reads its path."),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option("--clip", metavar="CLIP", help="Clip to begin as: first pictures, cameras, path, tags; or -."),
    ] = None,
    first_frames: Annotated[
        list[Path] | None,
        typer.Option("--first-frame", metavar="IMG", help="Picture to begin with; repeatable, one for each camera."),
    ] = None,
    layout: Annotated[
        Path | None,
        typer.Option("--layout", metavar="CLIP", help="Clip whose boxes and lanes are to be seen; - reads its path."),
    ] = None,
    output: OptionalOutput = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PATH", help="Checkpoint of WorldGen, or a shipped one's name.")
    ] = None,
    autoencoder: Annotated[
        str | None, typer.Option("--autoencoder", metavar="PATH", help="Checkpoint of the autoencoder, likewise.")
    ] = None,
    repair: Annotated[
        str | None,
        typer.Option(
            "--repair",
            metavar="PATH|none",
            help="Weights that repair the scene's renders before they are generated from.",
            show_default="the shipped repair-mini; none for Wan's",
        ),
    ] = None,
    first_frame_model: Annotated[
        str | None,
        typer.Option(
            "--first-frame-model",
            metavar="PATH|none",
            help="Weights that make up the first picture where nothing gives one.",
            show_default="the shipped first-frame-mini; none for Wan's",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, metavar="N", help="Length.", show_default="48, or 1 for a still")
    ] = None,
    rate_hz: Annotated[
        float | None,
        typer.Option("--rate", metavar="HZ", help="Frames a second.", show_default="the scene's or clip's, or 10"),
    ] = None,
    size: Annotated[
        Size | None,
        typer.Option("--size", **SIZE, help="Multiples of 16.", show_default="224x128 or 416x128, as the camera's"),
    ] = None,
    cameras: Annotated[
        str | None,
        typer.Option(
            "--cameras",
            metavar="A,B",
            help="Cameras of the rig; several make a folder.",
            show_default="the first",
        ),
    ] = None,
    trajectory: PathText = None,
    offset: ShiftText = None,
    actions: Annotated[
        str | None,
        typer.Option(
            "--actions",
            metavar="FILE",
            help="Drive by lines 'speed_mps yaw_rate_radps', one a frame, or a video's .jsonl; - reads stdin.",
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="K", help="city, suburb, motorway or country.")] = None,
    weather: Annotated[
        str | None, typer.Option("--weather", metavar="W", help="clear, overcast, rain, fog or snow.")
    ] = None,
    time_of_day: Annotated[str | None, typer.Option("--time-of-day", metavar="D", help="day, dusk or night.")] = None,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            metavar="E",
            help="horse, deer, tiger, dog, rocks, wrong-way, cut-in, child, cargo or none.",
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="The same in words: 'a foggy motorway at night'.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="From noise to video.", show_default="4")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            metavar="X",
            help="0 to 1: less draws less from chance, calmer and blurrier.",
            show_default="0.7; 1 for Wan's",
        ),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            "--keep",
            metavar="X",
            help="0 to 1: how much of what the scene shows (or of the last picture, carried along) stays as it is.",
            show_default="0.5; 0 for Wan's",
        ),
    ] = None,
    guidance: Annotated[
        str | None,
        typer.Option(
            "--guidance",
            metavar="G",
            help="How much to insist: a number (text), or 'text=3,ego=2,prior=1.5,first=1'; also rays, layout.",
        ),
    ] = None,
    seed: Seed = 0,
    num_samples: Annotated[
        int,
        typer.Option("--num-samples", min=1, max=1000, metavar="K", help="Videos, of seeds from --seed on; a folder."),
    ] = 1,
    preview: Annotated[
        bool, typer.Option("--preview", help="Bare render and coverage beside the generated picture.")
    ] = False,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make driving video along a path: of a scene, from first frames, of a layout, or of nothing but words.

    Without --trajectory or --actions the recorded path is driven, and then on with constant speed and curvature. A
    video (.mp4) gets a .jsonl beside it with the time, pose, coverage and action of each frame.
    """
    import sys

    from jwmtool import console
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import parse_names, read_path
    from jwmtool.errors import InputError, UsageError
    from jwmtool.geometry.trajectory_text import parse_offset
    from jwmtool.joint.drive import DriveRequest
    from jwmtool.joint.path import parse_actions
    from jwmtool.joint.run import Order, plan_videos
    from jwmtool.worldgen.sampler import Sampling, parse_guidance
    from jwmtool.worldgen.tags import read_prompt

    from_stdin = [
        flag
        for flag, value in (("--prior", prior), ("--clip", clip), ("--layout", layout), ("--actions", actions))
        if str(value) == "-"
    ]
    if len(from_stdin) > 1:
        raise UsageError(f"{', '.join(from_stdin)}: expected one of them to read stdin")
    given = {"kind": kind, "weather": weather, "time_of_day": time_of_day, "event": event}
    tags = {group: value for group, value in given.items() if value is not None}
    if prompt is not None:
        told = read_prompt(prompt)
        if told.unknown:
            console.notice(f"--prompt: words that are not known: {', '.join(told.unknown)}")
        if not told.tags:
            console.notice("--prompt: no word of it is known; the video is made without")
        tags = told.tags | tags
    driven = None
    if actions == "-":
        driven = parse_actions(sys.stdin)
    elif actions is not None:
        try:
            driven = parse_actions(Path(actions).read_text(encoding="utf-8").splitlines(), f"--actions {actions}")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(actions, "a readable file of actions", str(error)) from None
    still = output is not None and output.suffix.lower() == ".png"
    plan = plan_videos(
        Order(
            request=DriveRequest(
                num_frames=frames or (1 if still else 48),
                rate_hz=rate_hz,
                size=size,
                cameras=None if cameras is None else tuple(parse_names(cameras)),
                trajectory=trajectory,
                offset=None if offset is None else parse_offset(offset),
                actions=driven,
                tags=tags,
            ),
            sampling=Sampling(
                Sampling.steps if steps is None else steps,
                guidance={} if guidance is None else parse_guidance(guidance),
                temperature=1.0 if temperature is None else temperature,
            ),
            calm=temperature is None,
            keep=keep,
            prior=None if prior is None else read_path(prior),
            clip=None if clip is None else read_path(clip),
            layout=None if layout is None else read_path(layout),
            first_frames=tuple(first_frames or ()),
            model=model,
            autoencoder=autoencoder,
            repair=repair,
            first_frame_model=first_frame_model,
            output=output,
            seed=seed,
            num_samples=num_samples,
            preview=preview,
            device=device,
            force=force,
        )
    )
    if dry_run:
        return would(reads=plan.reads(), writes=[plan.output.path])
    console.emit(str(plan.write(invocation())))
