"""Version 1 of the Waymo Open Dataset: a segment is one .tfrecord of `Frame` messages.

The numbers are those of the fields in dataset.proto and label.proto. The file is memory-mapped while its index is
read; of pictures and range images only their places are kept, and read when they are asked for.
"""

from __future__ import annotations

import mmap
import re
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError
from jwmtool.readers.recording import Matrix
from jwmtool.readers.waymo_range_image import LidarCalibration, range_image_points
from jwmtool.readers.waymo_segment import (
    RawCamera,
    RawFrame,
    RawImage,
    RawLabel,
    Segment,
    camera_name,
    decode_picture,
    transform,
)
from jwmtool.readers.waymo_wire import Buffer, Message, Span, WireError, record_length, records

# Where a lidar's number, its returns' range images and the poses of their pixels lie in the file.
_Laser = tuple[int, tuple[Span, ...], Span | None]

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_SNIFFED = 512


def is_segment(path: Path) -> bool:
    """True if a file starts like a segment: a sound record header, then a context with a name. Never raises."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_SNIFFED)
        start = 12 + _tag_length(head[12:])
        if not record_length(head) or head[start : start + 1] != b"\n":
            return False
        length = head[start + 1]
        return length < 0x80 and bool(_NAME.fullmatch(head[start + 2 : start + 2 + length].decode()))
    except (OSError, IndexError, UnicodeDecodeError, WireError):
        return False


def _tag_length(data: bytes) -> int:
    """Bytes of the key and length of field 1, a message, with which a frame starts."""
    if data[0] != 0x0A:
        raise WireError("another field first")
    return 2 + next(k for k, byte in enumerate(data[1:11] + b"\0") if byte < 0x80)


def read_segment(path: Path) -> Segment:
    """Read the index of one file.

    Raises:
        InputError: truncated, damaged, or frames of something else.
    """
    expected = "a Waymo segment (.tfrecord of perception frames)"
    try:
        if path.stat().st_size == 0:
            raise InputError(path, expected, "an empty file")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _index(path, data)
    except (OSError, WireError) as error:
        raise InputError(path, expected, getattr(error, "strerror", None) or str(error)) from None


def _index(path: Path, data: Buffer) -> Segment:
    segment: Segment | None = None
    calibrations: dict[int, LidarCalibration] = {}
    for number, span in enumerate(records(data)):
        try:
            frame = Message(data, span)
            context = frame.message(1)
            if segment is None:
                segment = _segment(path, context)
                calibrations = {m.integer(1): _lidar(path, m) for m in context.messages(3)}
            elif context.text(1) != segment.name:
                raise WireError(f"a frame of another segment, {context.text(1)}, after those of {segment.name}")
            segment.frames.append(_frame(path, frame, calibrations))
        except WireError as error:
            raise WireError(f"in record {number}: {error}") from None
    if segment is None:
        raise WireError("no record")
    return segment


def _segment(path: Path, context: Message) -> Segment:
    name, stats = context.text(1), context.message(4)
    if not _NAME.fullmatch(name) or not context.spans(2):
        raise WireError("no context with a name and cameras: no frame of the perception data set")
    told = {"time_of_day": stats.text(2), "location": stats.text(3), "weather": stats.text(4)}
    return Segment(name, path, {m.integer(1): _camera(path, m) for m in context.messages(2)}, [], told, (path,))


def _camera(path: Path, calibration: Message) -> RawCamera:
    return RawCamera(
        intrinsics=tuple(calibration.doubles(2).tolist()),
        vehicle_from_camera=transform(
            calibration.message(3).doubles(1), path, f"extrinsic of camera {camera_name(calibration.integer(1))}"
        ),
        width=calibration.integer(4),
        height=calibration.integer(5),
        readout=calibration.integer(6),
    )


def _lidar(path: Path, calibration: Message) -> LidarCalibration:
    return LidarCalibration(
        vehicle_from_lidar=transform(
            calibration.message(5).doubles(1), path, f"extrinsic of lidar {calibration.integer(1)}"
        ),
        inclinations_rad=tuple(calibration.doubles(2).tolist()),
        min_rad=calibration.double(3) or 0.0,
        max_rad=calibration.double(4) or 0.0,
    )


def _frame(path: Path, frame: Message, calibrations: dict[int, LidarCalibration]) -> RawFrame:
    timestamp_us = frame.integer(2)
    pose = transform(frame.message(3).doubles(1), path, f"pose of the frame at {timestamp_us} us")
    images = {image.integer(1): _image(path, image, timestamp_us) for image in frame.messages(4)}
    lasers: list[_Laser] = []
    for laser in frame.messages(5):
        number = laser.integer(1)
        returns = [laser.message(field) for field in (2, 3)]
        spans = tuple(span for span in (image.span(2) for image in returns) if span and span[1] > span[0])
        if spans and number not in calibrations:
            raise InputError(path, f"a calibration of lidar {number}", f"none at {timestamp_us} us")
        if spans:
            lasers.append((number, spans, returns[0].span(4)))
    points = partial(_read_points, path, timestamp_us, tuple(lasers), calibrations, pose) if lasers else None
    labels = [_label(label) for label in frame.messages(6)]
    return RawFrame(timestamp_us, pose, images, labels, points)


def _image(path: Path, image: Message, timestamp_us: int) -> RawImage:
    what = f"the picture of {camera_name(image.integer(1))} at {timestamp_us} us"
    span = image.span(2)
    if span is None:
        raise InputError(path, what, "none")
    return RawImage(
        source=partial(_read_picture, path, span, what),
        world_from_vehicle=transform(image.message(3).doubles(1), path, f"pose of {what}"),
        pose_s=image.double(5) or 0.0,
        shutter_s=image.double(6) or 0.0,
        trigger_s=image.double(7) or 0.0,
        readout_done_s=image.double(8) or 0.0,
    )


def _label(label: Message) -> RawLabel:
    box = label.message(1)
    x, y, z, width, length, height, heading = (box.double(field) or 0.0 for field in range(1, 8))
    return RawLabel(label.text(4), label.integer(3), (x, y, z), (length, width, height), heading)


def _read_picture(path: Path, span: Span, what: str) -> NDArray[np.uint8]:
    return decode_picture(_bytes(path, span, what), path, what)


def _read_points(
    path: Path,
    timestamp_us: int,
    lasers: tuple[_Laser, ...],
    calibrations: dict[int, LidarCalibration],
    world_from_vehicle: Matrix,
) -> NDArray[np.float32]:
    clouds = []
    for number, returns, poses in lasers:
        what = f"a range image of lidar {number} at {timestamp_us} us"
        try:
            pixel_poses = _matrix(_bytes(path, poses, what)) if poses and poses[1] > poses[0] else None
            for span in returns:
                image = _matrix(_bytes(path, span, what))
                clouds.append(range_image_points(image, calibrations[number], world_from_vehicle, pixel_poses))
        except (ValueError, zlib.error) as error:
            raise InputError(path, what, str(error)) from None
    return np.concatenate(clouds)


def _bytes(path: Path, span: Span, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(span[0])
            data = stream.read(span[1] - span[0])
    except OSError as error:
        raise InputError(path, what, error.strerror or str(error)) from None
    if len(data) != span[1] - span[0]:
        raise InputError(path, what, "the file ends before it")
    return data


def _matrix(compressed: Buffer) -> NDArray[np.float32]:
    """A MatrixFloat, zlib compressed: its data in its shape."""
    data = zlib.decompress(compressed[:])
    message = Message(data, (0, len(data)))
    values, shape = message.floats(1), message.message(2).integers(1)
    if len(values) != int(np.prod(shape)):
        raise WireError(f"{len(values)} numbers for the shape {shape}")
    return values.reshape(shape)
