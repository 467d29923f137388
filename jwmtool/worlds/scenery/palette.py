"""Colors of one world: what its houses, roofs, leaves and street furniture are painted with, drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass

from jwmtool.worlds.random_stream import Stream

Color = tuple[float, float, float]

# Linear reflectances to vary from.
_WALLS: tuple[Color, ...] = (
    (0.62, 0.57, 0.47), (0.70, 0.68, 0.62), (0.55, 0.44, 0.30), (0.60, 0.40, 0.26), (0.52, 0.28, 0.18),
    (0.38, 0.15, 0.10), (0.30, 0.13, 0.09), (0.45, 0.45, 0.44), (0.30, 0.31, 0.33), (0.56, 0.52, 0.36),
    (0.64, 0.46, 0.40), (0.36, 0.43, 0.38), (0.38, 0.44, 0.52), (0.66, 0.60, 0.40), (0.72, 0.72, 0.70),
)  # fmt: skip
_BRICKS: tuple[Color, ...] = ((0.36, 0.14, 0.09), (0.28, 0.12, 0.08), (0.44, 0.24, 0.14), (0.42, 0.33, 0.22))
_ROOFS: tuple[Color, ...] = (
    (0.40, 0.14, 0.08), (0.30, 0.12, 0.07), (0.16, 0.15, 0.15), (0.10, 0.10, 0.12), (0.24, 0.18, 0.14),
    (0.20, 0.22, 0.22), (0.33, 0.20, 0.12),
)  # fmt: skip
_TRIMS: tuple[Color, ...] = (
    (0.75, 0.74, 0.70), (0.60, 0.58, 0.52), (0.12, 0.12, 0.13), (0.22, 0.13, 0.08), (0.10, 0.18, 0.14),
    (0.30, 0.30, 0.32), (0.66, 0.60, 0.48),
)  # fmt: skip
_WOODS: tuple[Color, ...] = ((0.30, 0.19, 0.11), (0.20, 0.13, 0.09), (0.42, 0.33, 0.23), (0.26, 0.24, 0.22))
_GREENS: tuple[Color, ...] = (
    (0.09, 0.16, 0.04), (0.12, 0.19, 0.05), (0.06, 0.12, 0.04), (0.14, 0.18, 0.06), (0.08, 0.15, 0.07),
)  # fmt: skip
_AUTUMN: tuple[Color, ...] = ((0.42, 0.20, 0.04), (0.36, 0.10, 0.03), (0.44, 0.32, 0.06), (0.24, 0.17, 0.06))
_METALS: tuple[Color, ...] = (
    (0.35, 0.36, 0.37), (0.08, 0.09, 0.09), (0.06, 0.12, 0.09), (0.20, 0.21, 0.22), (0.45, 0.45, 0.44),
)  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """A world's own selection of colors, all linear reflectances."""

    walls: tuple[Color, ...]
    bricks: tuple[Color, ...]
    roofs: tuple[Color, ...]
    trims: tuple[Color, ...]
    woods: tuple[Color, ...]
    greens: tuple[Color, ...]
    needles: Color
    metal: Color  # of lamps and rails
    furniture: Color  # of benches and bins


def make_palette(stream: Stream) -> Palette:
    """Draw a world's colors: few enough that its streets look of one town, and another seed's look of another."""
    warmth, level = stream.uniform(-0.08, 0.08), stream.uniform(0.75, 1.15)
    autumn = stream.uniform(0.4, 1.0) if stream.chance(0.2) else 0.0

    def some(items: tuple[Color, ...], count: int) -> tuple[Color, ...]:
        chosen = stream.shuffled(items)[:count]
        return tuple(tinted(color, level, warmth) for color in chosen)

    walls, bricks, roofs = some(_WALLS, stream.integer(3, 8)), some(_BRICKS, 2), some(_ROOFS, stream.integer(2, 4))
    trims, woods = some(_TRIMS, 3), some(_WOODS, 2)
    fresh = stream.uniform(0.75, 1.4)
    greens = [tinted(color, fresh, 0.0) for color in stream.shuffled(_GREENS)[:3]]
    if autumn > 0:
        greens += [tinted(color, autumn + 0.3, 0.0) for color in stream.shuffled(_AUTUMN)[:3]]
    metals = stream.shuffled(_METALS)
    return Palette(
        walls=walls,
        bricks=bricks,
        roofs=roofs,
        trims=trims,
        woods=woods,
        greens=tuple(greens),
        needles=tinted((0.05, 0.10, 0.045), stream.uniform(0.7, 1.4), 0.0),
        metal=metals[0],
        furniture=metals[1],
    )


def tinted(color: Color, level: float, warmth: float = 0.0) -> Color:
    """A color made lighter by `level` and redder by `warmth`, kept within 0.02 to 0.85."""
    red, green, blue = color[0] * level * (1.0 + warmth), color[1] * level, color[2] * level * (1.0 - warmth)
    low, high = 0.02, 0.85
    return (
        round(min(max(red, low), high), 4),
        round(min(max(green, low), high), 4),
        round(min(max(blue, low), high), 4),
    )


def varied(color: Color, stream: Stream, spread: float = 0.15) -> Color:
    """One thing's own shade of a palette color."""
    return tinted(color, stream.uniform(1.0 - spread, 1.0 + spread), stream.uniform(-0.4 * spread, 0.4 * spread))
