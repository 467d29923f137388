"""Configs as JSON values, and back: frozen dataclasses of numbers, words and tuples of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, get_type_hints

from jwmtool.errors import InputError, UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")


def to_values(config: DataclassInstance) -> dict[str, Any]:
    """As JSON values."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(config).items()}


def from_values(kind: type[T], values: Mapping[str, Any], where: str | Path) -> T:
    """From JSON values; what is left out has its default.

    Raises:
        InputError: an unknown key, or a value of another type (naming `where`).
        UsageError: what `kind` itself refuses.
    """
    types = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    told: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise InputError(where, f"keys from {', '.join(known)}", repr(name))
        told[name] = _value(where, name, types[name], value)
    return kind(**told)


def size_of(name: str, network: str, configs: Mapping[str, Any]) -> str:
    """Of a network's sizes the one that a name tells: "mini" of "worldgen-mini", say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    known = {f"{network}-{size}": size for size in configs}
    if name not in known:
        raise UsageError(f"--config: expected {', '.join(known)}, found {name!r}")
    return known[name]


def _value(where: str | Path, name: str, kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(where, f"{name} as a list", repr(value))
        return tuple(value)
    # JSON knows one kind of number; true and false are numbers to Python and mistakes here.
    wanted = (int, float) if kind is float else (kind,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise InputError(where, f"{name} as {kind.__name__}", repr(value))
    return kind(value)
