"""Provenance records."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import jwmtool
from jwmtool.artifacts.provenance import hash_path, library_versions, record


def test_a_record_says_who_what_when(tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(b"abc")
    known = {"path": "clip", "sha256": "00"}
    made = record(["jwm", "render", "x"], [tmp_path / "in.bin", known], seed=3, device="cpu")
    assert made["argv"] == ["jwm", "render", "x"] and made["version"] == jwmtool.__version__
    assert made["inputs"] == [
        {"path": str(tmp_path / "in.bin"), "sha256": hashlib.sha256(b"abc").hexdigest()},
        {"path": "clip", "sha256": "00"},
    ]
    assert (made["seed"], made["device"]) == (3, "cpu")
    assert {"torch", "numpy", "h5py"} <= set(made["libraries"])
    age_s = (datetime.now(UTC) - datetime.fromisoformat(made["time_utc"])).total_seconds()
    assert 0 <= age_s < 60
    assert json.loads(json.dumps(made)) == made


def test_a_folder_is_hashed_by_names_and_bytes(tmp_path: Path) -> None:
    def make(name: str, files: dict[str, bytes]) -> str:
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return hash_path(tmp_path / name)

    first = make("a", {"x": b"1", "y/z": b"2"})
    assert make("b", {"y/z": b"2", "x": b"1"}) == first
    assert len({first, make("c", {"x": b"1", "y/z": b"3"}), make("d", {"x": b"1", "y/w": b"2"})}) == 3


def test_a_missing_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        record(["jwm"], [tmp_path / "none"])


def test_versions_cost_no_imports() -> None:
    script = (
        "import sys; from jwmtool.artifacts.provenance import library_versions as v; v(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"
    assert library_versions()["numpy"] == np.__version__
