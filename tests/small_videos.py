"""Small videos whose pictures tell their number by brightness."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)


def level(index: int) -> int:
    """Brightness of picture `index`."""
    return 20 + 3 * index


def number(picture: np.ndarray) -> int:
    """Which picture this is, by its brightness."""
    return round((float(picture[8:-8, 8:-8].mean()) - 20) / 3)


def video(
    path: Path, frames: int = 60, rate_hz: int = 20, size: tuple[int, int] = SIZE, turned_deg: int = 0, key: int = 15
) -> Path:
    """Write gray pictures, brighter and brighter, with a key frame every `key`; .hevc is a bare HEVC stream."""
    bare = path.suffix == ".hevc"
    options = {"x265-params": f"log-level=none:keyint={key}:pools=none:frame-threads=1", "preset": "ultrafast"}
    if not bare:
        options = {"g": str(key), "bf": "2", "threads": "1"}
    container = {".hevc": "hevc", ".ts": "mpegts"}.get(path.suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("libx265" if bare else "libx264", rate=rate_hz, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if turned_deg:
            stream.set_display_rotation(turned_deg)
        for index in range(frames):
            picture = np.full((size[1], size[0], 3), level(index), np.uint8)
            picture[:8, :8] = 255  # a corner, to tell which way up
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate_hz)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def cut_short(path: Path, share: float = 0.6) -> Path:
    """Leave out the end of a file."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path
