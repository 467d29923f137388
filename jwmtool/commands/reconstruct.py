"""`jwm reconstruct`: turn a clip into a Gaussian scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jwmtool.cli.options import DURATION, Device, DryRun, Force, Output, Quiet, Seed, Verbose

EXAMPLES = (
    "jwm reconstruct clip/ -o scene.h5 --method optimize --budget 60s",
    "jwm ingest drive/ -o clip/ | jwm reconstruct - -o scene.h5",
)


def run(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Clip to reconstruct; - reads its path from stdin.")],
    output: Output,
    method: Annotated[
        Literal["optimize"], typer.Option("--method", help="optimize: fit the scene to its pictures, one by one.")
    ] = "optimize",
    budget_s: Annotated[
        float, typer.Option("--budget", **DURATION, help="Time to spend, stereo included.", show_default="300s")
    ] = 300.0,
    max_steps: Annotated[
        int | None,
        typer.Option("--max-steps", min=1, metavar="N", help="Steps instead of time: repeats exactly with a seed."),
    ] = None,
    max_gaussians: Annotated[
        int | None, typer.Option("--max-gaussians", min=1000, metavar="N", help="Growth stops there.")
    ] = None,
    sh_degree: Annotated[
        int, typer.Option("--sh-degree", min=0, max=3, metavar="D", help="Color that changes with the view: 0 to 3.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Reconstruct an explicit 3D Gaussian scene from a clip's pictures; withheld ones are never looked at.

    Ctrl-C leaves a valid scene and the state of the fit beside it; --resume goes on from there, with a longer
    --budget if wanted. The state is also saved every half minute, and removed when the fit is done.
    """
    import time

    started = time.monotonic()

    from dataclasses import asdict, replace

    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.artifacts.clip_io import clip_content_sha256, read_clip
    from jwmtool.artifacts.provenance import record
    from jwmtool.artifacts.scene_io import write_scene
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_path
    from jwmtool.device import resolve_device
    from jwmtool.fitting.session import fit_clip, state_path
    from jwmtool.fitting.settings import FitSettings

    source = read_path(clip)
    check_output(output, force or resume)
    used_device = resolve_device(device)
    loaded = read_clip(source)
    state = state_path(output)
    if dry_run:
        return would(reads=[source], writes=[output])
    settings = FitSettings(budget_s=budget_s, max_steps=max_steps, seed=seed, sh_degree=sh_degree)
    if max_gaussians is not None:
        settings = replace(settings, max_gaussians=max_gaussians)
    scene, finished = fit_clip(loaded, settings, used_device, started=started, checkpoint=state, resume=resume)
    made = record(
        invocation(), [{"path": str(source), "sha256": clip_content_sha256(loaded)}], seed=seed, device=used_device
    )
    made |= {"method": method, "settings": asdict(settings), "finished": finished}
    scene = replace(scene, history=[*loaded.provenance, made])
    write_scene(scene, output, force=force or resume)
    console.emit(str(output))
    if not finished:
        console.notice(f"interrupted; the scene so far is valid, and --resume goes on from {state}")
        raise typer.Exit(130)
    state.unlink(missing_ok=True)
