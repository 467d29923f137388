"""Parse the values that flags share: durations, sizes, paths from stdin."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from jwmtool.errors import UsageError

T = TypeVar("T")
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Size(NamedTuple):
    """Picture size in pixels."""

    width: int
    height: int


def parse_duration_s(text: str | float) -> float:
    """Parse `300s`, `5m`, `1h`, `250ms` or a plain number of seconds.

    Raises:
        UsageError: anything else, negative numbers included.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", str(text).strip())
    if match is None or match[2] not in _SECONDS:
        raise UsageError(f"expected a duration such as 300s, 5m or 1h, found {str(text)!r}")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(text: str) -> Size:
    """Parse `WxH`.

    Raises:
        UsageError: anything else, or a side below 1.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(text).strip().lower())
    if match is None or min(int(match[1]), int(match[2])) < 1:
        raise UsageError(f"expected a size WxH such as 416x128, found {str(text)!r}")
    return Size(int(match[1]), int(match[2]))


def parse_names(text: str) -> list[str]:
    """Parse `A,B,C` into names; empty ones are an error."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"expected names separated by commas, found {text!r}")
    return names


def parse_intrinsics(text: str) -> tuple[float, float, float, float]:
    """Parse `fx,fy,cx,cy`, px.

    Raises:
        UsageError: not four positive numbers.
    """
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        fx = fy = cx = cy = math.nan
    if not all(0.0 < value < math.inf for value in (fx, fy, cx, cy)):
        raise UsageError(f"expected four positive numbers FX,FY,CX,CY, found {text!r}")
    return fx, fy, cx, cy


def parse_assignment(text: str, keys: Iterable[str]) -> tuple[str, float]:
    """Parse `key=number`, say `y=2`, where the key is one of `keys`.

    Raises:
        UsageError: another key, or no finite number.
    """
    key, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if key.strip() not in (known := list(keys)) or not math.isfinite(number):
        raise UsageError(f"expected {'|'.join(known)}=NUMBER, found {text!r}")
    return key.strip(), number


def read_paths(arguments: Iterable[str | Path] | str | Path) -> list[Path]:
    """Input paths as given; `-` stands for the paths on stdin, one a line.

    Raises:
        UsageError: `-` was given and stdin holds no path (the command before it failed, say).
    """
    given = [arguments] if isinstance(arguments, (str, Path)) else list(arguments)
    paths: list[Path] = []
    for argument in given:
        if str(argument) != "-":
            paths.append(Path(argument))
            continue
        lines = [line.rstrip("\r\n") for line in sys.stdin]
        found = [Path(line) for line in lines if line.strip()]
        if not found:
            raise UsageError("-: expected paths on stdin, one a line, found none")
        paths += found
    return paths


def read_path(argument: str | Path) -> Path:
    """One input path; `-` reads it from stdin.

    Raises:
        UsageError: stdin holds none or several.
    """
    paths = read_paths(argument)
    if len(paths) != 1:
        raise UsageError(f"{argument}: expected one path, found {len(paths)}")
    return paths[0]


def as_parameter(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap a parser for `typer.Option(parser=...)`, so that its error names the flag."""

    def parameter(text: str) -> T:
        import typer

        try:
            return parse(text)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None

    parameter.__name__ = parse.__name__
    return parameter
