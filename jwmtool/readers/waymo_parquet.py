"""Parquet tables of version 2 of the Waymo Open Dataset: whole small columns, and single rows of large ones.

The files are said to hold groups of 256 rows, compressed as a whole: to get at one picture, its group has to be
unpacked. So a few cursors are kept, and what asks for rows more or less in order unpacks each group once. Memory is
bounded: `_MAX_CURSORS` cursors, each with one unpacked group and the last `_KEPT_BYTES` of rows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from jwmtool.errors import InputError, MissingPartError

_MAX_CURSORS = 4
_KEPT_BYTES = 48 << 20


def read_columns(path: Path, columns: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of a table, with the names of `columns` for the columns that they name.

    Raises:
        InputError: no such file, damaged, or a column that it lacks. MissingPartError: no pyarrow.
    """
    pyarrow = require_pyarrow()
    with open_table(path) as table:
        missing = [name for name in columns.values() if name not in table.schema_arrow.names]
        if missing:
            raise InputError(path, f"a column {missing[0]}", ", ".join(table.schema_arrow.names) or "none")
        try:
            rows = table.read(columns=list(columns.values()), use_threads=False)
            found = [rows.column(name).to_pylist() for name in columns.values()]
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(path, "a sound parquet table", f"{error}: download it again") from None
    return [dict(zip(columns, values, strict=True)) for values in zip(*found, strict=True)]


def column_names(path: Path) -> list[str]:
    """The columns of a table."""
    with open_table(path) as table:
        return list(table.schema_arrow.names)


def read_rows(path: Path, columns: tuple[str, ...], rows: list[int]) -> list[Any]:
    """Single rows of a table, each a pyarrow.RecordBatch; safe to call from several threads.

    Raises:
        InputError: damaged.
    """
    written = path.stat().st_mtime_ns if path.is_file() else 0
    with _LOCK:
        cursor = _CURSORS.pop((path, written, columns), None) or _Cursor(path, columns)
        _CURSORS[path, written, columns] = cursor
        while len(_CURSORS) > _MAX_CURSORS:
            _CURSORS.popitem(last=False)
    return [cursor.row(row) for row in rows]


def require_pyarrow() -> Any:
    """The package.

    Raises:
        MissingPartError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        message = f"version 2 of the Waymo Open Dataset needs pyarrow: {error}; pip install 'jwmtool[waymo]'"
        raise MissingPartError(message) from None
    return pyarrow


def open_table(path: Path) -> Any:
    """A pyarrow.parquet.ParquetFile.

    Raises:
        InputError: no such file, or none of parquet. MissingPartError: no pyarrow.
    """
    pyarrow = require_pyarrow()
    if not path.is_file():
        raise InputError(path, "a table of the Waymo Open Dataset", "no such file")
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(path, "a sound parquet table", f"{error}: download it again") from None


class _Cursor:
    """Walks down some columns of a table and remembers the last rows."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._path, self._columns = path, columns
        self._lock = threading.Lock()
        self._table = open_table(path)
        metadata = self._table.metadata
        counts = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
        self._starts = [sum(counts[:k]) for k in range(len(counts))]
        self._batches: Any = iter(())
        self._group, self._next = -1, 0  # what is walked down, and the row that comes next
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0

    def row(self, row: int) -> Any:
        """One row."""
        pyarrow = require_pyarrow()
        with self._lock:
            try:
                return self._kept[row] if row in self._kept else self._walk_to(row)
            except (OSError, pyarrow.ArrowException) as error:
                self._group = -1
                raise InputError(self._path, "a sound parquet table", f"{error}: download it again") from None

    def _walk_to(self, row: int) -> Any:
        group = max(k for k, start in enumerate(self._starts) if start <= row)
        if group != self._group or self._next > row:
            self._batches = self._table.iter_batches(
                batch_size=1, row_groups=[group], columns=list(self._columns), use_threads=False
            )
            self._group, self._next = group, self._starts[group]
        while True:
            batch = next(self._batches, None)
            if batch is None:
                raise InputError(self._path, f"row {row}", "the table ends before it: download it again")
            self._keep(self._next, batch)
            self._next += 1
            if self._next == row + 1:
                return batch

    def _keep(self, row: int, batch: Any) -> None:
        self._bytes += batch.nbytes - (self._kept.pop(row).nbytes if row in self._kept else 0)
        self._kept[row] = batch
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


_CURSORS: OrderedDict[tuple[Path, int, tuple[str, ...]], _Cursor] = OrderedDict()
_LOCK = threading.Lock()
