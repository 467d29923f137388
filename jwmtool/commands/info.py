"""`jwm info`: describe an artifact or this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jwmtool.cli.options import Force, Json, Quiet, Verbose

EXAMPLES = (
    "jwm info clip/ --sheet sheet.png",
    "jwm info scene.h5 --json",
    "jwm info --system",
    "jwm info --config worldrec-full",
    "jwm info --config worldgen-wan-1.3b",
)


def run(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[ARTIFACT]...", help="Clips, scenes, PLY, splat, videos, checkpoints; - reads paths."),
    ] = None,
    system: Annotated[bool, typer.Option("--system", help="Describe this machine: torch, CUDA, extras.")] = False,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="NAME", help="Describe a network: parameters, operations, memory."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="PNG", help="Also draw a contact sheet (and a clip's path from above)."),
    ] = None,
    json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Describe clips, scenes, exports, videos and checkpoints, with --system this machine, or with --config a network.

    The facts go to stdout as a table, or with --json as one object a line. Networks are worldrec-mini, -base and
    -full, autoencoder-mini and -base, worldgen-mini, -base, -wan-1.3b and -wan-5b, repair-mini and first-frame-mini;
    their weights are not made, so that any machine can tell of the largest.
    """
    from jwmtool.artifacts.atomic import check_output
    from jwmtool.cli.parsing import read_paths
    from jwmtool.errors import UsageError

    if [system, config is not None, bool(artifacts)].count(True) != 1:
        raise UsageError("expected artifacts, --system or --config, for example: jwm info scene.h5")
    if sheet is not None and not artifacts:
        raise UsageError("--sheet: expected with an artifact")
    if system:
        from jwmtool.cli.system_info import system_info

        return _show("system", system_info(), json)
    if config is not None:
        return _show(config, _describe_network(config), json)
    paths = read_paths(artifacts or [])
    if sheet is not None:
        if len(paths) != 1:
            raise UsageError(f"--sheet: expected one artifact, found {len(paths)}")
        check_output(sheet, force)
    for path in paths:
        _show(str(path), _describe(path, sheet, force), json)
    if sheet is not None:
        from jwmtool import console

        console.notice(f"wrote {sheet}")


def _describe_network(name: str) -> dict[str, Any]:
    from jwmtool.errors import UsageError
    from jwmtool.worldgen.autoencoder_config import CONFIGS as AUTOENCODER
    from jwmtool.worldgen.autoencoder_size import describe_config as describe_autoencoder
    from jwmtool.worldgen.config import CONFIGS as WORLDGEN
    from jwmtool.worldgen.first_frame import CONFIGS as FIRST_FRAME
    from jwmtool.worldgen.first_frame_size import describe_config as describe_first_frame
    from jwmtool.worldgen.repair import CONFIGS as REPAIR
    from jwmtool.worldgen.repair_size import describe_config as describe_repair
    from jwmtool.worldgen.size import describe_config as describe_worldgen
    from jwmtool.worldrec.config import CONFIGS as WORLDREC
    from jwmtool.worldrec.size import describe_config as describe_worldrec

    describe = {f"worldrec-{size}": describe_worldrec for size in WORLDREC}
    describe |= {f"autoencoder-{size}": describe_autoencoder for size in AUTOENCODER}
    describe |= {f"worldgen-{size}": describe_worldgen for size in WORLDGEN}
    describe |= {f"repair-{size}": describe_repair for size in REPAIR}
    describe |= {f"first-frame-{size}": describe_first_frame for size in FIRST_FRAME}
    if name not in describe:
        raise UsageError(f"--config: expected {', '.join(describe)}, found {name!r}")
    return describe[name](name)


def _describe(path: Path, sheet: Path | None, force: bool) -> dict[str, Any]:
    from jwmtool.artifacts.video import VIDEO_SUFFIXES
    from jwmtool.artifacts.weights_info import describe_weights, is_weights
    from jwmtool.errors import UsageError

    if is_weights(path) or path.suffix.lower() in VIDEO_SUFFIXES:
        if sheet is not None:
            raise UsageError(f"--sheet: expected a clip or a scene, found {path}")
        if is_weights(path):
            from jwmtool.artifacts.weights import weights_file

            return {"path": str(path), **describe_weights(weights_file(path))}
        from jwmtool.artifacts.video_info import describe_video

        return {"path": str(path), **describe_video(path)}
    if path.is_dir():
        from jwmtool.artifacts.clip_info import describe_clip
        from jwmtool.artifacts.clip_io import read_clip
        from jwmtool.artifacts.clip_sheet import write_clip_sheet

        clip = read_clip(path)
        if sheet is not None:
            write_clip_sheet(clip, sheet, force)
        return {"path": str(path), **describe_clip(clip)}
    from jwmtool.artifacts.scene_files import file_kind, open_scene
    from jwmtool.artifacts.scene_info import describe_scene

    scene = open_scene(path)
    if sheet is not None:
        from jwmtool.rendering.scene_sheet import write_scene_sheet

        write_scene_sheet(scene, sheet, force)
    facts = describe_scene(scene)
    kind = file_kind(path)
    return {"path": str(path), **facts, **({"format": kind, "version": None} if kind != "h5" else {})}


def _show(title: str, facts: dict[str, Any], as_json: bool) -> None:
    import json
    import sys

    from jwmtool import console

    if as_json:
        return console.emit(json.dumps(facts, sort_keys=True))
    rows = [(name.replace("_", " "), _text(name, value)) for name, value in facts.items()]
    if not sys.stdout.isatty():  # what reads it may be a program: lines are neither cut nor padded
        width = max(len(name) for name, _ in rows)
        lines = [(name if k == 0 else "", line) for name, text in rows for k, line in enumerate(text.split("\n"))]
        return console.emit("\n".join([title, *(f"{name:<{width}}  {line}".rstrip() for name, line in lines)]))
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", show_header=False, title=title, title_justify="left", box=None, pad_edge=False)
    for name, text in rows:
        table.add_row(Text(name, style="bold"), Text(text))
    Console(file=sys.stdout).print(table)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name == "history":
        return "\n".join(f"{r.get('time_utc', '?')}  {' '.join(r.get('argv', ['?']))}" for r in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text('', item)}" for key, item in value.items()) or "none"
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return "\n".join(_text("", item) for item in value)
    if isinstance(value, list):
        return ", ".join(_text("", item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
