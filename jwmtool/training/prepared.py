"""Files that a training prepares before its first step, and reads in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from jwmtool.errors import InputError


@contextmanager
def opened(path: Path, what: str) -> Iterator[Any]:
    """Such a file of safetensors, open for reading; its troubles are told in one line.

    Args:
        what: it holds, in plural.

    Raises:
        InputError: missing or damaged.
    """
    expected = f"{what} that a training prepared (without the file, they are prepared anew)"
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(path, expected, "no such file") from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(path, expected, str(error)) from None
