"""The loss on clips kept from training, over the samples of one or of several runs that went on from each other.

python bench/loss_curve.py runs/first/log.jsonl runs/second/log.jsonl -o docs/pictures/loss_worldgen.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

LINES = {
    "loss_free": ("#c62828", "no scene"),
    "loss": ("#1565c0", "all"),
    "loss_prior": ("#2e7d32", "a scene as prior"),
}
WIDTH, HEIGHT = 720, 320
LEFT, BOTTOM, TOP, RIGHT = 52, 40, 14, 130
Point = tuple[float, dict[str, float]]


def main() -> None:
    """Read, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    runs: list[list[Point]] = []
    seen = 0.0
    for log in arguments.logs:
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        each = next(row["samples"] / row["step"] for row in rows if row["kind"] == "train" and row["step"])
        runs.append([(seen + each * row["step"], row) for row in rows if row["kind"] == "held_out"])
        seen = runs[-1][-1][0]
    arguments.output.write_text(svg(runs), encoding="utf-8")
    print(arguments.output, f"{seen:.0f} samples")


def svg(runs: list[list[Point]]) -> str:
    """One line for each loss and run."""
    values = [row[name] for run in runs for _, row in run for name in LINES if name in row]
    low, high, end = min(values), max(values), runs[-1][-1][0]

    def x(samples: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * samples / end

    def y(loss: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (loss - low) / (high - low)

    parts = []
    for step in range(6):
        loss, samples = low + (high - low) * step / 5, end * step / 5
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
        parts.append(f'<text x="{x(samples):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{samples:.0f}</text>')
    for row, (name, (color, label)) in enumerate(LINES.items()):
        for run in runs:
            points = " ".join(f"{x(samples):.1f},{y(found[name]):.1f}" for samples, found in run if name in found)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 20 + 20 * row}" fill="{color}">{label}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">samples</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    return f'{head} font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    main()
