"""A little Waymo drive in both true layouts, version 1 (.tfrecord) and version 2 (parquet), from one description.

The car drives north at 10 m/s from (1000, 2000, 5) of the global frame. Field numbers are those of the text of
dataset.proto and label.proto (waymo-open-dataset), kept here apart from the reader's.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAME = "1005081002024129653_5313_150_5333_150"
START_US = 1_550_083_467_300_000
SPEED = 10.0
YAW = np.pi / 2  # north
CAMERAS = {"FRONT": 1, "FRONT_LEFT": 2, "FRONT_RIGHT": 3, "SIDE_LEFT": 4, "SIDE_RIGHT": 5}
LIDARS = {"TOP": 1, "FRONT": 2, "SIDE_LEFT": 3, "SIDE_RIGHT": 4, "REAR": 5}
LEFT_TO_RIGHT, VEHICLE, PEDESTRIAN, SIGN = 2, 1, 2, 3

# message: field = number type; `*` repeated and not packed, `+` packed, M a message, as the .proto files say.
PROTO = """
MatrixShape: dims=1 int*
MatrixFloat: data=1 float+, shape=2 M
Transform: transform=1 double*
CameraCalibration: name=1 int, intrinsic=2 double*, extrinsic=3 M, width=4 int, height=5 int, rolling_shutter_direction=6 int
LaserCalibration: name=1 int, beam_inclinations=2 double*, beam_inclination_min=3 double, beam_inclination_max=4 double, extrinsic=5 M
Stats: laser_object_counts=1 M*, camera_object_counts=5 M*, time_of_day=2 bytes, location=3 bytes, weather=4 bytes
Context: name=1 bytes, camera_calibrations=2 M*, laser_calibrations=3 M*, stats=4 M
RangeImage: range_image_compressed=2 bytes, camera_projection_compressed=3 bytes, range_image_pose_compressed=4 bytes
Velocity: v_x=1 float, v_y=2 float, v_z=3 float, w_x=4 double, w_y=5 double, w_z=6 double
CameraImage: name=1 int, image=2 bytes, pose=3 M, velocity=4 M, pose_timestamp=5 double, shutter=6 double, camera_trigger_time=7 double, camera_readout_done_time=8 double
Laser: name=1 int, ri_return1=2 M, ri_return2=3 M
Box: center_x=1 double, center_y=2 double, center_z=3 double, length=5 double, width=4 double, height=6 double, heading=7 double
Label: box=1 M, type=3 int, id=4 bytes, num_lidar_points_in_box=7 int
CameraLabels: name=1 int, labels=2 M*
Frame: context=1 M, timestamp_micros=2 int, pose=3 M, images=4 M*, lasers=5 M*, laser_labels=6 M*, camera_labels=8 M*
"""  # noqa: E501


def matrix(yaw: float, x: float, y: float, z: float) -> np.ndarray:
    """A pose on level ground [4, 4]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


def ego(seconds: float) -> np.ndarray:
    """world_from_vehicle that long after the start."""
    return matrix(YAW, 1000.0, 2000.0 + SPEED * seconds, 5.0)


@dataclass
class Camera:
    """Extrinsic [4, 4] (axes x forward, y left, z up), intrinsics (9), width, height."""

    extrinsic: np.ndarray
    intrinsic: tuple[float, ...]
    width: int
    height: int


@dataclass
class Lidar:
    """Extrinsic, inclinations (lowest first) or min and max, ranges [returns][H, W], shift by pixel [H, W]."""

    extrinsic: np.ndarray
    inclinations: tuple[float, ...]
    edges: tuple[float, float]
    returns: list[np.ndarray]
    shift_m: np.ndarray | None = None


def cameras(distortion: tuple[float, ...] = (0, 0, 0, 0, 0)) -> dict[str, Camera]:
    turned = {"FRONT": 0, "FRONT_LEFT": 45, "FRONT_RIGHT": -45, "SIDE_LEFT": 90, "SIDE_RIGHT": -90}
    return {
        name: Camera(
            matrix(np.radians(degrees), 1.5, 0.0, 2.0),
            (50.0, 51.0, 31.0, 17.0, *distortion),
            64,
            32 if name.startswith("SIDE") else 48,
        )
        for name, degrees in turned.items()
    }


def lidars() -> dict[str, Lidar]:
    """Images of 4 columns: their middles look 135, 45, -45 and -135 degrees to the left of the car's nose."""

    def image(height: int, **pixels: float) -> np.ndarray:
        ranges = np.full((height, 4), -1.0)  # what has no return is not above 0
        for at, value in pixels.items():
            ranges[int(at[1]), int(at[2])] = value
        return ranges

    uniform = (np.radians(-60.0), np.radians(60.0))  # two rows: 30 degrees up, then 30 degrees down
    shift = np.zeros((3, 4))
    shift[1, 1], shift[2, 2] = -0.2, 0.3
    root = 10 * np.sqrt(2)
    top = Lidar(
        matrix(np.radians(148.0), 1.4, 0.0, 2.1), tuple(np.radians([-30.0, 0.0, 10.0])), (0.0, 0.0),
        [image(3, p11=root, p22=4.0), image(3, p11=2 * root)], shift,
    )  # fmt: skip
    result = {"TOP": top, "FRONT": Lidar(matrix(0.0, 4.0, 0.0, 1.0), (), uniform, [image(2, p01=2.0), image(2)])}
    for name, degrees in {"SIDE_LEFT": 90.0, "SIDE_RIGHT": -90.0, "REAR": 180.0}.items():
        result[name] = Lidar(matrix(np.radians(degrees), 1.0, 0.0, 0.5), (), uniform, [image(2, p12=1.0)])
    return result


def jpeg(frame: int, camera: str, width: int, height: int) -> bytes:
    """One color for each frame and camera."""
    return encoded(np.full((height, width, 3), color(frame, camera), np.uint8))


def color(frame: int, camera: str) -> tuple[int, int, int]:
    return 40 * frame + 20, 40 * CAMERAS[camera], 128


def encoded(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def pose_s(frame: int, camera: str) -> float:
    """When the car was at the pose of a picture, after the start; cameras follow each other by 4 ms."""
    return 0.1 * frame + 0.05 + 0.004 * (CAMERAS[camera] - 1)


@dataclass
class Drive:
    """What both versions are written from."""

    frames: int = 3
    cameras: dict[str, Camera] | None = None
    picture: Callable[[int, str, int, int], bytes] = jpeg
    stats: tuple[str, str, str] = ("Dawn/Dusk", "location_sf", "sunny")

    def rig(self) -> dict[str, Camera]:
        return self.cameras or cameras()

    def labels(self, frame: int) -> list[dict[str, Any]]:
        """A parked car that looks back at us, a walker who changes, from frame 1 on a sign; in the vehicle's frame."""
        at = SPEED * (0.1 * frame + 0.05)  # of the frame's pose, from the start
        boxes = [
            {"id": "car", "type": VEHICLE, "center": (20.5 - at, 3.0, 0.8), "size": (4.5, 2.0, 1.6), "heading": -np.pi},
            {"id": "walker", "type": PEDESTRIAN, "center": (9.0, -4.0 + frame, 0.9),
             "size": (0.6 + 0.1 * frame, 0.7, 1.8), "heading": np.pi / 2},
        ]  # fmt: skip
        sign = {"id": "sign", "type": SIGN, "center": (15.5 - at, -5.0, 2.5), "size": (0.1, 0.8, 0.8), "heading": 0.0}
        return boxes + ([sign] if frame else [])


def poses_of_pixels(lidar: Lidar, frame: int) -> np.ndarray:
    """[H, W, 6]: roll, pitch, yaw, x, y, z of the car at each pixel."""
    assert lidar.shift_m is not None
    car = ego(pose_s(frame, "FRONT"))
    result = np.zeros((*lidar.shift_m.shape, 6), np.float32)
    result[..., 2], result[..., 3], result[..., 5] = YAW, car[0, 3], car[2, 3]
    result[..., 4] = car[1, 3] + lidar.shift_m
    return result


def range_image(ranges: np.ndarray) -> np.ndarray:
    """[H, W, 4]: range, intensity (a tenth of the range), elongation, no label zone."""
    return np.stack([ranges, 0.1 * ranges, 0 * ranges, 0 * ranges - 1], axis=-1).astype(np.float32)


# Version 1


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _fields(name: str) -> dict[str, tuple[int, str]]:
    line = next(line for line in PROTO.splitlines() if line.startswith(f"{name}: "))
    parts = [part.replace("=", " ").split() for part in line.split(": ")[1].split(", ")]
    return {field: (int(number), kind) for field, number, kind in parts}


def message(kind_of: str, /, **values: Any) -> bytes:
    """Serialize; texts and messages are bytes."""
    pack = {"double": "<d", "float": "<f"}
    out = b""
    for field, (number, kind) in sorted(_fields(kind_of).items(), key=lambda item: item[1][0]):
        if field not in values:
            continue
        base = kind.rstrip("*+")
        items = values[field] if kind != base else [values[field]]
        if kind.endswith("+"):
            data = np.asarray(items, "<f4").tobytes()
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
            continue
        for item in items:
            if base == "int":
                out += _varint(number << 3) + _varint(int(item))
            elif base in pack:
                out += _varint(number << 3 | (1 if base == "double" else 5)) + struct.pack(pack[base], item)
            else:
                data = item.encode() if isinstance(item, str) else item
                out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def crc32c(data: bytes) -> int:
    """Castagnoli's, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """One record of a TFRecord file."""

    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    # The reader leaves the second checksum alone, and bit by bit it takes long: only short records have a true one.
    return length + masked(length) + data + (masked(data) if len(data) < 10_000 else b"\0\0\0\0")


def transform(pose: np.ndarray) -> bytes:
    return message("Transform", transform=pose.ravel())


def compressed(values: np.ndarray) -> bytes:
    shape = message("MatrixShape", dims=values.shape)
    return zlib.compress(message("MatrixFloat", data=values.ravel(), shape=shape))


def context(drive: Drive, name: str = NAME) -> bytes:
    time_of_day, location, weather = drive.stats
    return message(
        "Context",
        name=name,
        camera_calibrations=[
            message("CameraCalibration", name=CAMERAS[n], intrinsic=c.intrinsic, extrinsic=transform(c.extrinsic),
                    width=c.width, height=c.height, rolling_shutter_direction=LEFT_TO_RIGHT)
            for n, c in drive.rig().items()
        ],
        laser_calibrations=[
            message("LaserCalibration", name=LIDARS[n], beam_inclinations=li.inclinations,
                    beam_inclination_min=li.edges[0], beam_inclination_max=li.edges[1],
                    extrinsic=transform(li.extrinsic))
            for n, li in lidars().items()
        ],
        stats=message("Stats", time_of_day=time_of_day, location=location, weather=weather),
    )  # fmt: skip


def frame_v1(drive: Drive, frame: int, name: str = NAME) -> bytes:
    """One serialized Frame."""
    images = [
        message("CameraImage", name=CAMERAS[n], image=drive.picture(frame, n, c.width, c.height),
                pose=transform(ego(pose_s(frame, n))), velocity=message("Velocity", v_x=0.0, v_y=SPEED, w_z=0.0),
                pose_timestamp=START_US * 1e-6 + pose_s(frame, n), **shutter(frame, n))
        for n, c in drive.rig().items()
    ]  # fmt: skip
    lasers = []
    for n, lidar in lidars().items():
        returns = [{"range_image_compressed": compressed(range_image(r))} for r in lidar.returns]
        if lidar.shift_m is not None:
            returns[0]["range_image_pose_compressed"] = compressed(poses_of_pixels(lidar, frame))
        parts = {f"ri_return{k + 1}": message("RangeImage", **r) for k, r in enumerate(returns)}
        lasers.append(message("Laser", name=LIDARS[n], **parts))
    labels = []
    for label in drive.labels(frame):
        (x, y, z), (length, width, height) = label["center"], label["size"]
        box = message("Box", center_x=x, center_y=y, center_z=z, length=length, width=width, height=height,
                      heading=label["heading"])  # fmt: skip
        labels.append(message("Label", box=box, type=label["type"], id=label["id"], num_lidar_points_in_box=9))
    return message(
        "Frame",
        context=context(drive, name),
        timestamp_micros=START_US + 100_000 * frame,
        pose=transform(ego(pose_s(frame, "FRONT"))),
        images=images,
        lasers=lasers,
        laser_labels=labels,
        camera_labels=[message("CameraLabels", name=1, labels=[message("Label", id="flat", type=1)])],
    )


def shutter(frame: int, camera: str) -> dict[str, float]:
    """Triggered 10 ms before the time of the pose, read out 30 ms after: the middle is 10 ms after it."""
    at = START_US * 1e-6 + pose_s(frame, camera)
    return {"shutter": 0.002, "camera_trigger_time": at - 0.01, "camera_readout_done_time": at + 0.03}


def write_v1(folder: Path, drive: Drive | None = None, name: str = NAME) -> Path:
    """A segment's .tfrecord, named as they are."""
    drive = drive or Drive()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"segment-{name}_with_camera_labels.tfrecord"
    file.write_bytes(b"".join(record(frame_v1(drive, k, name)) for k in range(drive.frames)))
    return file


# Version 2


def write_v2(root: Path, drive: Drive | None = None, name: str = NAME) -> Path:
    """The components' tables of a segment, in groups of a few rows; returns the root."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    drive = drive or Drive()
    floats, sixteen, three = pa.list_(pa.float32()), pa.list_(pa.float64(), 16), pa.list_(pa.int32(), 3)
    types = {
        **dict.fromkeys(("camera_name", "laser_name", "type", "rolling_shutter_direction"), pa.int8()),
        **dict.fromkeys(("width", "height"), pa.int32()),
        **{"image": pa.binary(), "transform": sixteen, "shape": three},
    }

    def write(component: str, rows: list[dict[str, Any]]) -> None:
        columns: dict[str, Any] = {"key.segment_context_name": pa.array([name] * len(rows), pa.string())}
        for column in rows[0]:
            kind = floats if component in ("lidar", "lidar_pose") and column.endswith(".values") else None
            kind = kind or types.get(column.split(".")[-1])
            columns[column] = pa.array([row[column] for row in rows], kind)
        (root / component).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), root / component / f"{name}.parquet", row_group_size=7, compression="brotli")

    def at(frame: int) -> dict[str, Any]:
        return {"key.frame_timestamp_micros": START_US + 100_000 * frame}

    frames = range(drive.frames)
    image, shutters = "[CameraImageComponent]", "[CameraImageComponent].rolling_shutter_params"
    write("camera_image", [
        {**at(k), "key.camera_name": CAMERAS[n], f"{image}.image": drive.picture(k, n, c.width, c.height),
         f"{image}.pose.transform": ego(pose_s(k, n)).ravel(), f"{image}.velocity.linear_velocity.y": SPEED,
         f"{image}.pose_timestamp": START_US * 1e-6 + pose_s(k, n),
         **{f"{shutters}.{key}": value for key, value in shutter(k, n).items()}}
        for k in frames for n, c in drive.rig().items()
    ])  # fmt: skip
    camera = "[CameraCalibrationComponent]"
    names = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
    write("camera_calibration", [
        {"key.camera_name": CAMERAS[n],
         **{f"{camera}.intrinsic.{a}": float(v) for a, v in zip(names, c.intrinsic, strict=True)},
         f"{camera}.extrinsic.transform": c.extrinsic.ravel(), f"{camera}.width": c.width, f"{camera}.height": c.height,
         f"{camera}.rolling_shutter_direction": LEFT_TO_RIGHT}
        for n, c in drive.rig().items()
    ])  # fmt: skip
    pose = "[VehiclePoseComponent].world_from_vehicle.transform"
    write("vehicle_pose", [{**at(k), pose: ego(pose_s(k, "FRONT")).ravel()} for k in frames])
    lidar, poses, calibration = "[LiDARComponent]", "[LiDARPoseComponent]", "[LiDARCalibrationComponent]"
    write("lidar_calibration", [
        {"key.laser_name": LIDARS[n], f"{calibration}.extrinsic.transform": li.extrinsic.ravel(),
         f"{calibration}.beam_inclination.min": li.edges[0], f"{calibration}.beam_inclination.max": li.edges[1],
         f"{calibration}.beam_inclination.values": li.inclinations or None}
        for n, li in lidars().items()
    ])  # fmt: skip

    def ranges(li: Lidar, k: int) -> dict[str, Any]:
        values = range_image(li.returns[k]) if k < len(li.returns) else None
        prefix = f"{lidar}.range_image_return{k + 1}"
        return {
            f"{prefix}.values": None if values is None else values.ravel(),
            f"{prefix}.shape": None if values is None else values.shape,
        }

    write("lidar", [
        {**at(k), "key.laser_name": LIDARS[n], **ranges(li, 0), **ranges(li, 1)}
        for k in frames for n, li in lidars().items()
    ])  # fmt: skip
    top = lidars()["TOP"]
    write("lidar_pose", [
        {**at(k), "key.laser_name": 1, f"{poses}.range_image_return1.values": poses_of_pixels(top, k).ravel(),
         f"{poses}.range_image_return1.shape": poses_of_pixels(top, k).shape}
        for k in frames
    ])  # fmt: skip
    box = "[LiDARBoxComponent]"
    write("lidar_box", [
        {**at(k), "key.laser_object_id": label["id"], f"{box}.type": label["type"],
         f"{box}.box.heading": label["heading"],
         **{f"{box}.box.{part}.{axis}": value
            for part in ("center", "size") for axis, value in zip("xyz", label[part], strict=True)}}
        for k in frames for label in drive.labels(k)
    ])  # fmt: skip
    stats = dict(zip(("time_of_day", "location", "weather"), drive.stats, strict=True))
    write("stats", [{**at(k), **{f"[StatsComponent].{key}": value for key, value in stats.items()}} for k in frames])
    return root
