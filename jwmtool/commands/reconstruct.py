"""`jwm reconstruct`: turn a clip into a Gaussian scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jwmtool.cli.options import DURATION, Device, DryRun, Duration, Force, Output, Quiet, Seed, Start, Verbose

if TYPE_CHECKING:
    from jwmtool.artifacts.clip import Clip
    from jwmtool.artifacts.scene import Scene

EXAMPLES = (
    "jwm reconstruct clip/ -o scene.h5 --method optimize --budget 60s",
    "jwm ingest drive/ -o clip/ | jwm reconstruct - -o scene.h5 --method optimize",
)
_OF_OPTIMIZE = ("--budget", "--max-steps", "--max-gaussians", "--sh-degree", "--resume")


def run(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Clip to reconstruct; - reads its path from stdin.")],
    output: Output,
    method: Annotated[
        Literal["worldrec", "pixel", "optimize"],
        typer.Option(
            "--method",
            help="worldrec: a network, in seconds. pixel: a network that makes a Gaussian of each pixel, to compare "
            "with. optimize: fit the scene to its pictures.",
        ),
    ] = "worldrec",
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PATH", help="Checkpoint of the network, or the name of a shipped one."),
    ] = None,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    windows: Annotated[
        bool,
        typer.Option("--windows", help="A scene for each window of --protocol storm-windows; OUTPUT is a folder."),
    ] = False,
    refine_s: Annotated[
        float | None,
        typer.Option("--refine", **DURATION, help="Then improve the network's scene on its pictures, for so long."),
    ] = None,
    budget_s: Annotated[
        float | None,
        typer.Option("--budget", **DURATION, help="optimize: time to spend, stereo included.  [default: 300s]"),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(
            "--max-steps", min=1, metavar="N", help="optimize: steps instead of time; repeats exactly with a seed."
        ),
    ] = None,
    max_gaussians: Annotated[
        int | None, typer.Option("--max-gaussians", min=1000, metavar="N", help="optimize: growth stops there.")
    ] = None,
    sh_degree: Annotated[
        int | None,
        typer.Option(
            "--sh-degree", min=0, max=3, metavar="D", help="optimize: color that changes with the view; 0 to 3."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="optimize: go on with a run that was interrupted.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Reconstruct an explicit 3D Gaussian scene from a clip's pictures; withheld ones are never looked at.

    The network takes a clip window by window and fuses each into the scene, so that a clip may have any length.

    With --method optimize, Ctrl-C leaves a valid scene and the state of the fit beside it; --resume goes on from
    there, with a longer --budget if wanted. The state is also saved every half minute, and removed when the fit is
    done.
    """
    import time

    started = time.monotonic()

    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.artifacts.clip_io import clip_content_sha256, read_clip
    from jwmtool.artifacts.cut import cut_time
    from jwmtool.artifacts.provenance import record
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_path
    from jwmtool.device import resolve_device
    from jwmtool.errors import UsageError

    given = dict(zip(_OF_OPTIMIZE, (budget_s, max_steps, max_gaussians, sh_degree, resume or None), strict=True))
    strange = [flag for flag, value in given.items() if value is not None]
    if method != "optimize" and strange:
        raise UsageError(f"{strange[0]}: expected with --method optimize, found with --method {method}")
    if method == "optimize" and (model is not None or refine_s is not None):
        raise UsageError(f"{'--refine' if model is None else '--model'}: expected with a network, found with optimize")
    if windows and resume:
        raise UsageError("--resume: expected without --windows, found both")
    source = read_path(clip)
    check_output(output, force or resume)
    used_device = resolve_device(device)
    loaded = cut_time(read_clip(source), start_s, duration_s)
    inputs = [{"path": str(source), "sha256": clip_content_sha256(loaded)}]
    if method == "optimize":
        if dry_run:
            return would(reads=[source], writes=[output])
        fit = _Fit(
            {"budget_s": budget_s, "max_steps": max_steps, "max_gaussians": max_gaussians, "sh_degree": sh_degree},
            seed,
            used_device,
        )
        if not windows:
            state = fit.with_state(loaded, output, started, resume, inputs, force)
            if state is not None:
                console.notice(f"interrupted; the scene so far is valid, and --resume goes on from {state}")
                raise typer.Exit(130)
            return None
        scene_of: Callable[[Clip], Scene] = fit.scene_of
        settings = fit.told
    else:
        from jwmtool.worldrec.checkpoint import find_model

        checkpoint = find_model(model, method)
        if dry_run:
            return would(reads=[source, checkpoint], writes=[output])
        network = _Network(checkpoint, method, used_device, refine_s, seed, show=not windows)
        inputs.append({"path": str(checkpoint), "sha256": network.sha256})
        scene_of, settings = network.scene_of, network.told

    def finished(scene: Scene) -> Scene:
        from dataclasses import replace

        made = record(invocation(), inputs, seed=seed, device=used_device) | {"method": method, "settings": settings}
        return replace(scene, history=[*loaded.provenance, made])

    if windows:
        _write_windows(loaded, output, lambda part: finished(scene_of(part)), force)
    else:
        from jwmtool.artifacts.scene_io import write_scene

        write_scene(finished(scene_of(loaded)), output, force=force)
    console.emit(str(output))
    console.detail(f"{time.monotonic() - started:.1f} s")


class _Network:
    """Scenes by a network."""

    def __init__(
        self, checkpoint: Path, method: str, device: str, refine_s: float | None, seed: int, show: bool
    ) -> None:
        from jwmtool.artifacts.weights import weights_sha256
        from jwmtool.errors import InputError
        from jwmtool.worldrec.checkpoint import load_model

        self.device, self.refine_s, self.seed, self.show = device, refine_s, seed, show
        self.model = load_model(checkpoint, device)
        found = {"sparse": "worldrec"}.get(self.model.config.method, self.model.config.method)
        if found != method:
            raise InputError(checkpoint, f"a network of --method {method}", f"one of --method {found}")
        self.sha256 = weights_sha256(checkpoint)
        self.told: dict[str, Any] = {"model": self.model.config.to_dict(), "refine_s": refine_s}

    def scene_of(self, clip: Clip) -> Scene:
        """Reconstruct one clip."""
        from contextlib import nullcontext

        from jwmtool import console
        from jwmtool.worldrec.stream import reconstruct_clip

        with console.progress("windows", 1.0) if self.show else nullcontext() as bar:
            tick = None if bar is None else lambda done, total: bar.update(done / total)
            scene = reconstruct_clip(clip, self.model, device=self.device, tick=tick)
        return scene if self.refine_s is None else self._refined(scene, clip)

    def _refined(self, scene: Scene, clip: Clip) -> Scene:
        """The seam of --refine."""
        import time

        from jwmtool import console
        from jwmtool.fitting.refine import RefineSettings, refine

        settings = RefineSettings(budget_s=self.refine_s or 0.0, seed=self.seed)
        with console.progress("refining", 1.0) as bar:
            return refine(scene, clip, settings, self.device, started=time.monotonic(), bar=bar)


class _Fit:
    """Scenes by optimization."""

    def __init__(self, values: dict[str, Any], seed: int, device: str) -> None:
        from dataclasses import asdict

        from jwmtool.fitting.settings import FitSettings

        self.seed, self.device = seed, device
        self.settings = FitSettings(seed=seed, **{key: value for key, value in values.items() if value is not None})
        self.told: dict[str, Any] = asdict(self.settings)

    def scene_of(self, clip: Clip) -> Scene:
        """Fit one clip; Ctrl-C ends everything."""
        import time

        from jwmtool.fitting.session import fit_clip

        scene, done = fit_clip(clip, self.settings, self.device, started=time.monotonic())
        if not done:
            raise KeyboardInterrupt
        return scene

    def with_state(
        self, clip: Clip, output: Path, started: float, resume: bool, inputs: list[dict[str, str]], force: bool
    ) -> Path | None:
        """Fit a clip and write its scene; where that was interrupted, return the state to go on from."""
        from dataclasses import replace

        from jwmtool import console
        from jwmtool.artifacts.provenance import record
        from jwmtool.artifacts.scene_io import write_scene
        from jwmtool.cli.options import invocation
        from jwmtool.fitting.session import fit_clip, state_path

        state = state_path(output)
        scene, done = fit_clip(clip, self.settings, self.device, started=started, checkpoint=state, resume=resume)
        made = record(invocation(), inputs, seed=self.seed, device=self.device)
        made |= {"method": "optimize", "settings": self.told, "finished": done}
        write_scene(replace(scene, history=[*clip.provenance, made]), output, force=force or resume)
        console.emit(str(output))
        if not done:
            return state
        state.unlink(missing_ok=True)
        return None


def _write_windows(clip: Clip, folder: Path, scene_of: Callable[[Clip], Scene], force: bool) -> None:
    """A scene for each window, named as `jwm score --protocol storm-windows` reads them."""
    from jwmtool import console
    from jwmtool.artifacts.scene_io import write_scene
    from jwmtool.metrics.windows import window_clip
    from jwmtool.metrics.windows import windows as windows_of

    found = windows_of(clip)
    with console.progress("windows", len(found)) as bar:
        for done, window in enumerate(found):
            write_scene(scene_of(window_clip(clip, window)), folder / f"{window.first:06d}.h5", force=force)
            bar.update(done + 1)
