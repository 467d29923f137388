"""TFRecord framing and protobuf wire format, as far as Waymo's frames need them; no TensorFlow, no protobuf.

A TFRecord file is a sequence of records: uint64 length, uint32 masked crc32c of those 8 bytes, the bytes, uint32 masked
crc32c of the bytes (little endian). Lengths are checked against their crc and against the file's end; the bytes' own
crc is not (pictures and range images carry checks of their own, and in Python it would take minutes a file).

A message is read as spans: what is not asked for (pictures, maps, labels of cameras) is skipped without being touched.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]  # offset of the first byte and of the one after the last
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HEADER, _FOOTER = 12, 4
_MASK_DELTA = 0xA282EAD8


class WireError(ValueError):
    """Bytes that are no record or no message of the expected kind."""


class Buffer(Protocol):
    """Bytes or a memory-mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> bytes: ...


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecords (Castagnoli's polynomial; rotated and shifted)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def record_length(header: bytes) -> int | None:
    """The length that the first 12 bytes of a record tell, or None if they are no such header."""
    if len(header) < _HEADER:
        return None
    length, crc = struct.unpack("<QI", header[:_HEADER])
    return int(length) if masked_crc32c(header[:8]) == crc else None


def records(data: Buffer) -> Iterator[Span]:
    """Where the bytes of each record lie in a TFRecord file.

    Raises:
        WireError: a wrong checksum, or a file that ends within a record.
    """
    offset, number, size = 0, 0, len(data)
    while offset < size:
        header = data[offset : offset + _HEADER]
        if len(header) < _HEADER:
            raise WireError(
                f"the file ends within the header of record {number}, after {size} bytes: download it again"
            )
        length = record_length(header)
        if length is None:
            raise WireError(f"a wrong checksum in the header of record {number} at byte {offset}")
        start, stop = offset + _HEADER, offset + _HEADER + length
        if stop + _FOOTER > size:
            raise WireError(
                f"the file ends within record {number}, {stop + _FOOTER - size} bytes short: download it again"
            )
        yield start, stop
        offset, number = stop + _FOOTER, number + 1


class Message:
    """One message: its fields' spans and numbers by field number, in the order of the file.

    Args:
        data: what it lies in.
        span: where.
    """

    def __init__(self, data: Buffer, span: Span) -> None:
        self._data = data
        self._found: dict[int, list[tuple[int, int, int]]] = {}  # number -> (wire type, value or start, 0 or stop)
        offset, stop = span
        while offset < stop:
            key, offset = _varint(data, offset, stop)
            number, kind = key >> 3, key & 7
            if kind == _VARINT:
                value, offset = _varint(data, offset, stop)
                self._found.setdefault(number, []).append((kind, value, 0))
                continue
            if kind == _BYTES:
                length, offset = _varint(data, offset, stop)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                raise WireError(f"wire type {kind} at byte {offset}")
            if number == 0 or offset + length > stop:
                raise WireError(f"field {number} of {length} bytes at byte {offset} beyond its message")
            self._found.setdefault(number, []).append((kind, offset, offset + length))
            offset += length

    def spans(self, number: int) -> list[Span]:
        """Where the bytes, texts or messages of a field lie."""
        return [(a, b) for _, a, b in self._of(number, _BYTES)]

    def span(self, number: int) -> Span | None:
        """Where the last one lies, which counts for a field that is not repeated; None if there is none."""
        found = self.spans(number)
        return found[-1] if found else None

    def messages(self, number: int) -> list[Message]:
        """The messages of a repeated field."""
        return [Message(self._data, span) for span in self.spans(number)]

    def message(self, number: int) -> Message:
        """The message of a field; an empty one if it is not set."""
        return Message(self._data, self.span(number) or (0, 0))

    def text(self, number: int) -> str:
        """UTF-8 text, empty if it is not set."""
        span = self.span(number)
        try:
            return "" if span is None else bytes(self._data[slice(*span)]).decode()
        except UnicodeDecodeError:
            raise WireError(f"field {number} is no text") from None

    def integer(self, number: int) -> int:
        """An int32, int64 or enum, 0 if it is not set."""
        found = self._of(number, _VARINT)
        value = found[-1][1] if found else 0
        return value - (1 << 64) if value >> 63 else value

    def integers(self, number: int) -> list[int]:
        """A repeated int32, packed or not."""
        values: list[int] = []
        for kind, a, b in self._of(number, _VARINT, _BYTES):
            if kind == _VARINT:
                values.append(a)
            else:
                while a < b:
                    value, a = _varint(self._data, a, b)
                    values.append(value)
        return values

    def double(self, number: int) -> float | None:
        """A double, None if it is not set."""
        found = self._of(number, _FIXED64)
        return float(struct.unpack("<d", self._data[found[-1][1] : found[-1][2]])[0]) if found else None

    def doubles(self, number: int) -> NDArray[np.float64]:
        """A repeated double, packed or not: [N]."""
        return self._numbers(number, _FIXED64, "<f8").astype(np.float64)

    def floats(self, number: int) -> NDArray[np.float32]:
        """A repeated float, packed or not: [N]."""
        return self._numbers(number, _FIXED32, "<f4").astype(np.float32)

    def _numbers(self, number: int, kind: int, dtype: str) -> NDArray:
        data = b"".join(self._data[a:b] for _, a, b in self._of(number, kind, _BYTES))
        if len(data) % np.dtype(dtype).itemsize:
            raise WireError(f"field {number} has {len(data)} bytes")
        return np.frombuffer(data, dtype)

    def _of(self, number: int, *kinds: int) -> list[tuple[int, int, int]]:
        found = self._found.get(number, [])
        wrong = [kind for kind, _, _ in found if kind not in kinds]
        if wrong:
            raise WireError(f"field {number} has wire type {wrong[0]} instead of {kinds[0]}")
        return found


def _varint(data: Buffer, offset: int, stop: int) -> tuple[int, int]:
    chunk = data[offset : min(offset + 10, stop)]
    value = 0
    for count, byte in enumerate(chunk):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, offset + count + 1
    raise WireError(f"no number at byte {offset}")
