"""Tables of Argoverse 2 (feather), and the ego's poses over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from jwmtool.errors import InputError, MissingPartError
from jwmtool.geometry import se3

Matrix = NDArray[np.float64]
Times = NDArray[np.int64]

POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_TEXT = ("sensor_name", "track_uuid", "category")
_MOST_GAP_NS = 50_000_000  # from a sensor's time to the nearest pose: a car at 30 m/s makes 1.5 m


def read_table(file: Path, columns: Sequence[str]) -> dict[str, Any]:
    """Columns of a feather file: arrays, or lists of str."""
    try:
        import pyarrow as pa
        from pyarrow import feather
    except ImportError as error:
        raise MissingPartError(f"Argoverse 2 needs pyarrow: {error}; pip install 'jwmtool[argoverse2]'") from None
    try:
        # A mapped file would stay open; the tables are small, and one sweep is 3 MB.
        table = feather.read_table(file, memory_map=False)
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            found = ", ".join(table.column_names)
            raise InputError(file, f"the column{'s' * (len(missing) > 1)} {', '.join(missing)}", found)
        columns_of = {name: table.column(name) for name in columns}
        values: dict[str, Any] = {
            name: [str(v) for v in column.to_pylist()] if name in _TEXT else np.asarray(column.to_numpy())
            for name, column in columns_of.items()
        }
    except FileNotFoundError:
        raise InputError(file, "a feather file", "no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(file, "a readable feather file", str(error)) from None
    for name, value in values.items():
        if name not in _TEXT and value.dtype.kind not in ("iu" if name == "timestamp_ns" else "iuf"):
            raise InputError(file, f"numbers in the column {name}, none missing", str(value.dtype))
    return values


def transforms(file: Path, table: dict[str, Any]) -> Matrix:
    """[N, 4, 4] of the columns qw ... tz_m."""
    values = np.column_stack([np.asarray(table[name], np.float64) for name in POSE])
    norms = np.linalg.norm(values[:, :4], axis=1)
    bad = np.flatnonzero(~np.isfinite(values).all(1) | ~(np.abs(norms - 1.0) < 1e-3))
    if len(bad):
        raise InputError(file, f"a unit quaternion and a place in row {bad[0]}", str(values[bad[0]].tolist()))
    result = np.tile(np.eye(4), (len(values), 1, 1))
    if len(values):
        result[:, :3, :3] = Rotation.from_quat(values[:, :4], scalar_first=True).as_matrix()
        result[:, :3, 3] = values[:, 4:]
    return result


class EgoPath:
    """The ego's poses; times are nanoseconds."""

    def __init__(self, file: Path) -> None:
        table = read_table(file, ("timestamp_ns", *POSE))
        times, order = np.unique(np.asarray(table["timestamp_ns"], np.int64), return_index=True)
        if not len(times):
            raise InputError(file, "ego poses", "none")
        self.file, self._times, self._poses = file, times, transforms(file, table)[order]

    def at(self, times_ns: Times, what: str) -> Matrix:
        """world_from_rig [Q, 4, 4]; refuses times that no pose stands near to."""
        gaps = np.abs(self._times[nearest(self._times, times_ns)] - times_ns)
        if len(gaps) and gaps.max() > _MOST_GAP_NS:
            worst = int(gaps.argmax())
            expected = f"an ego pose within 0.05 s of {what} {times_ns[worst]}"
            raise InputError(self.file, expected, f"the nearest {gaps[worst] * 1e-9:.3f} s away")
        # Nanoseconds since 1980 do not fit into float64, those since the first pose do.
        return se3.interpolate(self._times - self._times[0], self._poses, times_ns - self._times[0])


def nearest(times: Times, query: Times) -> NDArray[np.int64]:
    """Index of the nearest of sorted `times` [T] to each of `query` [Q]."""
    after = np.clip(np.searchsorted(times, query), 1, max(len(times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(np.abs(times[after] - query) < np.abs(times[before] - query), after, before)
