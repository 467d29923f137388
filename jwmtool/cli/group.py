"""A command group that imports a verb's module only when the verb is used."""

from __future__ import annotations

import difflib
import importlib
import inspect
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from jwmtool.cli.table import VERBS
from jwmtool.errors import UsageError


class VerbCommand(TyperCommand):
    """A subcommand whose epilog, the examples, is shown line by line instead of being wrapped."""

    examples: tuple[str, ...] = ()

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class LazyGroup(TyperGroup):
    """All the verbs of the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the table's order."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> VerbCommand | None:
        """Import the verb's module and build its command; None for an unknown verb."""
        return load_command(cmd_name) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb, or say which one was probably meant.

        Raises:
            UsageError: no such verb.
        """
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected {', '.join(VERBS)}"
            raise UsageError(f"no such command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs from the table alone: nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


def load_command(verb: str) -> VerbCommand:
    """Build the command of one verb of the table from its module's `run` and `EXAMPLES`."""
    module = importlib.import_module(VERBS[verb].module)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    help_text = inspect.getdoc(module.run) or VERBS[verb].summary
    app.command(verb, cls=VerbCommand, help=help_text, short_help=VERBS[verb].summary)(module.run)
    command = typer.main.get_command(app)
    if not isinstance(command, VerbCommand):
        raise TypeError(f"{VERBS[verb].module}.run did not give a single command")
    command.name = verb
    command.examples = tuple(module.EXAMPLES)
    for param in command.params:
        flag = next((opt[2:] for opt in param.opts if opt.startswith("--")), None)
        if flag is not None and param.envvar is None:
            # Every flag has its variable; naming it in each line of help would drown the rest.
            param.envvar = f"JWM_{verb}_{flag}".upper().replace("-", "_")
            param.show_envvar = False  # type: ignore[attr-defined]
    return command
