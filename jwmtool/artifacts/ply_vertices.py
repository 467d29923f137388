"""The points of a PLY file as a structured array: ASCII and binary, either byte order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError

_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"}
_TYPES |= {"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
_TYPES |= {"float32": "f4", "float64": "f8"}
_MAX_HEADER_BYTES = 1 << 16


def read_vertices(path: Path) -> NDArray[np.void]:
    """The `vertex` element as a structured array, one field a property.

    Raises:
        InputError: missing, not PLY, truncated, or with list properties.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_MAX_HEADER_BYTES)
    except FileNotFoundError:
        raise InputError(path, "a PLY file", "no such file") from None
    except IsADirectoryError:
        raise InputError(path, "a PLY file", "a folder") from None
    end = head.find(b"end_header")
    body = head.find(b"\n", end) + 1
    if not head.startswith(b"ply") or end < 0 or body == 0:
        raise InputError(path, "a PLY header", "something else")
    kind, count, dtype = _parse_header(path, head[:end].decode("ascii", "replace").splitlines())
    if kind == "ascii":
        return _read_ascii(path, body, count, dtype)
    available = (path.stat().st_size - body) // max(dtype.itemsize, 1)
    if available < count:
        raise InputError(path, f"{count} vertices", f"a truncated file with {available}")
    return np.fromfile(path, dtype, count, offset=body)


def _parse_header(path: Path, lines: list[str]) -> tuple[str, int, np.dtype[np.void]]:
    kind, count, properties, element = "", -1, [], ""
    for words in (line.split() for line in lines):
        match words:
            case ["format", "ascii" | "binary_little_endian" | "binary_big_endian" as kind, _]:
                pass
            case ["element", element, number]:
                if element == "vertex" and number.isdigit():
                    count = int(number)
                elif count < 0:
                    raise InputError(path, "element vertex first", f"element {element} {number}")
            case ["property", type_name, name] if element == "vertex" and type_name in _TYPES:
                properties.append((name, type_name))
            case ["property", *_] if element == "vertex":
                raise InputError(path, "properties of plain types", " ".join(words))
    if kind == "" or count < 0 or not properties or len({name for name, _ in properties}) < len(properties):
        raise InputError(path, "a PLY header with a format and vertex properties", "a damaged one")
    order = ">" if kind == "binary_big_endian" else "<"
    return kind, count, np.dtype([(name, order + _TYPES[type_name]) for name, type_name in properties])


def _read_ascii(path: Path, body: int, count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    with path.open("rb") as file:
        file.seek(body)
        words = [file.readline().split() for _ in range(count)]
    if any(len(row) != len(dtype.names or ()) for row in words):
        raise InputError(path, f"{count} vertices of {len(dtype.names or ())} numbers", "fewer")
    try:
        return np.array([tuple(float(word) for word in row) for row in words], dtype)
    except ValueError as error:
        raise InputError(path, "numbers", str(error)) from None
