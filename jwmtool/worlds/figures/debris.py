"""What lies or falls on the road: rocks, crates, cartons, mattresses, tyres."""

from __future__ import annotations

import math

import numpy as np

from jwmtool.worlds.figures.assembly import Assembly
from jwmtool.worlds.figures.car_body import rounded_box
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.loft import outwards
from jwmtool.worlds.shapes.mesh import Mesh, box, ellipsoid, merge, smooth
from jwmtool.worlds.shapes.surfaces import Material, Surface

Size = tuple[float, float, float]


def rock(size: Size, seed: int) -> Figure:
    """A lumpy stone with a few flat faces, as if broken."""
    stream = Stream(seed, "rock")
    grey = stream.uniform(0.14, 0.32)
    warm = stream.uniform(0.0, 0.35)
    color = (grey * (1.0 + 0.35 * warm), grey, grey * (1.0 - 0.5 * warm))
    dark = (0.5 * color[0], 0.5 * color[1], 0.5 * color[2])
    surface = Surface(Material.ROCK, color, dark, stream.integer(0, 1000), (0.3 * size[0],))
    ball = ellipsoid((0, 0, 0), (1.0, 1.0, 1.0), surface, 3)
    points = ball.vertices
    for _ in range(6):  # long waves
        axis, phase = np.array([stream.normal() for _ in range(3)]), stream.uniform(0.0, 6.28)
        points = points * (1.0 + 0.07 * np.sin(points @ axis * 1.6 + phase))[:, None]
    for _ in range(9):  # broken faces
        axis = np.array([stream.normal() for _ in range(3)])
        axis /= np.linalg.norm(axis) + 1e-9
        height = points @ axis
        points = points - np.clip(height - stream.uniform(0.62, 0.85), 0.0, None)[:, None] * axis * 0.92
    points[:, 2] = np.maximum(points[:, 2], -0.45)  # it lies on a flat side
    made = Assembly()
    made.add(smooth(points, ball.faces, surface))
    return made.figure(size)


def crate(size: Size, seed: int) -> Figure:
    """A wooden crate of boards on a frame."""
    stream = Stream(seed, "crate")
    tone = stream.uniform(0.8, 1.2)
    board = Surface(
        Material.PLAIN, (0.36 * tone, 0.22 * tone, 0.10 * tone), seed=stream.integer(0, 1000), p=(0.25, 0.1)
    )
    frame = Surface(
        Material.PLAIN, (0.22 * tone, 0.125 * tone, 0.055 * tone), seed=stream.integer(0, 1000), p=(0.2, 0.1)
    )
    length, width, height = size
    bar = 0.11 * min(size)
    made = Assembly()
    made.add(box((length - bar, width - bar, height - bar), board, (0, 0, 0.5 * height)))
    for sx in (-0.5, 0.5):
        for sy in (-0.5, 0.5):
            x, y = sx * (length - bar), sy * (width - bar)
            made.add(box((bar, bar, height), frame, (x, y, 0.5 * height)))
            made.add(box((length, bar, bar), frame, (0, y, (sx + 0.5) * (height - bar) + 0.5 * bar)))
            made.add(box((bar, width, bar), frame, (x, 0, (sy + 0.5) * (height - bar) + 0.5 * bar)))
    return made.figure(size)


def carton(size: Size, seed: int) -> Figure:
    """A cardboard box with tape along its lid."""
    stream = Stream(seed, "carton")
    tone = stream.uniform(0.85, 1.15)
    card = Surface(Material.PLAIN, (0.42 * tone, 0.28 * tone, 0.155 * tone), seed=stream.integer(0, 1000), p=(0.1, 0.2))
    tape = Surface(Material.PLAIN, (0.60, 0.50, 0.34))
    length, width, height = size
    made = Assembly()
    made.add(rounded_box((-0.5 * length, -0.5 * width, 0.0), (0.5 * length, 0.5 * width, height), 0.012, card))
    made.add(box((length * 1.002, 0.07, 0.35 * height), tape, (0, 0, 0.827 * height)))
    return made.figure(size)


def mattress(size: Size, seed: int) -> Figure:
    """A mattress lying flat, with a border."""
    stream = Stream(seed, "mattress")
    tone = stream.uniform(0.5, 0.75)
    cloth = Surface(Material.PLAIN, (tone, tone * 0.97, tone * 0.90), seed=stream.integer(0, 1000), p=(0.1, 0.3))
    border = Surface(Material.PLAIN, stream.choice([(0.10, 0.16, 0.34), (0.30, 0.06, 0.06), (0.22, 0.22, 0.23)]))
    length, width, height = size
    made = Assembly()
    made.add(rounded_box((-0.5 * length, -0.5 * width, 0), (0.5 * length, 0.5 * width, height), 0.3 * height, cloth))
    made.add(
        rounded_box(
            (-0.502 * length, -0.505 * width, 0.36 * height),
            (0.502 * length, 0.505 * width, 0.64 * height),
            0.01,
            border,
        )
    )
    return made.figure(size)


def tyre(size: Size, seed: int) -> Figure:
    """A tyre lying on its side."""
    del seed  # they all look alike
    rubber = Surface(Material.PLAIN, (0.025, 0.025, 0.026), p=(0.1, 0.1))
    made = Assembly()
    made.add(_ring(0.31, 0.095, 0.11, rubber))
    made.add(_ring(0.30, 0.098, 0.06, Surface(Material.PLAIN, (0.045, 0.045, 0.047))))
    return made.figure(size)


def _ring(radius_m: float, thick_m: float, half_height_m: float, surface: Surface) -> Mesh:
    turn, ring = (2.0 * math.pi * np.arange(n) / n for n in (24, 8))
    shape = np.sign(np.cos(ring)) * np.abs(np.cos(ring)) ** 0.6, np.sign(np.sin(ring)) * np.abs(np.sin(ring)) ** 0.6
    r = radius_m - thick_m + thick_m * shape[0][None, :]
    z = np.broadcast_to(half_height_m * (1.0 + shape[1]), (24, 8))
    points = np.stack([r * np.cos(turn)[:, None], r * np.sin(turn)[:, None], z], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(24), np.arange(8), indexing="ij")
    a, b = i * 8 + j, i * 8 + (j + 1) % 8
    c, d = ((i + 1) % 24) * 8 + (j + 1) % 8, ((i + 1) % 24) * 8 + j
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return merge([outwards(smooth(points, faces, surface))])
