"""Waymo's lidar range images as points in the vehicle's frame.

A row is a beam, the topmost first (the calibration lists inclinations from the lowest); a column is an azimuth, from pi
on the left (behind, by the left side) down to -pi. Of W columns the middle of the j-th is at
(2 (W - j - 1/2) / W - 1) pi, less the lidar's own yaw in the car.

The top lidar's image comes with the pose of the car at each pixel (roll, pitch, yaw, x, y, z; R = Rz Ry Rx): points go
to the world with it, and back into the car with the pose of the frame. So they are compensated for the car's motion
over the sweep. The images of the other four are in one vehicle frame as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry import se3

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class LidarCalibration:
    """Where a lidar sits and where its rows look.

    Attributes:
        vehicle_from_lidar: [4, 4].
        inclinations_rad: of the rows, the lowest first; empty where they are uniform.
        min_rad, max_rad: edges of uniform rows.
    """

    vehicle_from_lidar: Matrix
    inclinations_rad: tuple[float, ...] = ()
    min_rad: float = 0.0
    max_rad: float = 0.0

    def rows_rad(self, height: int) -> Matrix:
        """Inclination of each row of an image, the topmost first: [H].

        Raises:
            ValueError: as many inclinations as the image has no rows.
        """
        if self.inclinations_rad:
            if len(self.inclinations_rad) != height:
                raise ValueError(f"{len(self.inclinations_rad)} beam inclinations for {height} rows")
            return np.array(self.inclinations_rad)[::-1]
        share = (np.arange(height) + 0.5) / height
        return (self.min_rad + share * (self.max_rad - self.min_rad))[::-1]


def range_image_points(
    image: NDArray[np.float32],  # [H, W, C >= 2]: range in metres (not above 0: no return), intensity
    calibration: LidarCalibration,
    world_from_vehicle: Matrix,  # [4, 4], pose of the frame
    pixel_poses: NDArray[np.float32] | None,  # [H, W, 6], or None for an image in one vehicle frame
) -> NDArray[np.float32]:
    """Points [M, 4] in the vehicle's frame at the pose of the frame: x, y, z metres, intensity as recorded.

    Raises:
        ValueError: shapes that do not fit.
    """
    if image.ndim != 3 or image.shape[2] < 2:
        raise ValueError(f"a range image of shape {image.shape}")
    if pixel_poses is not None and pixel_poses.shape != (*image.shape[:2], 6):
        raise ValueError(f"poses of shape {pixel_poses.shape} for a range image of shape {image.shape}")
    height, width = image.shape[:2]
    vehicle_from_lidar = calibration.vehicle_from_lidar
    rows, columns = np.nonzero(image[..., 0] > 0)
    ranges = image[rows, columns, 0].astype(np.float64)
    inclination = calibration.rows_rad(height)[rows]
    own_yaw = np.arctan2(vehicle_from_lidar[1, 0], vehicle_from_lidar[0, 0])
    azimuth = (2.0 * (width - columns - 0.5) / width - 1.0) * np.pi - own_yaw
    flat = np.cos(inclination) * ranges
    points = np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(inclination) * ranges], axis=1)
    points = se3.apply(vehicle_from_lidar, points)
    if pixel_poses is not None:
        poses = pixel_poses[rows, columns].astype(np.float64)
        points = _turned(points, poses[:, :3]) + poses[:, 3:]
        points = se3.apply(se3.inverse(world_from_vehicle), points)
    return np.column_stack([points, image[rows, columns, 1]]).astype(np.float32)


def _turned(points: Matrix, roll_pitch_yaw: Matrix) -> Matrix:
    """Rz(yaw) Ry(pitch) Rx(roll) of each point [N, 3]: first about x, then y, then z."""
    x, y, z = points.T
    for axis in range(3):
        c, s = np.cos(roll_pitch_yaw[:, axis]), np.sin(roll_pitch_yaw[:, axis])
        if axis == 0:
            y, z = c * y - s * z, s * y + c * z
        elif axis == 1:
            x, z = c * x + s * z, c * z - s * x
        else:
            x, y = c * x - s * y, s * x + c * y
    return np.stack([x, y, z], axis=1)
