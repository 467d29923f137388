"""Scores as one self-contained HTML page: figures, curves over time, the worst pictures. No links, no scripts."""

from __future__ import annotations

import base64
import html
import io
import json
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jwmtool.metrics.names import ALL_NAMES, LABELS, formatted
from jwmtool.metrics.scores import Pair, Row, Scores
from jwmtool.rendering.compare import difference_picture

COLORS = ("#2f6fdb", "#d9622b", "#2a9d62", "#a03cc0", "#b8960c", "#c0395b", "#178a9e", "#6b6b6b")
MAX_WIDTH_PX = 960  # of an embedded picture
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c1c1e;background:#fff;max-width:1100px;margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin:0 0 .2em}h2{font-size:1.15em;margin:2em 0 .5em}
table{border-collapse:collapse}th,td{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}tr.all{font-weight:600}
p.note{background:#fff4d6;padding:.4em .8em;border-radius:4px}code,pre{background:#f3f3f5;border-radius:4px}
code{padding:.1em .3em}pre{padding:.6em .8em;overflow-x:auto;white-space:pre-wrap}
figure{margin:0 0 1.2em}figure img{display:block;width:100%;max-width:960px;margin-bottom:2px}
figcaption{color:#555;font-size:.9em}
.trio{display:grid;gap:2px;max-width:1100px}.row{grid-template-columns:repeat(3,1fr)}
svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#444}details summary{cursor:pointer}
"""


def report_html(scores: Scores, document: dict[str, Any], command: Sequence[str]) -> str:
    """Build the page.

    Args:
        scores: with the worst pictures.
        document: `scores.to_json(...)`.
        command: the command line.
    """
    names = [name for name in ALL_NAMES if name in scores.means]
    curves = "".join(_curve(scores, name) for name in names if name in ("psnr", "ssim", "depth_abs_rel"))
    worst = "".join(_worst(row, pair) for row, pair in scores.worst)
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in scores.notes)
    split = f", split <b>{html.escape(scores.split)}</b>" if scores.split else ""
    definitions = "".join(
        f"<li><b>{html.escape(k)}</b>: {html.escape(text)}</li>" for k, text in document["definition"].items()
    )
    provenance = html.escape(json.dumps(document["provenance"], indent=2))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>jwm score: {html.escape(document["prediction"])}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(document["prediction"])}</h1>
<p>against <b>{html.escape(document["reference"])}</b>, protocol <b>{html.escape(scores.protocol)}</b>{split}:
{html.escape(scores.summary)}</p>
{notes}<h2>Scores</h2>{_table(scores, names)}
<h2>Over time</h2>{curves}
<h2>The {len(scores.worst)} worst pictures</h2>
<p>Predicted, true, and their difference times three.</p>{worst}
<h2>How it was measured</h2><ul>{definitions}</ul>
<pre>{html.escape(shlex.join(command))}</pre>
<details><summary>Provenance</summary><pre>{provenance}</pre></details>
<details><summary>All {len(scores.rows)} pictures</summary>{_all_rows(scores.rows, names)}</details>
</body></html>
"""


def _table(scores: Scores, names: list[str]) -> str:
    head = "".join(f"<th>{LABELS[name]}</th>" for name in names)
    body = ""
    if len(scores.cameras) > 1:
        for camera, rows in scores.cameras.items():
            means = Scores(scores.protocol, None, rows).means
            body += _table_row(camera or "-", len(rows), means, names)
    body += _table_row("all", len(scores.rows), scores.means, names, ' class="all"')
    return f"<table><tr><th>camera</th><th>pictures</th>{head}</tr>{body}</table>"


def _table_row(label: str, count: int, means: dict[str, float], names: list[str], attributes: str = "") -> str:
    cells = "".join(f"<td>{formatted(n, means[n]) if n in means else '-'}</td>" for n in names)
    return f"<tr{attributes}><td>{html.escape(label)}</td><td>{count}</td>{cells}</tr>"


def _all_rows(rows: list[Row], names: list[str]) -> str:
    head = "".join(f"<th>{LABELS[name]}</th>" for name in names)
    body = "".join(
        f"<tr><td>{r.frame}</td><td>{html.escape(r.camera or '-')}</td>"
        + "".join(f"<td>{formatted(n, r.values[n]) if n in r.values else '-'}</td>" for n in names)
        + "</tr>"
        for r in rows
    )
    return f"<table><tr><th>frame</th><th>camera</th>{head}</tr>{body}</table>"


def _curve(scores: Scores, name: str, width: int = 1000, height: int = 220) -> str:
    """One score over time, a line a camera, as inline SVG."""
    points: dict[str, list[tuple[float, float]]] = {}
    known = [r.time_us for r in scores.rows if r.time_us is not None]
    for row in scores.rows:
        if name in row.values:
            x = float(row.frame) if row.time_us is None else (row.time_us - min(known)) * 1e-6
            points.setdefault(row.camera or "", []).append((x, row.values[name]))
    xs = [x for line in points.values() for x, _ in line]
    ys = [y for line in points.values() for _, y in line]
    x_ticks, y_ticks = _ticks(min(xs), max(xs), 8), _ticks(min(ys), max(ys), 4)
    x_low, x_high, y_low, y_high = min(xs), max(max(xs), min(xs) + 1e-9), y_ticks[0], y_ticks[-1]
    left, right, top, bottom = 52, 12, 22, 30

    def px(x: float) -> float:
        return left + (x - x_low) / (x_high - x_low) * (width - left - right)

    def py(y: float) -> float:
        return height - bottom - (y - y_low) / (y_high - y_low) * (height - top - bottom)

    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">']
    for y in y_ticks:
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#e3e3e6"/>')
        parts.append(f'<text x="{left - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in (t for t in x_ticks if x_low <= t <= x_high):
        parts.append(f'<text x="{px(x):.1f}" y="{height - 12}" text-anchor="middle">{x:g}</text>')
    unit = "s" if known else "frame"
    parts.append(f'<text x="{width - right}" y="{height - 1}" text-anchor="end">{unit}</text>')
    legend_x = left + 150.0
    parts.append(f'<text x="{left}" y="13" font-weight="bold">{LABELS[name]}</text>')
    for i, (camera, line) in enumerate(points.items()):
        color = COLORS[i % len(COLORS)]
        if len(line) > 1:
            path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in line)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="2.2" fill="{color}"/>' for x, y in line]
        if camera:
            parts.append(f'<rect x="{legend_x:.0f}" y="6" width="10" height="8" fill="{color}"/>')
            parts.append(f'<text x="{legend_x + 14:.0f}" y="14">{html.escape(camera)}</text>')
            legend_x += 34 + 7 * len(camera)
    return "".join(parts) + "</svg>"


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    span = max(high - low, abs(high) * 1e-3, 1e-6)
    power = 10.0 ** np.floor(np.log10(span / count))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * count >= span)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return [float(round(i * step, 9)) for i in range(first, max(last, first + 1) + 1)]


def _worst(row: Row, pair: Pair) -> str:
    label = f"frame {row.frame}" + (f", camera {row.camera}" if row.camera else "")
    figures = ", ".join(f"{LABELS[n]} {formatted(n, v)}" for n, v in row.values.items() if n in ("psnr", "ssim"))
    pictures = (pair.image, pair.truth, difference_picture(pair.image, pair.truth))
    images = "".join(f'<img src="{_embedded(p)}" alt="">' for p in pictures)
    layout = "trio" if row.size[0] > 2.2 * row.size[1] else "trio row"
    caption = html.escape(f"{label}: {figures}")
    return f'<figure><figcaption>{caption}</figcaption><div class="{layout}">{images}</div></figure>'


def _embedded(image: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(np.ascontiguousarray(image))
    if picture.width > MAX_WIDTH_PX:
        picture = picture.resize((MAX_WIDTH_PX, round(picture.height * MAX_WIDTH_PX / picture.width)))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
