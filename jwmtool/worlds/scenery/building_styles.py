"""How a world's buildings look: facades, colors, roofs, drawn for one building at a time."""

from __future__ import annotations

import math
from typing import Any

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.scenery.palette import Color, Palette, tinted, varied
from jwmtool.worlds.shapes.surfaces import FACADE_BRICK, FACADE_OFFICE, FACADE_PLASTER, FACADE_SHOP

_DOORS: tuple[Color, ...] = (
    (0.20, 0.06, 0.04), (0.05, 0.12, 0.08), (0.05, 0.08, 0.18), (0.28, 0.18, 0.10), (0.55, 0.54, 0.50),
    (0.10, 0.10, 0.11),
)  # fmt: skip


def facade_style(palette: Palette, draw: Stream, facade: int) -> dict[str, Any]:
    """Colors and windows of walls."""
    if facade == FACADE_BRICK:
        wall = varied(draw.choice(palette.bricks), draw)
    elif facade == FACADE_OFFICE:
        wall = varied(
            draw.choice(((0.42, 0.43, 0.45), (0.24, 0.26, 0.29), (0.60, 0.58, 0.54), (0.30, 0.27, 0.25))), draw, 0.25
        )
    else:
        wall = varied(draw.choice(palette.walls), draw)
    office = facade == FACADE_OFFICE
    return {
        "wall": wall,
        "trim": varied(draw.choice(palette.trims), draw),
        "roof_color": varied(draw.choice(palette.roofs), draw),
        "door": varied(draw.choice(_DOORS), draw, 0.25),
        "facade": facade,
        "pitch_m": round(draw.uniform(2.6, 4.2) if office else draw.uniform(2.2, 3.4), 3),
        "storey_m": round(draw.uniform(3.2, 3.8) if office else draw.uniform(2.7, 3.5), 3),
        "window_share": round(draw.uniform(0.6, 0.85) if office else draw.uniform(0.32, 0.55), 3),
    }


def block_style(
    palette: Palette, draw: Stream, length: float, width: float, storeys: int
) -> tuple[float, dict[str, Any]]:
    """Height and style of a town house or office of a row."""
    facade = draw.choice((FACADE_PLASTER, FACADE_BRICK, FACADE_SHOP, FACADE_OFFICE), (3, 2, 4, 2))
    style = facade_style(palette, draw, facade)
    body = storeys * style["storey_m"] + draw.uniform(0.4, 0.9)
    roof = "flat" if facade == FACADE_OFFICE else draw.choice(("flat", "mansard", "gable"), (4, 3, 3))
    style["roof"] = roof
    if roof == "mansard":
        body += 2.6
    elif roof == "gable":
        body += 0.28 * width
    if facade != FACADE_OFFICE:
        style["balconies"] = draw.chance(0.3)
        style["bays"] = draw.chance(0.2) and not style["balconies"]
    if facade == FACADE_SHOP and draw.chance(0.5):
        style["awning"] = varied(
            draw.choice(((0.5, 0.08, 0.06), (0.06, 0.25, 0.14), (0.08, 0.14, 0.4), (0.6, 0.45, 0.12))), draw
        )
    return body, style


def tower_style(palette: Palette, draw: Stream) -> dict[str, Any]:
    """Of a high-rise."""
    facade = draw.choice((FACADE_OFFICE, FACADE_PLASTER, FACADE_BRICK), (4, 2, 1))
    return {**facade_style(palette, draw, facade), "steps": draw.integer(1, 4), "mast": draw.chance(0.2)}


def house_style(palette: Palette, draw: Stream, width: float) -> tuple[float, dict[str, Any]]:
    """Height and style of a dwelling `width` deep."""
    style = facade_style(palette, draw, draw.choice((FACADE_PLASTER, FACADE_BRICK), (3, 2)))
    storeys = draw.choice((1, 2), (2, 3))
    rise = 0.5 * width * math.tan(draw.uniform(0.45, 0.85))
    style |= {
        "rise_m": round(rise, 3),
        "roof": draw.choice(("gable", "hip"), (3, 1)),
        "gable": varied(draw.choice((style["wall"], *palette.woods)), draw, 0.1),
        "wing": draw.chance(0.35),
        "porch": draw.chance(0.4),
        "dormer": draw.chance(0.4),
        "chimneys": draw.integer(0, 3),
    }
    return storeys * style["storey_m"] + 0.3 + rise, style


def garage_style(palette: Palette, draw: Stream, like: dict[str, Any]) -> dict[str, Any]:
    """Of a garage that belongs to a house."""
    return {**like, "roof": draw.choice(("flat", "gable")), "door": varied(draw.choice(_DOORS), draw, 0.25)}


def barn_style(palette: Palette, draw: Stream, width: float) -> dict[str, Any]:
    """Of a barn `width` deep."""
    wood = varied(draw.choice((*palette.woods, (0.30, 0.06, 0.04))), draw, 0.2)
    return {
        "wall": wood,
        "gable": tinted(wood, 0.75),
        "trim": varied(draw.choice(palette.trims), draw),
        "roof_color": varied(draw.choice(palette.roofs), draw),
        "door": varied(draw.choice(_DOORS), draw),
        "rise_m": round(0.5 * width * math.tan(draw.uniform(0.45, 0.75)), 3),
    }


def hall_style(palette: Palette, draw: Stream) -> dict[str, Any]:
    """Of a works or a store."""
    style = facade_style(palette, draw, FACADE_OFFICE)
    wall = varied(draw.choice(((0.5, 0.51, 0.52), (0.6, 0.58, 0.52), (0.3, 0.34, 0.38))), draw, 0.2)
    band = varied(
        draw.choice(((0.05, 0.15, 0.45), (0.5, 0.06, 0.05), (0.06, 0.3, 0.14), (0.6, 0.4, 0.04), (0.3, 0.3, 0.32))),
        draw,
    )
    return {**style, "wall": wall, "band": band, "window_share": round(draw.uniform(0.3, 0.6), 3), "pitch_m": 5.0}
