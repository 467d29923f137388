"""Everything that jwm says: data on stdout, the rest on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_verbosity = 0  # -1 quiet, 0 normal, 1 verbose


def set_verbosity(level: int) -> None:
    """Set by -q (-1) and -v (1)."""
    global _verbosity
    _verbosity = level


def is_quiet() -> bool:
    """True with -q."""
    return _verbosity < 0


def emit(line: str) -> None:
    """Write one line of data to stdout."""
    print(line, flush=True)


def notice(message: str) -> None:
    """Tell the user something on stderr, unless -q."""
    if _verbosity >= 0:
        print(f"jwm: {message}", file=sys.stderr, flush=True)


def detail(message: str) -> None:
    """Tell more on stderr, with -v."""
    if _verbosity >= 1:
        print(f"jwm: {message}", file=sys.stderr, flush=True)


def stderr_console() -> Console:
    """A rich console on stderr."""
    from rich.console import Console

    return Console(stderr=True)


class Progress:
    """A bar on a terminal; on a pipe, one line every ten seconds so that a log still shows life."""

    def __init__(self, label: str, total: float) -> None:
        self._label, self._total, self._done, self._last = label, total, 0.0, time.monotonic()
        self._bar = None
        if _verbosity >= 0 and sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=stderr_console(), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(label, total=total, note="")

    def update(self, done: float, note: str = "") -> None:
        """Set how much is done, in the unit of `total`, with a short note."""
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._last > 10.0:
            self._last = time.monotonic()
            notice(f"{self._label} {100 * done / max(self._total, 1e-9):.0f} % {note}".rstrip())

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(label: str, total: float) -> Iterator[Progress]:
    """Show progress while the block runs."""
    bar = Progress(label, total)
    try:
        yield bar
    finally:
        bar.close()
