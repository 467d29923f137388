"""How predictable the worlds are: lift true depth and color of a few frames, render the others, PSNR.

    python bench/world_ceiling.py --seeds 20 --json ceiling.json

For each seed a 2 s window of 20 frames at 10 Hz: every pixel of frames 0, 5, 10 and 15 becomes a Gaussian at its true
depth, with its color, as wide as the pixel; what belongs to an actor is carried by the actor's true motion; the sky is
looked up at infinity. The other 16 frames are rendered and compared: PSNR an image, then the mean. No learned model
that starts from the same frames can be expected to do much better, so a lower figure is the models', a low ceiling
the worlds' (aliasing, glitter). Daylight without rain or snow is the figure; the other weathers follow.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from jwmtool.worlds.spec import KINDS

CONTEXT = (0, 5, 10, 15)
NUM_FRAMES = 20
SPREAD, OPACITY, MIN_FACING = 0.45, 0.95, 0.04  # pixels; of each Gaussian; cosine, below which patches grow no longer
OTHERS = (("rain", "day"), ("snow", "day"), ("fog", "day"), ("clear", "dusk"), ("clear", "night"))


def main() -> None:
    """Measure and print; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--rig", default="front3")
    parser.add_argument("--others", type=int, default=4, metavar="N", help="seeds for each other weather or light")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheets", type=Path, help="folder for pictures: truth, and lifted beside it")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for i in range(arguments.seeds):
        weather = "overcast" if i % 4 == 3 else "clear"
        rows.append(_measure(KINDS[i % 4], arguments.first_seed + i, weather, "day", arguments))
    daylight = float(np.mean([r["psnr"] for r in rows]))
    print(f"ceiling: {daylight:.2f} dB over {len(rows)} daylight seeds", flush=True)
    means = {"day, clear and overcast": daylight}
    for weather, light in OTHERS:
        some = [
            _measure(KINDS[i % 4], arguments.first_seed + i, weather, light, arguments) for i in range(arguments.others)
        ]
        rows += some
        if some:
            means[f"{light}, {weather}"] = float(np.mean([r["psnr"] for r in some]))
            print(f"{light}, {weather}: {means[f'{light}, {weather}']:.2f} dB over {len(some)} seeds", flush=True)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"rig": arguments.rig, "size": [224, 128], "means": means, "worlds": rows}, indent=1) + "\n"
        )


def _measure(kind: str, seed: int, weather: str, light: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from jwmtool.device import num_threads
    from jwmtool.imaging.similarity import psnr
    from jwmtool.worlds.spec import WorldSpec
    from jwmtool.worlds.world import make_world

    began = time.monotonic()
    spec = WorldSpec(kind, seed, NUM_FRAMES / 10.0, 10.0, 224, 128, weather, light)
    world = make_world(spec, arguments.rig, "none")
    names = [c.name for c in world.description.rig.cameras]
    keys = [(f, n) for f in range(NUM_FRAMES) for n in names]
    with ThreadPoolExecutor(num_threads()) as pool:
        views = dict(zip(keys, pool.map(lambda key: world.view(*key), keys), strict=True))
    lifted = Lifted(world, {key: views[key] for key in keys if key[0] in CONTEXT})
    scores, pictures = [], []
    for frame, name in keys:
        if frame in CONTEXT:
            continue
        truth = views[frame, name].image.astype(np.float32) / 255.0
        guess = lifted.render(frame, name)
        scores.append(float(psnr(torch.from_numpy(guess), torch.from_numpy(truth))))
        if frame in (2, 18):
            pictures += [views[frame, name].image, (guess * 255 + 0.5).astype(np.uint8)]
    if arguments.sheets:
        from PIL import Image

        from jwmtool.imaging.sheet import contact_sheet

        arguments.sheets.mkdir(parents=True, exist_ok=True)
        sheet = contact_sheet(pictures, [""] * len(pictures), columns=4)
        Image.fromarray(sheet).save(arguments.sheets / f"{kind}-{seed}-{weather}-{light}.png")
    row = {
        "kind": kind,
        "seed": seed,
        "weather": weather,
        "light": light,
        "psnr": round(float(np.mean(scores)), 3),
        "worst": round(min(scores), 3),
        "gaussians": lifted.count,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(row, flush=True)
    return row


class Lifted:
    """Gaussians at the true depth of the context's pixels, in the world or, for what moves, in its actor's box."""

    def __init__(self, world: Any, views: dict[tuple[int, str], Any]) -> None:
        from jwmtool.stereo.lifting import join

        self._world, self._views = world, views
        self._origin = world.world_from_rig(0)[:3, 3]
        tracks = {t.instance: t.world_from_box for t in world.tracks()}
        self._tracks = {number: poses for number, poses in tracks.items() if np.abs(np.ptp(poses, 0)).max() > 1e-9}
        square = np.ones((3, 3), np.uint8)
        self._around = {key: (cv2.erode(v.depth, square), cv2.dilate(v.depth, square)) for key, v in views.items()}
        self._owner = {key: self._owners(view) for key, view in views.items()}
        pieces: dict[int, list[tuple[Any, NDArray[np.float64]]]] = {}
        for picture, ((frame, name), view) in enumerate(views.items()):
            points, shape = _lift(world.camera(frame, name), view, picture)
            owner = self._owner[frame, name][np.isfinite(view.depth)]
            keep = ~self._seen_finer((frame, name), points, owner)
            for number in np.unique(owner):
                rows = np.flatnonzero((owner == number) & keep)
                pose = self._pose(int(number), frame)
                pieces.setdefault(int(number), []).append(_carried(points[rows], shape[rows], np.linalg.inv(pose)))
        self._groups = {
            number: (join([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
            for number, parts in pieces.items()
        }
        self.count = sum(len(points) for points, _ in self._groups.values())

    def _owners(self, view: Any) -> NDArray[np.int64]:
        """[H, W] number of the moving actor that each pixel shows, 0 for the rest."""
        instance = view.instance.astype(np.int64)
        return np.where(np.isin(instance, list(self._tracks)), instance, 0)

    def _pose(self, number: int, frame: int) -> NDArray[np.float64]:
        """[4, 4] world from an actor's box; 0 is the world itself."""
        return self._tracks[number][frame] if number else np.eye(4)

    def _seen_finer(self, key: tuple[int, str], points: Any, owner: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N] True where another context picture shows the same surface from nearer: that one's pixel is kept."""
        finer = np.zeros(len(points), bool)
        for other_key, (nearest, farthest) in self._around.items():
            if other_key == key:
                continue
            camera = self._world.camera(*other_key)
            moved = points.xyz.copy()
            for number in np.unique(owner[owner > 0]):
                rows = owner == number
                step = self._pose(number, other_key[0]) @ np.linalg.inv(self._pose(number, key[0]))
                moved[rows] = moved[rows] @ step[:3, :3].T + step[:3, 3]
            pixels, depth = camera.project(moved)
            with np.errstate(invalid="ignore"):
                inside = (depth > 0) & ((pixels > 0) & (pixels < (camera.width, camera.height))).all(1)
            i, j = pixels[inside].astype(int).T
            z = depth[inside]
            same = (nearest[j, i] * 0.99 < z) & (z < farthest[j, i] * 1.01)
            same &= self._owner[other_key][j, i] == owner[inside]
            finer[np.flatnonzero(inside)[same & (z / camera.K[0, 0] < points.footprint_m[inside])]] = True
        return finer

    def render(self, frame: int, name: str) -> NDArray[np.float32]:
        """[H, W, 3] in [0, 1]."""
        from jwmtool.gaussians.rasterize import rasterize_tensors
        from jwmtool.geometry import se3

        # Twice the size, then averaged: as the worlds' own pictures are made, and the rasterizer's low-pass filter of
        # half a pixel then costs a quarter of one.
        camera = self._world.camera(frame, name)
        camera = camera.resized(2 * camera.width, 2 * camera.height)
        local = camera.in_frame(se3.translation(-self._origin))
        moved = [_carried(points, shape, self._pose(number, frame)) for number, (points, shape) in self._groups.items()]
        xyz = np.concatenate([points.xyz for points, _ in moved]) - self._origin
        colors = np.concatenate([points.colors for points, _ in moved])
        axes = np.concatenate([shape for _, shape in moved])  # [N, 3, 3] columns: axis times standard deviation
        scales = np.linalg.norm(axes, axis=1)
        quats = Rotation.from_matrix(axes / scales[:, None]).as_quat(scalar_first=True)
        out = rasterize_tensors(
            *(torch.from_numpy(a.astype(np.float32)) for a in (xyz, quats, scales)),
            torch.full((len(xyz),), OPACITY), torch.from_numpy(colors), torch.from_numpy(local.cam_from_world), local,
        )  # fmt: skip
        alpha, color = out.alpha.numpy()[..., None], out.color.numpy()
        sky, seen = self._sky(camera)
        hole = (alpha < 0.6) & ~seen
        filled = _fill(color / np.maximum(alpha, 1e-6), alpha >= 0.6)
        picture = np.where(hole, filled, color + (1.0 - alpha) * np.where(seen, sky, color / np.maximum(alpha, 1e-6)))
        picture = picture.reshape(camera.height // 2, 2, camera.width // 2, 2, 3).mean((1, 3))
        return np.clip(picture, 0.0, 1.0).astype(np.float32)

    def _sky(self, camera: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """[H, W, 3]: the sky that the context saw in each direction; [H, W, 1]: whether it saw sky there."""
        rays = camera.rays().reshape(-1, 3)
        total, weight = np.zeros((len(rays), 3)), np.full(len(rays), 1e-9)
        for (frame, name), view in self._views.items():
            other = self._world.camera(frame, name)
            sky = ~np.isfinite(view.depth)
            cam = rays @ other.world_from_cam[:3, :3]
            with np.errstate(divide="ignore", invalid="ignore"):
                u = cam[:, 0] / cam[:, 2] * other.K[0, 0] + other.K[0, 2]
                v = cam[:, 1] / cam[:, 2] * other.K[1, 1] + other.K[1, 2]
            inside = (cam[:, 2] > 0) & (u > 0.5) & (u < other.width - 0.5) & (v > 0.5) & (v < other.height - 0.5)
            x, y = np.clip(u[inside] - 0.5, 0, other.width - 1.001), np.clip(v[inside] - 0.5, 0, other.height - 1.001)
            i, j = x.astype(int), y.astype(int)
            for dj in (0, 1):
                for di in (0, 1):
                    w = np.abs(1 - di - (x - i)) * np.abs(1 - dj - (y - j)) * sky[j + dj, i + di]
                    total[inside] += w[:, None] * view.image[j + dj, i + di] / 255.0
                    weight[inside] += w
        shape = (camera.height, camera.width)
        color = (total / weight[:, None]).reshape(*shape, 3).astype(np.float32)
        return color, (weight > 1e-6).reshape(*shape, 1)


def _lift(camera: Any, view: Any, picture: int) -> tuple[Any, NDArray[np.float64]]:
    """Points of a view's pixels, and the shape [N, 3, 3] of the patch of surface that each pixel shows.

    On the plane with normal n the point under a pixel moves by d (r_u - r (n.r_u) / (n.r)) per pixel, with r the ray
    of unit depth and d the depth; those two vectors span the patch. The columns of a shape are orthogonal axes times
    standard deviations.
    """
    from jwmtool.stereo.lifting import lift

    seen = np.isfinite(view.depth)
    depth = view.depth[seen].astype(np.float64)
    rays = camera.rays()[seen]
    normals = view.normal[seen].astype(np.float64)
    facing = (normals * rays).sum(1)
    facing = np.where(np.abs(facing) < MIN_FACING, -MIN_FACING, facing)
    sides = []
    for axis, focal_px in ((0, camera.K[0, 0]), (1, camera.K[1, 1])):
        step = camera.world_from_cam[:3, axis] / focal_px
        sides.append(depth[:, None] * (step - rays * ((normals @ step) / facing)[:, None]))
    covariance = sum(side[:, :, None] * side[:, None, :] for side in sides)
    covariance += (0.1 * depth / camera.K[0, 0])[:, None, None] ** 2 * normals[:, :, None] * normals[:, None, :]
    values, vectors = np.linalg.eigh(covariance)
    vectors[:, :, 0] *= np.sign(np.linalg.det(vectors))[:, None]
    shape = vectors * (SPREAD * np.sqrt(np.maximum(values, 1e-12)))[:, None, :]
    return lift(view.depth, camera, view.image / 255.0, np.ones_like(view.depth), picture=picture), shape


def _carried(
    points: Any, shape: NDArray[np.float64], transform: NDArray[np.float64]
) -> tuple[Any, NDArray[np.float64]]:
    rotation = transform[:3, :3]
    return replace(points, xyz=points.xyz @ rotation.T + transform[:3, 3]), rotation @ shape


def _fill(color: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What no context frame saw, spread from around: ever wider blurs of the known colors."""
    weight = known.astype(np.float32)[..., 0]
    total = np.where(known, color, 0.0).astype(np.float32)
    result, share = total.copy(), weight.copy()
    for sigma in (1.5, 4.0, 12.0, 40.0):
        wide, around = cv2.GaussianBlur(total, (0, 0), sigma), cv2.GaussianBlur(weight, (0, 0), sigma)
        use = (share < 0.5) & (around > 0.02)
        result[use] = wide[use] / around[use][:, None]
        share[use] = 1.0
    return result


if __name__ == "__main__":
    main()
