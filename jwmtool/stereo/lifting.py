"""From depth maps to points: lift pixels, estimate normals, keep one point a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Points:
    """M points lifted from pictures.

    Attributes:
        xyz: [M, 3] float64 metres, in the frame of the cameras.
        colors: [M, 3] float32 in [0, 1].
        footprint_m: [M] float32, the width of the pixel at that depth.
        normals: [M, 3] float32 unit, towards the camera.
        confidence: [M] float32 in [0, 1].
        range_m: [M] float32, distance from the camera that saw it.
        picture: [M] int32, index of that picture.
    """

    xyz: NDArray[np.float64]
    colors: Floats
    footprint_m: Floats
    normals: Floats
    confidence: Floats
    range_m: Floats
    picture: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.xyz)

    def __getitem__(self, rows: NDArray[np.generic]) -> Points:
        """The points that an index or mask [M] selects."""
        return Points(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def lift(
    depth: Floats,  # [H, W] metres along z; inf is skipped
    camera: Camera,
    image: Floats,  # [H, W, 3] in [0, 1]
    confidence: Floats,  # [H, W]
    threshold: float = 0.3,
    *,
    picture: int = 0,
) -> Points:
    """Lift the pixels whose confidence reaches `threshold`."""
    keep = (confidence >= threshold) & np.isfinite(depth)
    rays = camera.rays()
    xyz = camera.world_from_cam[:3, 3] + rays * np.where(keep, depth, 1.0)[..., None]
    normals = normals_from_depth(depth, camera)
    distance = depth[keep] * np.linalg.norm(rays[keep], axis=-1)
    return Points(
        xyz=xyz[keep],
        colors=image[keep].astype(np.float32),
        footprint_m=(depth[keep] / np.sqrt(camera.K[0, 0] * camera.K[1, 1])).astype(np.float32),
        normals=normals[keep],
        confidence=confidence[keep].astype(np.float32),
        range_m=distance.astype(np.float32),
        picture=np.full(int(keep.sum()), picture, np.int32),
    )


def normals_from_depth(depth: Floats, camera: Camera) -> Floats:
    """Unit normals [H, W, 3] in the world, towards the camera, from the gradient of inverse depth.

    On a plane inverse depth is linear in pixels, so differences of it are exact there; at an edge of depth the side
    with the smaller difference is taken, so that a normal belongs to one surface.
    """
    with np.errstate(divide="ignore"):
        inverse = np.where(np.isfinite(depth), 1.0 / depth, 0.0).astype(np.float64)
    gradient_x, gradient_y = _smaller_difference(inverse, 1), _smaller_difference(inverse, 0)
    u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    # 1/z = p (u - cx)/fx + q (v - cy)/fy + r for the plane p X + q Y + r Z = 1.
    p, q = gradient_x * camera.K[0, 0], gradient_y * camera.K[1, 1]
    r = inverse - gradient_x * (u - camera.K[0, 2]) - gradient_y * (v - camera.K[1, 2])
    normal = -np.stack([p, q, r], -1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    toward = -camera.world_from_cam[:3, 2]
    world = (normal / np.maximum(length, 1e-12)) @ camera.world_from_cam[:3, :3].T
    return np.where(length > 1e-12, world, toward).astype(np.float32)


def _smaller_difference(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    step = np.diff(values, axis=axis)
    first, last = np.take(step, [0], axis), np.take(step, [-1], axis)
    ahead, behind = np.concatenate([step, last], axis), np.concatenate([first, step], axis)
    return np.where(np.abs(ahead) < np.abs(behind), ahead, behind)


def join(parts: list[Points]) -> Points:
    """Concatenate."""
    return Points(*(np.concatenate([getattr(p, name) for p in parts]) for name in Points.__dataclass_fields__))


def deduplicate(points: Points, *, cell_m: float = 0.05, growth: float = 0.006) -> Points:
    """Keep the best point of each cell.

    Cells are cubes whose edge is `cell_m`, doubled as often as it takes to reach `growth` times the range at which
    the point was seen (0.006: about 1.5 pixels at a focal length of 240). The best is the most confident per
    footprint: seen from near and for certain. A point seen from farther away is dropped as well where finer cells
    are taken inside its own.
    """
    if len(points) == 0:
        return points
    level = np.ceil(np.log2(np.maximum(growth * points.range_m / cell_m, 1.0))).astype(np.int64)
    order = np.argsort(-points.confidence / np.maximum(points.footprint_m, 1e-4), kind="stable")
    keep = np.zeros(len(points), bool)
    taken: dict[int, NDArray[np.int64]] = {}
    for fine in range(int(level.max()) + 1):
        rows = order[level[order] == fine]
        cells = _cell_keys(points.xyz[rows], cell_m * 2.0**fine)
        free = ~np.isin(cells, taken[fine]) if fine in taken else np.ones(len(rows), bool)
        rows, cells = rows[free], cells[free]
        _, first = np.unique(cells, return_index=True)
        keep[rows[first]] = True
        # Coarser levels must not repaint what finer ones have painted.
        for coarse in range(fine + 1, int(level.max()) + 1):
            covered = _cell_keys(points.xyz[rows[first]], cell_m * 2.0**coarse)
            taken[coarse] = np.union1d(taken.get(coarse, np.zeros(0, np.int64)), covered)
    return points[np.flatnonzero(keep)]


def _cell_keys(xyz: NDArray[np.float64], edge_m: float) -> NDArray[np.int64]:
    """One integer a cell: 21 bits an axis."""
    cell = np.floor(xyz / edge_m).astype(np.int64) & 0x1FFFFF
    return (cell[:, 0] << 42) | (cell[:, 1] << 21) | cell[:, 2]
