"""Where green things grow: single trees, bushes, and the colors a world gives them."""

from __future__ import annotations

import math
from typing import Any

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.scenery.palette import Color, tinted, varied
from jwmtool.worlds.scenery.placing import Site

_BARKS: tuple[Color, ...] = ((0.20, 0.15, 0.11), (0.14, 0.11, 0.09), (0.26, 0.23, 0.19), (0.55, 0.53, 0.48))


def street_tree(site: Site, stream: Stream) -> str:
    """The habit that a world's avenues are planted with."""
    choices = ("round", "oval", "umbrella", "poplar")
    return stream.choice(choices, (4, 4, 2, 1 if site.kind == "country" else 0))


def leaf_style(site: Site, draw: Stream, conifer: bool = False) -> dict[str, Any]:
    """`leaf` and `leaf2` of one plant."""
    leaf = varied(site.palette.needles if conifer else draw.choice(site.palette.greens), draw, 0.2)
    return {"leaf": leaf, "leaf2": tinted(leaf, 0.55)}


def tree_style(site: Site, draw: Stream, habit: str, trunk_m: float) -> dict[str, Any]:
    """The style of one tree."""
    bark = _BARKS[draw.integer(0, 3)] if habit == "conifer" else draw.choice(_BARKS, (4, 3, 2, 1))
    return {**leaf_style(site, draw, habit == "conifer"), "habit": habit, "trunk_m": round(trunk_m, 3), "bark": bark}


def put_tree(
    site: Site,
    x: float,
    y: float,
    draw: Stream,
    height: tuple[float, float],
    conifers: float = 0.2,
    clear_m: float = 0.8,
) -> bool:
    """A tree off the roads: its crown keeps mostly off them too."""
    habit = "conifer" if draw.chance(conifers) else draw.choice(("round", "oval", "umbrella", "poplar"), (5, 4, 1, 1))
    tall = draw.uniform(*height)
    share = {"conifer": 0.38, "round": 0.75, "oval": 0.6, "umbrella": 0.8, "poplar": 0.24}[habit]
    crown = tall * share * draw.uniform(0.85, 1.15)
    trunk_m = {"conifer": 0.08, "round": 0.22, "oval": 0.2, "umbrella": 0.4, "poplar": 0.1}[habit] * tall
    # Between 1 m and 1.8 m a crown would be neither on the ground nor above heads.
    trunk_m = max(trunk_m, 1.8) if habit in ("round", "oval", "umbrella") else min(trunk_m, 1.2)
    style = tree_style(site, draw, habit, trunk_m)
    clear = max(clear_m, 0.5 * crown - 0.3 if trunk_m >= 1.8 else clear_m)
    size = (crown, crown, tall)
    turn = draw.uniform(0, 2 * math.pi)
    return site.put("tree", x, y, turn, size, style, seed=draw.word(), clear_m=clear, margin_m=0.2 + 0.25 * crown)


def put_bush(site: Site, x: float, y: float, draw: Stream, clear_m: float = 0.3) -> bool:
    """A bush off the roads."""
    wide = draw.uniform(0.8, 2.2)
    size = (wide, wide * draw.uniform(0.8, 1.2), wide * draw.uniform(0.55, 0.95))
    turn = draw.uniform(0, 2 * math.pi)
    return site.put("bush", x, y, turn, size, leaf_style(site, draw), seed=draw.word(), clear_m=clear_m, margin_m=0.1)


def put_wood(
    site: Site,
    x: float,
    y: float,
    yaw: float,
    size: tuple[float, float, float],
    draw: Stream,
    conifers: float,
    clear_m: float = 3.0,
) -> bool:
    """A stand of distant trees."""
    style = {**leaf_style(site, draw, conifers > 0.6), "conifers": round(conifers, 3)}
    return site.put("wood", x, y, yaw, size, style, seed=draw.word(), clear_m=clear_m, margin_m=0.5)
