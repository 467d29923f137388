"""Video, folders of frames and stills: what goes in comes out, and a failure leaves nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from jwmtool.artifacts import video
from jwmtool.artifacts.frame_meta import FrameMeta, read_meta, sidecar_path
from jwmtool.artifacts.images import read_image
from jwmtool.artifacts.video import (
    open_writer,
    read_frames,
    read_provenance,
    read_video,
    video_rate_hz,
    write_frames,
    write_still,
    write_video,
)
from jwmtool.errors import InputError, OutputExistsError, UsageError

RECORD = {"argv": ["jwm", "render"], "time_utc": "2030-01-01T00:00:00Z"}


def picture(i: int, width: int = 97, height: int = 63) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    blue = np.clip(128 + 100 * np.sin(x / 30 + i / 5), 0, 255)
    return np.stack([x / width * 255, y / height * 255, blue], -1).astype(np.uint8)


def meta(i: int) -> FrameMeta:
    pose = np.eye(4)
    pose[0, 3] = i
    return FrameMeta(i * 100_000, "front", pose, np.diag([50.0, 50.0, 1.0]), coverage=0.25, seed=7)


def write(path: Path, count: int = 6, **kwargs: object) -> None:
    with open_writer(path, 10.0, **kwargs) as writer:  # type: ignore[arg-type]
        for i in range(count):
            writer.write(picture(i), meta(i))


def test_mp4_round_trip_of_an_odd_size(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, provenance=[RECORD])
    frames = list(read_video(path))
    assert len(frames) == 6
    for i, frame in enumerate(frames):
        assert frame.shape == (63, 97, 3)
        error = frame.astype(float) - picture(i)
        assert 10 * np.log10(255**2 / (error**2).mean()) > 38.0
    assert video_rate_hz(path) == pytest.approx(10.0)
    known = read_meta(path)
    assert [m.time_us for m in known] == [i * 100_000 for i in range(6)]
    assert known[3].world_from_cam == pytest.approx(meta(3).world_from_cam)
    assert (known[0].camera, known[0].coverage, known[0].seed, known[0].size) == ("front", 0.25, 7, (97, 63))
    first = json.loads(sidecar_path(path).read_text().splitlines()[0])
    assert {"time_us", "world_from_cam", "action", "coverage", "seed"} <= first.keys()
    assert read_provenance(path) == [{"argv": ["jwm", "render"]}]


def test_colors_keep_their_matrix_and_range(tmp_path: Path) -> None:
    colors = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128), (0, 0, 0), (255, 255, 255)]
    for size in (64, 768):  # below and above the height from which players assume BT.709
        path = tmp_path / f"{size}.mp4"
        with write_video(path, 10.0) as writer:
            for i, color in enumerate(colors):
                writer.write(np.full((size, 64, 3), color, np.uint8), meta(i))
        for frame, color in zip(read_video(path), colors, strict=True):
            assert np.abs(frame.astype(int) - color).max() <= 3


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, count=20, provenance=[{**RECORD, "time_utc": name}])
        np.empty(np.random.default_rng().integers(10_000, 900_000))  # another heap
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_other_programs_can_play_it(tmp_path: Path) -> None:
    import av

    write(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 98, 64)
        assert (context.colorspace, context.color_range) == (1, 1)
        assert stream.frames == 6


def test_folder_and_still_are_exact(tmp_path: Path) -> None:
    write(tmp_path / "frames", provenance=[RECORD])
    frames = list(read_frames(tmp_path / "frames"))
    assert len(frames) == 6
    assert all((frame == picture(i)).all() for i, frame in enumerate(frames))
    assert len(read_meta(tmp_path / "frames")) == 6
    assert read_provenance(tmp_path / "frames") == [RECORD]
    write(tmp_path / "one.png", count=1, provenance=[RECORD])
    assert (read_image(tmp_path / "one.png") == picture(0)).all()
    assert read_provenance(tmp_path / "one.png") == [{"argv": ["jwm", "render"]}]


def test_existing_outputs_need_force(tmp_path: Path) -> None:
    for name in ("a.mp4", "frames", "one.png"):
        path = tmp_path / name
        write(path, count=1)
        with pytest.raises(OutputExistsError):
            write(path, count=1)
        write(path, count=1, force=True)
    (tmp_path / "b.jsonl").write_text("mine")
    with pytest.raises(OutputExistsError):
        write(tmp_path / "b.mp4")
    assert (tmp_path / "b.jsonl").read_text() == "mine"


def test_force_does_not_delete_a_folder_of_other_things(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="something else"):
        write(home, force=True)
    assert (home / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["a.mp4", "frames", "one.png"])
def test_an_error_in_the_middle_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), open_writer(tmp_path / name, 10.0) as writer:
        writer.write(picture(0), meta(0))
        raise RuntimeError("boom")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "frames", "one.png"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    write(path, count=1)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("jwmtool.artifacts.atomic._sync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, count=1, force=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_encoding_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    opened = av.open
    monkeypatch.setattr("av.open", lambda path, mode, **k: opened("/dev/full", mode, **k))
    with pytest.raises(OSError, match="No space left"), write_video(tmp_path / "a.mp4", 10.0) as writer:
        rng = np.random.default_rng(0)
        for i in range(40):
            writer.write(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8), meta(i))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "frames"])
def test_sigkill_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, count=2)
    code = f"""
        import numpy as np
        from pathlib import Path
        from jwmtool.artifacts.frame_meta import FrameMeta
        from jwmtool.artifacts.video import open_writer
        with open_writer(Path({str(path)!r}), 10.0, force=True) as writer:
            for i in range(10 ** 9):
                writer.write(np.full((64, 64, 3), i % 255, np.uint8), FrameMeta(i))
                if i == 20:
                    print("writing", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    frames = list(video.read_pictures(path))
    assert len(frames) == 2
    assert frames[0].shape == (63, 97, 3)
    assert [m.time_us for m in read_meta(path)] == [0, 100_000]


def test_frames_of_two_sizes_or_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="frames of"), write_video(tmp_path / "a.mp4", 10.0) as writer:
        writer.write(picture(0), meta(0))
        writer.write(picture(0, 64, 64), meta(1))
    writers = (write_video(tmp_path / "b.mp4", 10.0), write_frames(tmp_path / "c"), write_still(tmp_path / "d.png"))
    for writing in writers:
        with pytest.raises(UsageError, match="found none"), writing:
            pass
    assert list(tmp_path.iterdir()) == []


def test_damaged_videos_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(InputError, match="no such file"):
        list(read_video(path))
    path.write_bytes(b"no video")
    with pytest.raises(InputError, match="readable video"):
        list(read_video(path))
    write(path, force=True)
    lines = sidecar_path(path).read_text().splitlines()
    sidecar_path(path).write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match="frames"):
        list(read_video(path))
    sidecar_path(path).write_text('{"time": 3}')
    with pytest.raises(InputError, match="line 1"):
        read_meta(path)
