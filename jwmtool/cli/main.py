"""The entry point `jwm`: parse, run one verb, turn errors into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer

from jwmtool import console
from jwmtool.cli.group import LazyGroup
from jwmtool.cli.options import SHARED_DEFAULTS, set_invocation
from jwmtool.cli.table import VERBS
from jwmtool.errors import JwmError

INTERRUPTED = 130
# typer does not export the base of its usage errors; it may be click's own or a vendored copy.
_PARSE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich costs 0.1 s to import
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        import jwmtool

        console.emit(f"jwm {jwmtool.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn driving recordings into Gaussian scenes, and scenes into driving video."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `jwm` and leave the process with its exit code (see `jwmtool.errors`)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. Unexpected exceptions, which are bugs, pass through."""
    # torch's idle OpenMP threads would spin on the cores that the rasterizer's own threads need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console.set_verbosity(0)
    set_invocation(list(arguments))
    _stop_like_ctrl_c(signal.SIGTERM)
    if hasattr(signal, "SIGHUP"):
        _stop_like_ctrl_c(signal.SIGHUP)
    try:
        command = typer.main.get_command(app)
        result = command.main(
            args=list(arguments), prog_name="jwm", standalone_mode=False, default_map=_defaults(arguments)
        )
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
        if code == INTERRUPTED:
            _error("interrupted")
        return code
    except JwmError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _quiet_pipe()
    except OSError as error:
        return _fail(_describe(error), 1)
    except _PARSE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.ctx.get_help(), file=sys.stderr)  # type: ignore[attr-defined]
            return 2
        return _fail(_usage(error), 2)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1


def _defaults(arguments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Click's default_map for the verb of this command line, from the configuration file."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb not in VERBS or "--help" in arguments or "-h" in arguments:
        return {}
    from jwmtool.cli.config import config_files, default_map

    return {verb: default_map(verb, SHARED_DEFAULTS)} if config_files() else {}


def _stop_like_ctrl_c(signal_number: int) -> None:
    """Let a signal unwind the stack, so that temporary files are removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        signal.signal(signal_number, stop)
    except ValueError:  # not the main thread: the caller's handlers stay
        return


def _usage(error: Exception) -> str:
    """A parse error and where to look, in one line."""
    message = str(error.format_message() if hasattr(error, "format_message") else error)
    context = getattr(error, "ctx", None)
    line = " ".join(message.split())
    return f"{line} (see `{context.command_path} --help`)" if context is not None else line


def _describe(error: OSError) -> str:
    where = error.filename if error.filename is not None else ""
    reason = error.strerror or str(error)
    return f"{where}: {reason}" if where else reason


def _fail(message: str, code: int) -> int:
    _error(message)
    return code


def _error(message: str) -> None:
    try:
        print(f"jwm: error: {message}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        _quiet_pipe()


def _quiet_pipe() -> int:
    """The reader of our output went away (`jwm ... | head`): say nothing, here and at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(sink, stream.fileno())
    return 1


if __name__ == "__main__":
    main()
