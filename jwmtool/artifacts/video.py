"""Video: MP4 (H.264, yuv420p) with a `.jsonl` beside it, a folder of PNGs with `frames.jsonl`, or one still PNG."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from jwmtool.artifacts.atomic import atomic_file, atomic_folder, atomic_pair, check_output
from jwmtool.artifacts.frame_meta import FRAMES_FILE, FrameMeta, read_meta, sidecar_path
from jwmtool.artifacts.images import read_image, write_png
from jwmtool.errors import InputError, UsageError

if TYPE_CHECKING:
    import av

Image = NDArray[np.uint8]
Provenance = Sequence[Mapping[str, Any]]
PROVENANCE_FILE = "provenance.json"
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
CRF = 17  # visually lossless; 2-4 dB above what a scene reaches, so that scoring a video is fair


class FrameWriter(Protocol):
    """What the writers below yield."""

    def write(self, image: Image, meta: FrameMeta) -> None:
        """Add one frame [H, W, 3] uint8."""


@contextmanager
def write_video(path: Path, rate_hz: float, force: bool = False, provenance: Provenance = ()) -> Iterator[FrameWriter]:
    """Write an MP4 and its `.jsonl`; nothing is left of them if the block fails.

    The same pictures and provenance give the same bytes (the hour of this run is therefore left out). The new
    `.jsonl` never stands beside the old video: the old one goes first.

    Raises:
        OutputExistsError: either exists and not `force`.
        UsageError: frames of different sizes, or none.
    """
    with atomic_pair(path, sidecar_path(path), force) as (video_part, lines_part):
        writer = _Mp4Writer(video_part, lines_part, rate_hz, _timeless(provenance))
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


@contextmanager
def write_frames(folder: Path, force: bool = False, provenance: Provenance = ()) -> Iterator[FrameWriter]:
    """Write a folder of `000000.png` ..., `frames.jsonl` and `provenance.json`; nothing is left if the block fails.

    Raises:
        OutputExistsError: it exists and not `force`.
        UsageError: it exists and holds something else than frames; no frame was written.
    """
    check_output(folder, force)
    if folder.exists() and not (folder / FRAMES_FILE).is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder}: --force replaces a folder of frames, but this one holds something else")
    with atomic_folder(folder, force) as part:
        writer = _PngWriter(part)
        yield writer
        writer.finish()
        (part / PROVENANCE_FILE).write_text(json.dumps(list(provenance), indent=1) + "\n", encoding="utf-8")


@contextmanager
def write_still(path: Path, force: bool = False, provenance: Provenance = ()) -> Iterator[FrameWriter]:
    """Write one PNG, with provenance in its text; further frames are an error."""
    with atomic_file(path, force) as part:
        writer = _StillWriter(part, _timeless(provenance))
        yield writer
        if not writer.done:
            raise UsageError(f"{path}: expected one frame, found none")


def check_video_output(path: Path, force: bool) -> None:
    """Refuse, before long work, an output that exists or whose name tells no kind.

    Raises:
        OutputExistsError: it (or the `.jsonl` beside it) exists and not `force`.
        UsageError: neither .mp4, .png, nor a folder's name (no suffix).
    """
    kind = path.suffix.lower()
    if kind not in (".mp4", ".png", "") and not (path / FRAMES_FILE).is_file():
        raise UsageError(f"-o {path}: expected a name ending in .mp4 or .png, or a folder's (no suffix)")
    check_output(path, force)
    if kind == ".mp4":
        check_output(sidecar_path(path), force)


def open_writer(
    path: Path, rate_hz: float, force: bool = False, provenance: Provenance = ()
) -> AbstractContextManager[FrameWriter]:
    """The writer that fits the name: .mp4 a video, .png a still, else a folder."""
    if path.suffix.lower() == ".mp4":
        return write_video(path, rate_hz, force, provenance)
    if path.suffix.lower() == ".png":
        return write_still(path, force, provenance)
    return write_frames(path, force, provenance)


def read_provenance(path: Path) -> list[dict[str, Any]]:
    """The records that a video, a folder of frames or a still carries; empty if it has none."""
    if path.is_dir():
        file = path / PROVENANCE_FILE
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    elif path.suffix.lower() == ".png":
        with PIL.Image.open(path) as image:
            text = str(image.info.get("comment", ""))
    else:
        import av

        with av.open(str(path)) as container:
            text = container.metadata.get("comment", "")
    try:
        records = json.loads(text or "[]")
    except json.JSONDecodeError:  # another program's comment
        return []
    return records if isinstance(records, list) else []


def read_video(path: Path) -> Iterator[Image]:
    """Decode frame by frame to sRGB [H, W, 3] uint8; padding named in the `.jsonl` is cropped.

    Raises:
        InputError: missing, damaged or without pictures.
    """
    import av

    meta = read_meta(path)
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(path, "a video stream", "none")
            for frame in container.decode(video=0):
                image = to_rgb(frame)
                size = meta[min(count, len(meta) - 1)].size if meta else None
                yield image if size is None else np.ascontiguousarray(image[: size[1], : size[0]])
                count += 1
    except FileNotFoundError:
        raise InputError(path, "a video", "no such file") from None
    except av.error.FFmpegError as error:
        raise InputError(path, "a readable video", str(error)) from None
    if count == 0 or (meta and count != len(meta)):
        raise InputError(path, f"{len(meta) or 'some'} frames", str(count))


def video_rate_hz(path: Path) -> float:
    """Frames a second, from the header."""
    import av

    try:
        with av.open(str(path)) as container:
            return float(container.streams.video[0].average_rate or 0) or 10.0
    except FileNotFoundError:
        raise InputError(path, "a video", "no such file") from None
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(path, "a readable video", str(error)) from None


def read_frames(folder: Path) -> Iterator[Image]:
    """Decode the PNGs and JPEGs of a folder in order of their names.

    Raises:
        InputError: none, damaged ones, or another number than `frames.jsonl` names.
    """
    if not folder.is_dir():
        raise InputError(folder, "a folder of frames", "no such folder")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    meta = read_meta(folder)
    if not files or (meta and len(meta) != len(files)):
        raise InputError(folder, f"{len(meta) or 'some'} PNG or JPEG frames", str(len(files)))
    for file in files:
        yield read_image(file)


def read_pictures(path: Path) -> Iterator[Image]:
    """Decode a video or a folder of frames."""
    return read_frames(path) if path.is_dir() else read_video(path)


class _Mp4Writer:
    def __init__(self, video: Path, lines: Path, rate_hz: float, comment: str) -> None:
        import av

        self._lines: list[str] = []
        self._lines_path = lines
        self._size: tuple[int, int] | None = None
        self._rate = Fraction(rate_hz).limit_denominator(1001)
        # Bit-exact: no encoder or library version in the file, so equal input gives equal bytes.
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._container = av.open(str(video), "w", format="mp4", options=options)
        self._container.metadata["comment"] = comment
        self._stream: av.VideoStream | None = None

    def write(self, image: Image, meta: FrameMeta) -> None:
        import av

        height, width = image.shape[:2]
        if self._size not in (None, (width, height)):
            raise UsageError(f"video: expected frames of {self._size} px, found {(width, height)} px")
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._size = (width, height)
            self._stream = self._open_stream(padded.shape[1], padded.shape[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=_exact_conversion()
        )
        frame.pts, frame.time_base = len(self._lines), 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self._lines.append((meta if meta.size else _with_size(meta, width, height)).to_json())

    def finish(self) -> None:
        if self._stream is None:
            raise UsageError("video: expected at least one frame, found none")
        self._container.mux(self._stream.encode(None))
        self._lines_path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")

    def close(self) -> None:
        self._container.close()

    def _open_stream(self, width: int, height: int) -> av.VideoStream:
        # One thread, since x264's output depends on their number; cpu-independent, since its fast macroblock-tree
        # code reads uninitialized memory and differs from run to run.
        parameters = "cpu-independent=1:log-level=error"
        options = {"crf": str(CRF), "preset": "medium", "threads": "1", "x264-params": parameters}
        stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / self._rate
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, told to players
        context.color_range = 1  # limited
        return stream


class _PngWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def write(self, image: Image, meta: FrameMeta) -> None:
        write_png(self._folder / f"{len(self._lines):06d}.png", image)
        self._lines.append((meta if meta.size else _with_size(meta, image.shape[1], image.shape[0])).to_json())

    def finish(self) -> None:
        if not self._lines:
            raise UsageError("frames: expected at least one, found none")
        (self._folder / FRAMES_FILE).write_text("\n".join(self._lines) + "\n", encoding="utf-8")


class _StillWriter:
    def __init__(self, path: Path, comment: str) -> None:
        self._path, self._comment, self.done = path, comment, False

    def write(self, image: Image, meta: FrameMeta) -> None:
        if self.done:
            raise UsageError(f"{self._path.name}: a still holds one frame")
        info = PngInfo()
        info.add_text("comment", self._comment)
        PIL.Image.fromarray(image).save(self._path, pnginfo=info)
        self.done = True


def _timeless(provenance: Provenance) -> str:
    records = [dict(record) for record in provenance]
    if records:
        records[-1].pop("time_utc", None)
    return json.dumps(records, sort_keys=True)


def _with_size(meta: FrameMeta, width: int, height: int) -> FrameMeta:
    return replace(meta, size=(width, height))


def to_rgb(frame: av.VideoFrame) -> Image:
    """[H, W, 3] sRGB. Untagged video is BT.709 from 720 lines on and BT.601 below, as players do."""
    tagged = int(frame.colorspace) in (1, 5, 6)
    source = None if tagged else ("ITU709" if frame.height >= 720 else "ITU601")
    rgb = frame.reformat(
        format="rgb24", src_colorspace=source, dst_color_range="JPEG", interpolation=_exact_conversion()
    )
    return np.asarray(rgb.to_ndarray(), np.uint8)


def _exact_conversion() -> int:
    """Flags without which the color conversion is one to two levels too dark."""
    from av.video.reformatter import Interpolation

    flags = Interpolation
    return flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.BITEXACT
