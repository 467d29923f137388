"""`jwm fuse`: join scenes, and stream new drives into a scene."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jwmtool.cli.options import Device, DryRun, Duration, Force, Output, Quiet, Start, Verbose

if TYPE_CHECKING:
    from jwmtool.artifacts.clip import Clip
    from jwmtool.artifacts.scene import Scene

EXAMPLES = ("jwm fuse scene.h5 other.h5 -o both.h5", "jwm fuse scene.h5 other.h5 --align -o both.h5")


def run(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="SCENE [SCENE|CLIP]...", help="What to join; - reads paths from stdin.")
    ],
    output: Output,
    align: Annotated[
        bool, typer.Option("--align", help="First correct the pose of each after the first, surface to surface.")
    ] = False,
    start_s: Start = 0.0,
    duration_s: Duration = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PATH", help="Checkpoint that takes clips in, or the name of a shipped one."),
    ] = None,
    device: Device = "auto",
    force: Force = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join scenes of one world into one; what one observed well is not overwritten by what another saw worse.

    Scenes lie where their poses say, and may come in any order. A clip is streamed into the scenes given before it;
    pictures that it withholds are never looked at. --start and --duration take a part of clips.
    """
    from dataclasses import replace

    from jwmtool import console
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.artifacts.clip_io import clip_content_sha256, read_clip
    from jwmtool.artifacts.cut import cut_time
    from jwmtool.artifacts.provenance import record
    from jwmtool.artifacts.scene_files import open_scene
    from jwmtool.artifacts.scene_io import write_scene
    from jwmtool.artifacts.weights import weights_file
    from jwmtool.cli.options import invocation, would
    from jwmtool.cli.parsing import read_paths
    from jwmtool.device import resolve_device
    from jwmtool.errors import InputError, UsageError
    from jwmtool.worldrec.checkpoint import find_model, load_model
    from jwmtool.worldrec.join import join_scenes

    paths = read_paths(inputs)
    if (start_s or duration_s is not None) and not any(path.is_dir() for path in paths):
        raise UsageError("--start, --duration: expected with a clip, found only scenes")
    if len(paths) < 2:
        raise UsageError("fuse: expected two scenes or more, or a scene and a clip: jwm fuse a.h5 b.h5 -o both.h5")
    if paths[0].is_dir():
        raise UsageError(f"{paths[0]}: expected a scene before any clip (jwm reconstruct makes one of a clip)")
    check_output(output, force)
    used_device = resolve_device(device)
    drives = [path for path in paths if path.is_dir()]
    checkpoint = [find_model(model, "worldrec")] if drives else []
    if dry_run:
        return would(reads=[*paths, *checkpoint], writes=[output])
    stored = [path for path in paths if not path.is_dir()]
    scenes = [open_scene(path) for path in stored]
    if align:
        scenes[1:] = [_aligned(scene, scenes[0], path) for scene, path in zip(scenes[1:], stored[1:], strict=True)]
    joined = join_scenes(scenes) if len(scenes) > 1 else scenes[0]
    sources: list[str | Path | dict[str, str]] = [*stored, *(weights_file(path) for path in checkpoint)]
    network = load_model(checkpoint[0], used_device) if drives else None
    if network is not None and network.config.method != "sparse":
        raise InputError(checkpoint[0], "a network of sparse queries", f"one of method {network.config.method}")
    for path in drives:
        clip = cut_time(read_clip(path), start_s, duration_s)
        sources.append({"path": str(path), "sha256": clip_content_sha256(clip)})
        joined = _with_clip(joined, clip, network, used_device, align)
        joined = replace(joined, history=[*joined.history, *clip.provenance])
    made = record(invocation(), sources, device=used_device)
    write_scene(replace(joined, history=[*joined.history, made]), output, force=force)
    console.emit(str(output))


def _aligned(scene: Scene, onto: Scene, path: Path) -> Scene:
    from jwmtool import console
    from jwmtool.worldrec.alignment import align, corrected

    found = align(scene, onto, path)
    change = f"{found.before_m:.3f} to {found.residual_m:.3f} m from the other's surfaces (median)"
    console.notice(f"{path}: {change}, {100 * found.share:.0f} % of its points in common")
    return corrected(scene, found)


def _with_clip(scene: Scene, clip: Clip, network: Any, device: str, align: bool) -> Scene:
    from jwmtool import console
    from jwmtool.worldrec.extend import extend_scene
    from jwmtool.worldrec.join import join_scenes
    from jwmtool.worldrec.stream import reconstruct_clip

    with console.progress(clip.name, 1.0) as bar:

        def tick(done: int, total: int) -> None:
            bar.update(done / total)

        if scene.tokens is not None and not align:
            return extend_scene(scene, clip, network, device=device, tick=tick)
        new = reconstruct_clip(clip, network, device=device, tick=tick)
    return join_scenes([scene, _aligned(new, scene, clip.root) if align else new])
