"""`jwm ingest --split`: many scenes in processes, resumable, none stopping the others; and pictures do not pile up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pool_work import work
from small_recordings import nerfstudio

from jwmtool import pool
from jwmtool.artifacts.clip_io import read_clip
from jwmtool.cli.main import run
from jwmtool.errors import UsageError
from jwmtool.imaging.png import encode_png
from jwmtool.pool import JobsFailedError, Words, run_jobs
from jwmtool.readers import read_recording
from jwmtool.readers.ingest import ingest

JWM = Path(sys.executable).with_name("jwm")
WORDS = Words("things", "thing")


# The pool


def test_results_come_in_order_and_failures_do_not_stop_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    jobs = {"a": "slow", "b": "ok", "c": "bug", "d": "input", "e": "ok2"}
    with pytest.raises(
        JobsFailedError, match="2 of 5 things failed: thing c, d; the first: RuntimeError: two lines"
    ) as e:
        run_jobs(work, jobs, 2, told.append, WORDS)
    assert told == ["slow", "ok", "ok2"] and e.value.exit_code == 1  # of different kinds
    with pytest.raises(JobsFailedError) as e:
        run_jobs(work, {"a": "ok", "b": "input", "c": "input"}, 1, told.append, WORDS)
    assert e.value.exit_code == 3  # all of one kind


def test_a_process_that_dies_takes_nobody_along(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(JobsFailedError, match="1 of 3 things failed: thing b; the first: its process died, twice"):
        run_jobs(work, {"a": "ok", "b": "die", "c": "ok2"}, 2, told.append, WORDS)
    assert told == ["ok", "ok2"]
    once = f"once:{tmp_path / 'mark'}"
    run_jobs(work, {"a": once, "b": "ok"}, 1, told.append, WORDS)
    assert told[2:] == [once, "ok"]


def test_workers_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWM_THREADS", "5")
    told: list[str] = []
    run_jobs(work, {"a": "threads", "b": "threads", "c": "threads"}, 2, told.append, WORDS, ready={"a": "there"})
    assert told == ["there", "2", "2"]
    with pytest.raises(UsageError, match="--workers"):
        run_jobs(work, {"a": "ok"}, 0, told.append, WORDS)


def test_what_is_ready_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", None)
    told: list[str] = []
    run_jobs(work, {"a": "ok"}, 2, told.append, WORDS, ready={"a": "there"})
    assert told == ["there"]


# The command


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three logs of Argoverse 2: two to train, one to validate."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from small_argoverse2 import log

    for place in ("train/log-a", "train/log-b", "val/log-c"):
        log(tmp_path / "av2" / place, frames=3)
    return tmp_path / "av2"


def test_every_scene_of_a_split_becomes_a_clip(logs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clips"
    words = ["ingest", str(logs), "-o", str(out), "--split"]
    assert run([*words, "val", "--dry-run"]) == 0
    assert f"would write {out / 'log-c'}" in capfd.readouterr().err and not out.exists()
    assert run([*words, "train", "--workers", "2", "--withhold", "every=3"]) == 0
    assert capfd.readouterr().out.splitlines() == [str(out / "log-a"), str(out / "log-b")]
    clip = read_clip(out / "log-a")
    assert clip.name == "log-a" and clip.split.frames == (1,)
    (record,) = clip.provenance
    assert record["argv"][:2] == ["jwm", "ingest"] and len(record["inputs"]) == 5
    assert record["request"]["source"] == str(logs) and record["request"]["scene"] == "log-a"
    # Each clip is there already: told before anything is done.
    assert run([*words, "all"]) == 4
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and f"{out / 'log-a'}: exists already" in shown.err
    assert not (out / "log-c").exists()
    assert run([*words, "all", "--force"]) == 0
    assert read_clip(out / "log-a").split.frames == () and read_clip(out / "log-c").name == "log-c"


def test_a_stopped_run_goes_on(logs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clips"
    # The clip of one scene alone is what --split makes of it.
    assert run(["ingest", str(logs), "--scene", "log-b", "--size", "24x16", "-o", str(out / "log-b")]) == 0
    capfd.readouterr()
    words = ["ingest", str(logs), "-o", str(out)]
    stamp = (out / "log-b" / "clip.json").stat().st_mtime_ns
    assert run([*words, "--split", "all", "--size", "24x16", "--resume"]) == 0
    assert capfd.readouterr().out.splitlines() == [str(out / f"log-{letter}") for letter in "abc"]
    assert (out / "log-b" / "clip.json").stat().st_mtime_ns == stamp
    (out / "log-c").rename(tmp_path / "gone")
    assert run([*words, "--split", "all", "--size", "32x16", "--every", "2", "--resume"]) == 3
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert (
        "log-a/clip.json: expected a clip as this command makes it, found one made with another selection" in shown.err
    )
    assert "size" in shown.err and not (out / "log-c").exists()
    # A folder that is no clip is not taken for one.
    (out / "log-c").mkdir()
    assert run([*words, "--split", "all", "--size", "24x16", "--resume"]) == 4
    assert "log-c: exists already" in capfd.readouterr().err


def test_a_bad_scene_is_told_at_once_and_at_the_end(
    logs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (logs / "train" / "log-a" / "calibration" / "intrinsics.feather").unlink()
    assert run(["ingest", str(logs), "-o", str(tmp_path / "clips"), "--split", "all"]) == 3
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [str(tmp_path / "clips" / name) for name in ("log-b", "log-c")]
    first, last = (line for line in shown.err.splitlines() if not line.startswith("jwm: scenes"))  # progress
    assert first.startswith("jwm: scene log-a: ") and "intrinsics.feather: expected" in first
    assert last.startswith("jwm: error: 1 of 3 scenes failed: scene log-a; the first: ") and "intrinsics" in last
    assert sorted(p.name for p in (tmp_path / "clips").iterdir()) == ["log-b", "log-c"]


def test_requests_that_make_no_sense(logs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refused(code: int, message: str, *words: str) -> None:
        assert run(["ingest", *words, "-o", str(tmp_path / "out")]) == code
        shown = capfd.readouterr()
        assert shown.out == "" and message in shown.err and shown.err.count("\n") == 1, shown.err
        assert not (tmp_path / "out").exists()

    refused(2, "--scene, --split: give one of them", str(logs), "--split", "all", "--scene", "log-a")
    refused(2, "--resume: works with --split", str(logs), "--resume")
    refused(2, "--workers: works with --split", str(logs), "--workers", "2")
    refused(2, "--resume, --force: give one of them", str(logs), "--split", "all", "--resume", "--force")
    refused(2, "--split: expected one of all, train, val, test, found 'day'", str(logs), "--split", "day")
    refused(3, "a folder test/ with logs", str(logs), "--split", "test")
    refused(2, "both", str(logs), str(logs / "val"), "--split", "val")
    single = nerfstudio(tmp_path / "drive").parent
    refused(2, "--split: a nerfstudio source holds one recording", str(single), "--split", "all")


def test_several_sources_with_a_split(logs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["ingest", str(logs / "val"), str(logs / "train"), "-o", str(tmp_path / "out"), "--split", "all"]
    assert run([*words, "--workers", "2"]) == 0
    assert [Path(line).name for line in capfd.readouterr().out.splitlines()] == ["log-c", "log-a", "log-b"]


def test_an_interrupted_run_leaves_whole_clips_only(logs: Path, tmp_path: Path) -> None:
    from small_argoverse2 import log

    for number in range(8):
        log(logs / "train" / f"more-{number}", frames=25)
    out = tmp_path / "out"
    words = [str(JWM), "ingest", str(logs), "-o", str(out), "--split", "train", "--workers", "2", "--size", "640x400"]
    env = {**os.environ, "JWM_THREADS": "2"}
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # the first is done
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    names = sorted(p.name for p in out.iterdir())
    assert 1 <= len(names) < 10 and not [name for name in names if name.startswith(".")]
    for name in names:
        json.loads((out / name / "clip.json").read_text())


# Pictures


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7), (1, 1, 3), (4, 1), (3, 40, 3)])
def test_png_reads_back(shape: tuple[int, ...], tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (tmp_path / "x.png").write_bytes(encode_png(image))
    with Image.open(tmp_path / "x.png") as opened:
        opened.verify()
    with Image.open(tmp_path / "x.png") as opened:
        assert np.array_equal(np.asarray(opened), image)


def test_png_refuses_what_it_cannot_write() -> None:
    for image in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32)):
        with pytest.raises(ValueError, match="encode_png"):
            encode_png(image)  # type: ignore[arg-type]


class Picture(np.ndarray):
    """An array that weak references can follow."""


@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_in_memory_do_not_grow_with_length(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWM_THREADS", str(threads))
    alive: set[int] = set()
    most, lock = 0, threading.Lock()

    def decode() -> np.ndarray:
        nonlocal most
        made = np.zeros((32, 64, 3), np.uint8).view(Picture)
        with lock:
            key = id(made)
            alive.add(key)
            most = max(most, len(alive))
        weakref.finalize(made, alive.discard, key)
        return made

    recording = read_recording(nerfstudio(tmp_path / "in", frames=2))
    first = recording.frames[0]
    image = replace(first.images["camera_0"], source=decode)
    frames = [
        replace(first, time_us=100_000 * i, images={"camera_0": replace(image, time_us=100_000 * i)})
        for i in range(200)
    ]
    ingest(replace(recording, frames=frames), tmp_path / "clip", size=(32, 16))
    assert 1 <= most <= 2 * threads
    assert len(read_clip(tmp_path / "clip").frames) == 200
