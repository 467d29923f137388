"""bench/worldrec.py on a small world and on a small clip."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_world import fake_world

from jwmtool.artifacts.weights import write_weights
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.model import build_model
from jwmtool.worlds.generate import write_world
from jwmtool.worlds.spec import WorldSpec

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import worldrec as bench  # noqa: E402

TINY = WorldRecConfig(widths=(8, 12, 16, 16), blocks=(1, 1, 1, 1), planes=12, channels=16, sky_size=16)


def weights(path: Path, method: str) -> Path:
    config = replace(TINY, method=method)
    write_weights(path, build_model(config).state_dict(), {"task": "worldrec", "config": config.to_dict()})
    return path


def test_windows_are_scored_for_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_world(fake_world(WorldSpec("city", 1, 2.0, 10.0, 64, 32)), tmp_path / "worlds" / "city-000001")
    given = weights(tmp_path / "tiny.safetensors", "sparse")
    asked = argparse.Namespace(
        models=[f"sparse={given}"], untrained=False, config="mini", ablate=["motion", "queries"], pixel_step=[2],
        optimize=None,
    )  # fmt: skip
    methods = bench.methods_of(asked)
    assert [m.name for m in methods] == ["sparse", "sparse, no motion", "sparse, random queries"]
    found = bench.clips_in(tmp_path / "worlds")
    assert found == [clip]
    monkeypatch.setattr(bench, "reset_peak", lambda device: None)  # the test's own peak is nobody's business
    usual, still, random = (bench.measure(method, found, False, "cpu", None) for method in methods)
    assert still["config"]["motion"] is False and random["config"]["queries"] == "random"
    for method in (usual, still, random):
        (row,) = method["clips"]
        assert row["clip"] == "city-000001" and row["scored"] == 16 and row["gaussians"] > 0
        assert row["psnr"] > 5.0 and row["depth_abs_rel"] > 0.0 and row["moving_exact_psnr"] > 0.0
        assert row["seconds"] > 0.0 and row["peak_mb"] > 50
        assert method["means"]["psnr"] == pytest.approx(row["psnr"], abs=1e-3)
        assert method["weights_sha256"] == usual["weights_sha256"]


def test_worlds_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "city-001000").mkdir()
    assert bench.make_worlds(tmp_path, 1) == [tmp_path / "city-001000"]


@pytest.mark.slow
def test_whole_clips_are_scored_on_what_is_withheld(tmp_path: Path) -> None:
    clip, output = tmp_path / "clip", tmp_path / "out.json"
    write_world(fake_world(WorldSpec("city", 2, 1.2, 10.0, 64, 32)), clip, withhold=("every=4",))
    given = weights(tmp_path / "pixel.safetensors", "pixel")
    words = ["--clips", clip, "--models", f"pixel={given}", "--pixel-step", "2", "--json", output]
    done = subprocess.run(
        [sys.executable, str(BENCH / "worldrec.py"), *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(output.read_text())
    assert told["protocol"] == "withheld-views"
    assert [line.split(",")[0].split()[0] for line in done.stdout.splitlines()[-2:]] == ["pixel", "pixel"]
    whole, thinned = (m["clips"][0] for m in told["methods"])
    assert whole["scored"] == 3 and [m["name"] for m in told["methods"]] == ["pixel", "pixel, 2x2 px"]
    assert thinned["gaussians"] < 0.3 * whole["gaussians"]
