"""Flags that several commands share, declared once, so that they mean the same everywhere.

A command takes the ones it needs:

    \"\"\"Count the frames of a clip.\"\"\"

    from pathlib import Path
    from typing import Annotated

    import typer

    from jwmtool.cli.options import DryRun, Force, Output, Quiet, Seed, Verbose, would

    EXAMPLES = ("jwm count clip/ -o count.txt", "jwm count clip/ -o count.txt --force")

    def run(
        clip: Annotated[Path, typer.Argument(help="Clip to count; - reads its path from stdin.")],
        output: Output,
        seed: Seed = 0,
        force: Force = False,
        dry_run: DryRun = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        \"\"\"Count the frames of a clip. This text is the command's help.\"\"\"
        from jwmtool import console
        from jwmtool.artifacts.clip_io import read_clip  # heavy imports live in here
        from jwmtool.cli.parsing import read_path

        clip = read_path(clip)
        if dry_run:
            return would(reads=[clip], writes=[output])
        ...
        console.emit(str(output))

`-q` and `-v` take effect by themselves; a command only lists them. Annotations are evaluated by typer, so a command
module imports `Path` and these names at its top, and may use `from __future__ import annotations`.
Every option can also be set by JWM_<FLAG> (the shared ones below) or JWM_<VERB>_<FLAG>, or in the configuration file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from jwmtool import console
from jwmtool.cli.parsing import as_parameter, parse_duration_s, parse_size

# Keys of [defaults] in the configuration file: shared flags that make sense for every verb.
SHARED_DEFAULTS = ("device", "seed", "quiet", "verbose", "json")


def _quiet(value: bool) -> bool:
    if value:
        console.set_verbosity(-1)
    return value


def _verbose(value: bool) -> bool:
    if value:
        console.set_verbosity(1)
    return value


Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="PATH", help="Where to write; the path is printed on stdout.")
]
OptionalOutput = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="PATH", help="Where to write; the path is printed on stdout.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", envvar="JWM_SEED", help="Seed of all random draws.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", envvar="JWM_DEVICE", help="Where to compute; auto takes CUDA if it is there."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be read and written; write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, one object a line.")]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", envvar="JWM_QUIET", callback=_quiet, help="Say nothing but errors.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", envvar="JWM_VERBOSE", callback=_verbose, help="Say more.")]

# Keywords for a command's own flags:
#     budget_s: Annotated[float, typer.Option("--budget", **DURATION, help="...")] = "300s"
#     size: Annotated[Size | None, typer.Option("--size", **SIZE, help="...")] = None
DURATION: dict[str, Any] = {"parser": as_parameter(parse_duration_s), "metavar": "TIME"}
SIZE: dict[str, Any] = {"parser": as_parameter(parse_size), "metavar": "WxH"}
Start = Annotated[float, typer.Option("--start", **DURATION, help="Skip this much of it.", show_default="0")]
Duration = Annotated[float | None, typer.Option("--duration", **DURATION, help="Take this much of it.")]
PathText = Annotated[
    str | None,
    typer.Option(
        "--trajectory",
        metavar="FILE|TEXT",
        help="Another path: .tum, .txt, .csv, .json, a video's .jsonl, or words as 'straight 20m, left 90deg'.",
    ),
]
ShiftText = Annotated[
    str | None,
    typer.Option("--offset", metavar="SHIFT", help="Ride beside the path: 'y=2' (left), 'x=1,z=0.5,yaw=10deg'."),
]

_invocation: list[str] = ["jwm"]


def set_invocation(arguments: list[str]) -> None:
    """Remember the command line; the entry point calls this."""
    _invocation[:] = ["jwm", *arguments]


def invocation() -> list[str]:
    """The command line as it was given, for provenance: `["jwm", "render", ...]`."""
    return list(_invocation)


def would(reads: Iterable[Path | str] = (), writes: Iterable[Path | str] = ()) -> None:
    """Say on stderr, for --dry-run, what the command would read and write."""
    for path in reads:
        console.notice(f"would read {path}")
    for path in writes:
        console.notice(f"would write {path}")
