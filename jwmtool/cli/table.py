"""The verbs: which module holds each command and the line that `jwm --help` shows for it.

A module is imported only when its verb is used, so that help stays fast. Every module defines `run`, a function
with typer parameters, and `EXAMPLES`, the command lines shown at the end of its help.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One subcommand."""

    module: str
    summary: str


VERBS: dict[str, Verb] = {
    "ingest": Verb("jwmtool.commands.ingest", "Turn a driving recording into a clip."),
    "world": Verb("jwmtool.commands.world", "Make driving worlds with exact truth."),
    "reconstruct": Verb("jwmtool.commands.reconstruct", "Turn a clip into a Gaussian scene."),
    "fuse": Verb("jwmtool.commands.fuse", "Join scenes, and extend them by new drives."),
    "train": Verb("jwmtool.commands.train", "Train a network on clips."),
    "render": Verb("jwmtool.commands.render", "Render video or stills from a scene."),
    "generate": Verb("jwmtool.commands.generate", "Make driving video, of a scene or from first frames."),
    "score": Verb("jwmtool.commands.score", "Compare rendered with recorded pictures."),
    "info": Verb("jwmtool.commands.info", "Describe a clip, a scene, a PLY or this machine."),
    "export": Verb("jwmtool.commands.export", "Convert scenes to PLY or splat, clips to nuScenes."),
}
