"""Pictures of a video by number: in any order, from several threads, in one pass, with few of them alive."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_videos import SIZE, cut_short, level, number, video

from jwmtool.artifacts.video import read_video
from jwmtool.errors import InputError
from jwmtool.readers.video_frames import VideoFrames


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each pass over a file decoded."""
    counts: list[int] = []
    entered_at = VideoFrames._entered_at

    def counted(self: VideoFrames, key: int) -> Iterator[Any]:
        counts.append(0)
        place = len(counts) - 1
        for item in entered_at(self, key):
            counts[place] += 1
            yield item

    monkeypatch.setattr(VideoFrames, "_entered_at", counted)
    return counts


@pytest.mark.parametrize("name", ["a.mp4", "a.hevc", "a.ts", "a.mkv"])
def test_any_order_gives_the_picture_of_that_number(tmp_path: Path, name: str) -> None:
    path = video(tmp_path / name)
    pictures = VideoFrames(path, keep=4)
    expected = list(read_video(path))
    assert len(pictures) == len(expected) == 60 and pictures.size == SIZE
    for index in (0, 3, 1, 2, 20, 19, 59, 58, 5, 45, 44, 15, 14):
        picture = pictures.frame(index)
        assert number(picture) == index and abs(float(picture[20:, 20:].mean()) - level(index)) < 1.5
        np.testing.assert_array_equal(picture, expected[index])
    with pytest.raises(IndexError):
        pictures.frame(60)


def test_times_of_a_container_and_of_a_bare_stream(tmp_path: Path) -> None:
    timed = VideoFrames(video(tmp_path / "a.mp4", frames=5))
    assert timed.timed and timed.rate_hz == 20 and timed.times_us.tolist() == [0, 50_000, 100_000, 150_000, 200_000]
    bare = VideoFrames(video(tmp_path / "a.hevc", frames=5))
    assert not bare.timed and len(bare.times_us) == 5


@pytest.mark.parametrize("name", ["a.mp4", "a.hevc"])
def test_threads_that_take_the_next_picture_share_one_pass(tmp_path: Path, name: str, passes: list[int]) -> None:
    pictures = VideoFrames(video(tmp_path / name), keep=6)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: number(pictures.frame(k)), range(0, 60, 3)))
    assert found == list(range(0, 60, 3))
    assert sum(passes) <= 60 + 15 and len(pictures._held) <= 6 and not pictures._wanted


def test_few_pictures_are_held_and_those_waited_for_stay(tmp_path: Path) -> None:
    pictures = VideoFrames(video(tmp_path / "a.hevc"), keep=3)
    pictures._wanted[7] = 1  # a thread that has asked and not yet come through
    pictures.frame(50)
    assert set(pictures._held) == {7, 49, 50}
    assert number(pictures.frame(7)) == 7
    pictures.close()
    assert not pictures._held and number(pictures.frame(2)) == 2


def test_a_far_jump_enters_a_container_at_the_key_frame(tmp_path: Path, passes: list[int]) -> None:
    pictures = VideoFrames(video(tmp_path / "a.mp4"))
    assert passes == [1]
    assert number(pictures.frame(47)) == 47
    assert len(passes) == 2 and passes[1] <= 8
    assert number(pictures.frame(50)) == 50
    assert len(passes) == 2 and passes[1] <= 11  # went on in the same pass


@pytest.mark.parametrize("turned_deg", [90, 180, -90])
def test_a_picture_is_turned_as_a_player_shows_it(tmp_path: Path, turned_deg: int) -> None:
    pictures = VideoFrames(video(tmp_path / "a.mp4", frames=2, turned_deg=turned_deg))
    expected = np.rot90(VideoFrames(video(tmp_path / "b.mp4", frames=2)).frame(1), turned_deg // 90)
    assert pictures.size == expected.shape[1::-1]
    np.testing.assert_array_equal(pictures.frame(1), expected)


def test_damaged_videos_are_told_in_one_line(tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"hello" * 100)
    for path, message in (
        (tmp_path / "none.mp4", "a video, found no such file"),
        (junk, "a readable video"),
        (tmp_path, "a readable video"),
        (cut_short(video(tmp_path / "cut.mp4")), "a readable video"),  # its index was at the end
    ):
        with pytest.raises(InputError, match=message) as raised:
            VideoFrames(path)
        assert "\n" not in str(raised.value) and path.name in str(raised.value)


def test_damage_within_a_video_names_the_picture(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", size=(320, 192))
    whole = bytearray(path.read_bytes())
    start = whole.index(b"mdat") + (len(whole) // 2)
    whole[start : start + 400] = b"\x55" * 400
    path.write_bytes(whole)
    pictures = VideoFrames(path)
    with pytest.raises(InputError, match=r"picture \d+ of 60"):
        [pictures.frame(k) for k in range(60)]


def test_a_bare_stream_cut_short_holds_fewer_pictures(tmp_path: Path) -> None:
    assert len(VideoFrames(cut_short(video(tmp_path / "a.hevc")))) < 60
