"""Pictures of a video by number: decoded forward as they are asked for, few alive at a time.

A container with times (MP4, MKV, MOV, TS) is entered at the last key frame before the picture wanted; a bare stream
(.hevc, .h264) has neither times nor an index, so it is decoded from its start and pictures are counted.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.video import to_rgb
from jwmtool.device import num_threads
from jwmtool.errors import InputError

if TYPE_CHECKING:
    import av

_WORTH_A_SEEK = 16  # pictures; fewer are decoded and skipped
_MOST_DECODERS = 8  # more threads hold more pictures, and the lock leaves little for them to do


class VideoFrames:
    """A video's pictures by number; safe to use from several threads.

    Asking for pictures in roughly rising order costs one pass. One that is no longer held is decoded again from the
    key frame before it (from the start in a bare stream): right in any order, slow if the order jumps far back.

    Args:
        path: the video.
        keep: how many decoded pictures stay at hand; enough by default for `num_threads()` that each take the next one.

    Attributes:
        size: (width, height) px, as a player would show it (a phone's turn is undone).
        times_us: [N] int64 from the first picture; where `timed` is False, from the rate alone.
        rate_hz: pictures a second; a guess (25) in bare streams that do not say.
        timed: whether the file has a time for each picture.

    Raises:
        InputError: missing, damaged, truncated, no video stream or no picture.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path = path
        self._keep = max(1, keep if keep is not None else 2 * num_threads() + 4)
        self._gate, self._decoding = threading.Lock(), threading.Lock()
        self._wanted: Counter[int] = Counter()
        self._held: dict[int, av.VideoFrame] = {}
        self._next = 0  # number of the picture that the decoder gives next, at least
        self._decoder: Iterator[tuple[int, av.VideoFrame]] | None = None
        self._pts: list[int] = []  # of each picture, rising; empty in bare streams
        self._keys: list[int] = [0]  # numbers of key frames, 0 among them
        self._read_index()
        height, width = self.frame(0).shape[:2]
        self.size = (width, height)

    def __len__(self) -> int:
        return self._count

    @property
    def timed(self) -> bool:
        """Whether the file has a time for each picture."""
        return bool(self._pts)

    def frame(self, index: int) -> NDArray[np.uint8]:  # [H, W, 3] sRGB
        """One picture.

        Raises:
            IndexError: not in 0 .. len - 1. InputError: damaged, or the file ends before it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: picture {index} of {len(self)}")
        with self._gate:  # told before waiting: whoever decodes past it keeps it
            self._wanted[index] += 1
        try:
            with self._decoding:
                if index not in self._held:
                    self._decode_up_to(index)
                frame = self._held[index]
                if frame.is_corrupt:
                    raise InputError(self.path, f"picture {index} of {len(self)}", "damaged data")
                turns = round(frame.rotation / 90) % 4
                return np.ascontiguousarray(np.rot90(to_rgb(frame), turns))
        finally:
            with self._gate:
                self._wanted[index] -= 1
                self._wanted += Counter()  # drops zeros

    def close(self) -> None:
        """Let go of the decoder and the pictures held; `frame` opens the file again."""
        with self._decoding:
            self._forget()

    def _forget(self) -> None:
        self._decoder, self._next = None, 0
        self._held.clear()

    def _decode_up_to(self, index: int) -> None:
        key = self._keys[bisect_right(self._keys, index) - 1]
        if self._decoder is None or index < self._next or key > self._next + _WORTH_A_SEEK:
            self._forget()
            self._decoder = self._decode_from(key)
        last = -1
        try:
            for number, frame in self._decoder:
                last = number
                self._next = number + 1
                self._held[number] = frame
                with self._gate:
                    spare = [k for k in self._held if not self._wanted[k]]
                for k in spare[: max(0, len(self._held) - self._keep)]:
                    del self._held[k]
                if number >= index:
                    break
        except BaseException:
            self._forget()
            raise
        if index not in self._held:
            self._forget()
            found = "an end before it" if last < index else "damaged data in its place"
            raise InputError(self.path, f"picture {index} of {len(self)}", found)

    def _decode_from(self, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Pictures with their numbers, from that of a key frame on or from before it."""
        import av

        try:
            # Some containers (TS) are entered a little late: then from an earlier key frame, at last from the start.
            for entry in dict.fromkeys((key, self._keys[max(0, self._keys.index(key) - 1)], 0)):
                pictures = self._entered_at(entry)
                first = next(pictures, None)
                if first is not None and (first[0] <= key or entry == 0):
                    yield first
                    yield from pictures
                    return
        except FileNotFoundError:
            raise InputError(self.path, "a video", "no such file") from None
        except av.error.FFmpegError as error:
            raise InputError(
                self.path, f"a readable picture {self._next} of {len(self)}", error.strerror or str(error)
            ) from None

    def _entered_at(self, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        import av

        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(num_threads(), _MOST_DECODERS)
            if key > 0:
                container.seek(self._pts[key], stream=stream)
            for count, frame in enumerate(container.decode(stream)):
                number = count
                if self._pts:
                    if frame.pts is None:
                        continue
                    number = bisect_right(self._pts, frame.pts) - 1
                    if number < key or self._pts[number] != frame.pts:
                        continue  # pictures that lean on what stands before the key frame come out damaged
                yield number, frame

    def _read_index(self) -> None:
        """Number of pictures and, where there are any, their times and key frames: packets are read, not decoded."""
        import av

        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise InputError(self.path, "a video stream", "none")
                stream = container.streams.video[0]
                packets = [p for p in map(_Packet.of, container.demux(stream)) if p.size > 0]
                stated = stream.frames if "mov" in container.format.name else 0
                rate, time_base = stream.average_rate, stream.time_base
        except FileNotFoundError:
            raise InputError(self.path, "a video", "no such file") from None
        except (av.error.FFmpegError, IsADirectoryError) as error:
            raise InputError(self.path, "a readable video", error.strerror or str(error)) from None
        if not packets:
            raise InputError(self.path, "a video with pictures", "none")
        if len(packets) < stated or packets[-1].damaged:
            found = f"an end after {len(packets) - int(packets[-1].damaged)}"
            raise InputError(self.path, f"all {stated} pictures" if stated else "a whole last picture", found)
        self._count = len(packets)
        self.rate_hz = float(rate or 25)
        self.times_us = np.round(np.arange(self._count) * (1e6 / self.rate_hz)).astype(np.int64)
        # What stands before the first key frame cannot be decoded; players do not show what is marked to be discarded.
        entry = next((p for p in packets if p.key), packets[0])
        packets = [p for p in packets[packets.index(entry) :] if not p.hidden]
        first = entry.pts or 0
        shown = sorted((p.pts, p.key) for p in packets if p.pts is not None and p.pts >= first)
        pts = [p[0] for p in shown]
        if time_base is None or not pts or len(set(pts)) < len(pts) or any(p.pts is None for p in packets):
            return
        self._pts, self._count = pts, len(pts)
        self._keys = sorted({0} | {k for k, (_, key) in enumerate(shown) if key})
        self.times_us = np.round((np.array(pts) - pts[0]) * float(time_base * 1_000_000)).astype(np.int64)
        if self._count > 1:
            self.rate_hz = float(1e6 / np.median(np.diff(self.times_us)))


@dataclass(frozen=True, slots=True)
class _Packet:
    """What the index needs of a packet, which holds the picture's bytes."""

    pts: int | None
    size: int
    key: bool
    damaged: bool
    hidden: bool

    @staticmethod
    def of(packet: av.Packet) -> _Packet:
        """Without the bytes."""
        return _Packet(packet.pts, packet.size, packet.is_keyframe, packet.is_corrupt, packet.is_discard)
