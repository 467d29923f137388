"""`jwm train`: train a network on clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jwmtool.cli.options import DURATION, Device, DryRun, Force, Output, Quiet, Seed, Verbose

EXAMPLES = (
    "jwm train worldrec --data worlds/ --budget 2h -o run/",
    "jwm train worldrec --data worlds/ --data clip/ --stage depth --max-steps 2000 --batch 4 -o run/",
    "jwm train autoencoder --data worlds/ --data clip/ --budget 2h -o run/",
    "jwm train worldgen --data worlds/ --budget 4h -o run/",
    "jwm train repair --data worlds/ --budget 1h -o run/",
    "jwm train first-frame --data worlds/ --budget 2h -o run/",
)
_BATCH = {"worldrec": 4, "autoencoder": 16, "worldgen": 8, "repair": 8, "first-frame": 32}
_LR = {"worldrec": 3e-4, "autoencoder": 1e-3, "worldgen": 5e-4, "repair": 1e-3, "first-frame": 1e-3}


def run(
    model: Annotated[
        Literal["worldrec", "autoencoder", "worldgen", "repair", "first-frame"],
        typer.Argument(
            metavar="MODEL",
            help="worldrec: pictures in, a Gaussian scene out; autoencoder: pictures to latents, and back; "
            "worldgen: what is known of a drive in, its video's latents out; repair: renders of scenes in, whole "
            "pictures out; first-frame: words and cameras in, the picture that a video begins with out.",
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="DIR",
            help="A clip, or a folder of clips; repeatable, each counts alike. - reads paths from stdin.",
        ),
    ],
    output: Output,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            "--held-out",
            metavar="DIR",
            help="Clips to score on, as --data.",
            show_default="one in twenty of --data, at most 8, kept from training",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="NAME",
            help="mini, base or full; of the autoencoder: mini, mini8 or base; of worldgen: mini or base; of repair "
            "and first-frame: mini.",
            show_default="mini, or that of --init",
        ),
    ] = None,
    method: Annotated[
        Literal["sparse", "pixel"] | None,
        typer.Option(
            "--method", help="Of worldrec: sparse scene queries, or a Gaussian a pixel.", show_default="sparse"
        ),
    ] = None,
    stage: Annotated[
        Literal["depth", "full", "gate"] | None,
        typer.Option(
            "--stage",
            help="Of worldrec. depth: coarse depth alone, a fast start for a full training by --init; "
            "full: the default; gate: fusion's, at last.",
            show_default=False,
        ),
    ] = None,
    autoencoder: Annotated[
        str | None,
        typer.Option(
            "--autoencoder",
            metavar="PATH",
            help="Of worldgen: whose latents it makes.",
            show_default="the shipped autoencoder-mini",
        ),
    ] = None,
    priors: Annotated[
        str | None,
        typer.Option(
            "--priors",
            metavar="PATH|none",
            help="Of worldgen and repair: the WorldRec whose scenes they learn to complete; none (worldgen): pictures "
            "made worse.",
            show_default="the shipped worldrec-mini",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Of worldgen, repair and first-frame: where latents, renders, or pictures cut to size, are kept, once "
            "made; runs may share it.",
            show_default="OUTPUT/cache",
        ),
    ] = None,
    budget_s: Annotated[
        float | None,
        typer.Option("--budget", **DURATION, help="Time to spend; the learning rate falls over it."),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option("--max-steps", min=1, metavar="N", help="Steps to take: repeats exactly with a seed."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="PATH",
            help="Start from weights: a file, a shipped model or another run; of another method (worldrec): from what "
            "both share.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted; give the same flags again.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            metavar="N",
            help="Windows (worldrec, 4 by default), pictures (autoencoder, 16; repair, 8), videos (worldgen, 8) or "
            "moments (first-frame, 32) a step, of all ranks.",
            show_default=False,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            metavar="X",
            help="Learning rate after warm-up, by default 0.0003 (worldrec), 0.0005 (worldgen) or 0.001 (the others).",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option("--precision", help="bf16 is for CUDA.")] = "fp32",
    eval_every_s: Annotated[
        float,
        typer.Option("--eval-every", **DURATION, help="Time between scores on held-out clips.", show_default="300s"),
    ] = 300.0,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a network on clips; withheld pictures are never looked at.

    On many GPUs or machines: torchrun --nproc-per-node 8 --no-python jwm train ...

    The folder gets best.safetensors and last.safetensors, a log, pictures of held-out clips, data.json (what it was
    trained on) and the state from which --resume goes on after Ctrl-C, with a longer --budget if wanted.
    """
    import os

    from jwmtool import console
    from jwmtool.artifacts.provenance import record
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_paths
    from jwmtool.device import resolve_device
    from jwmtool.errors import OutputExistsError, UsageError
    from jwmtool.training.checkpoint import latest_state
    from jwmtool.training.clips import MIN_FRAMES, gather
    from jwmtool.training.loop import train
    from jwmtool.training.remove import remove_run
    from jwmtool.training.run import Run
    from jwmtool.training.settings import TrainSettings

    flags = {
        ("worldrec",): (("--method", method), ("--stage", stage)),
        ("worldgen",): (("--autoencoder", autoencoder),),
        ("worldgen", "repair"): (("--priors", priors),),
        ("worldgen", "repair", "first-frame"): (("--cache", cache),),
    }
    for owners, pairs in flags.items():
        for flag, value in pairs:
            if model not in owners and value is not None:
                having = "has" if len(owners) == 1 else "have"
                names = " and ".join([", ".join(owners[:-1]), owners[-1]] if len(owners) > 1 else owners)
                raise UsageError(f"{flag} {value}: only {names} {having} it, not {model}; leave it out")
    batch, lr = _BATCH[model] if batch is None else batch, _LR[model] if lr is None else lr
    settings = TrainSettings(batch=batch, lr=lr, precision=precision, eval_every_s=eval_every_s, seed=seed)
    used_device = resolve_device(device)
    if not (resume or force) and latest_state(output) is not None:
        raise OutputExistsError(output)
    asked = Run(output, used_device, budget_s, max_steps, resume, init)
    clips = gather(read_paths(data), held_out or (), MIN_FRAMES if model in ("worldrec", "repair") else 1)
    if model == "worldrec":
        from jwmtool.training.worldrec.plan import plan_worldrec

        plan = plan_worldrec(asked, clips, config, method, stage or "full", seed)
    elif model == "autoencoder":
        from jwmtool.training.autoencoder.plan import plan_autoencoder

        plan = plan_autoencoder(asked, clips, config, seed)
    elif model == "repair":
        from jwmtool.training.repair.plan import plan_repair

        plan = plan_repair(asked, clips, config, seed, priors, cache)
    elif model == "first-frame":
        from jwmtool.training.first_frame.plan import plan_first_frame

        plan = plan_first_frame(asked, clips, config, seed, cache)
    else:
        from jwmtool.training.worldgen.plan import plan_worldgen

        plan = plan_worldgen(asked, clips, config, seed, autoencoder, priors, cache)
    if dry_run:
        return would(reads=[*data, *(held_out or ()), *([init] if init else ())], writes=[output])
    if resume:
        plan.check(output)
    if plan.prepare is not None:
        plan.prepare()
    if not resume:
        remove_run(output)
        plan.write(output, record(invocation(), seed=seed, device=used_device))
    result = train(plan.task, settings, plan.run)
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes one speaks
        console.emit(str(output))
    if not result.finished:
        console.notice("interrupted; the weights so far are in last.safetensors, and --resume goes on")
        raise typer.Exit(130)
