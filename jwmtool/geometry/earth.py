"""Places on the earth as local coordinates in metres: Mercator as KITTI uses it, and earth-centered (ECEF, WGS84)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.geometry import se3

Matrix = NDArray[np.float64]

EQUATOR_M = 6378137.0  # WGS84, half the longer axis
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY2 = _FLATTENING * (2 - _FLATTENING)


def mercator(lat_deg: ArrayLike, lon_deg: ArrayLike, lat0_deg: float) -> Matrix:
    """East and north [..., 2] in metres: Mercator of a sphere, scaled by cos(lat0) so that it is true to scale there.

    Counted from longitude 0 and the equator; subtract one place from another.
    """
    scale_m = np.cos(np.radians(lat0_deg)) * EQUATOR_M
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    return np.stack([scale_m * lon, scale_m * np.log(np.tan(np.pi / 4 + lat / 2))], -1)


def geodetic(ecef: ArrayLike) -> tuple[float, float, float]:
    """Latitude and longitude (radians) and height over the WGS84 ellipsoid (metres) of one place [3] in ECEF metres."""
    x, y, z = np.asarray(ecef, np.float64).tolist()
    axis_m = float(np.hypot(x, y))
    lat = float(np.arctan2(z, axis_m * (1 - _ECCENTRICITY2)))
    radius_m = EQUATOR_M
    for _ in range(6):  # each round adds two to three digits near the ground
        radius_m = EQUATOR_M / np.sqrt(1 - _ECCENTRICITY2 * np.sin(lat) ** 2)
        lat = float(np.arctan2(z + _ECCENTRICITY2 * radius_m * np.sin(lat), axis_m))
    height_m = axis_m * np.cos(lat) + z * np.sin(lat) - EQUATOR_M**2 / radius_m
    return lat, float(np.arctan2(y, x)), float(height_m)


def ecef_from_enu(origin_ecef: ArrayLike) -> Matrix:
    """[4, 4] of the local frame at a place: x east, y north, z up (normal to the ellipsoid), metres."""
    lat, lon, _ = geodetic(origin_ecef)
    east = [-np.sin(lon), np.cos(lon), 0.0]
    up = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    result = se3.translation(origin_ecef)
    result[:3, :3] = np.stack([east, np.cross(up, east), up], 1)
    return result
