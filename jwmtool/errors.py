"""Errors that a user can act on. Each carries the process exit code that the command line returns."""

from __future__ import annotations

from pathlib import Path


class JwmError(Exception):
    """Base of every error shown as one line; other exceptions are bugs and keep their traceback."""

    exit_code = 1


class UsageError(JwmError):
    """The request itself makes no sense (a flag's value, a combination of flags)."""

    exit_code = 2


class InputError(JwmError):
    """An input is missing, damaged or of another version.

    Args:
        path: the file (or folder) at fault.
        expected: what should have been there.
        found: what was there instead.
    """

    exit_code = 3

    def __init__(self, path: str | Path, expected: str, found: str) -> None:
        # Libraries' own messages may run over several lines; ours is one.
        super().__init__(" ".join(f"{path}: expected {expected}, found {found}".splitlines()))
        self.path = Path(path)


class OutputExistsError(JwmError):
    """The output exists and --force was not given."""

    exit_code = 4

    def __init__(self, path: str | Path) -> None:
        super().__init__(f"{path}: exists already; pass --force to replace it")


class MissingPartError(JwmError):
    """An optional part (an extra, a GPU, a weights file) is not there; the message says how to get it."""

    exit_code = 5


class ScoreThresholdError(JwmError):
    """A `--fail-if` condition held."""

    exit_code = 6
