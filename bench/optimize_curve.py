"""PSNR on the withheld views against seconds of fitting: the curve of `jwm reconstruct --method optimize`.

    python bench/optimize_curve.py clip/ --budget 300s --json curve.json --svg curve.svg

Seconds count from the start, stereo included; the time that scoring takes does not. Exposure at withheld times is
interpolated, never fitted.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `jwm` does

MARKS_S = (10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 210, 240, 270)


def main() -> None:
    """Fit, score at the marks and at the end, print, and write JSON and SVG if asked."""
    from jwmtool.cli.parsing import parse_duration_s

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--budget", type=parse_duration_s, default=300.0, metavar="TIME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--scene", type=Path, help="also write the scene here")
    arguments = parser.parse_args()
    result = measure(arguments.clip, arguments.budget, arguments.seed, arguments.scene)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(svg(result["curve"], arguments.budget))


def measure(path: Path, budget_s: float, seed: int, scene_path: Path | None) -> dict[str, Any]:
    """Fit and score; returns the curve [{seconds, steps, gaussians, psnr, ssim}]."""
    started = time.monotonic()
    from jwmtool.artifacts.clip_io import read_clip
    from jwmtool.artifacts.scene_io import write_scene
    from jwmtool.device import num_threads
    from jwmtool.fitting.fit import Fit
    from jwmtool.fitting.session import fit_clip
    from jwmtool.fitting.settings import FitSettings
    from jwmtool.metrics.protocol import score_scene

    clip = read_clip(path)
    curve: list[dict[str, float]] = []
    lost_s = 0.0

    def note(fit: Fit, seconds: float) -> None:
        means = score_scene(fit.scene(), clip, depth=False).means
        curve.append({"seconds": round(seconds, 1), "steps": fit.step, "gaussians": len(fit.parameters), **means})
        print(f"{seconds:6.0f} s {fit.step:6d} steps {len(fit.parameters):7d} Gaussians", end="")
        print(f"  {means['psnr']:.2f} dB  SSIM {means['ssim']:.4f}", flush=True)

    last: Fit | None = None

    def each_step(fit: Fit) -> float:
        nonlocal lost_s, last
        last = fit
        begin = time.monotonic()
        seconds = begin - started - lost_s
        passed = sum(1 for mark in MARKS_S if mark <= seconds)
        if passed <= len(curve) or seconds >= budget_s:
            return 0.0
        note(fit, seconds)
        curve.extend([curve[-1]] * (passed - len(curve)))
        lost_s += time.monotonic() - begin
        return time.monotonic() - begin

    settings = FitSettings(budget_s=budget_s, seed=seed)
    scene, _ = fit_clip(clip, settings, "cpu", started=started, each_step=each_step)
    if scene_path is not None:
        write_scene(scene, scene_path, force=True)
    if last is not None:
        note(last, last.elapsed_s)
    unique = [point for i, point in enumerate(curve) if i == 0 or point != curve[i - 1]]
    return {"clip": clip.name, "frames": len(clip.frames), "withheld": len(clip.images(withheld=True)),
            "budget_s": budget_s, "seed": seed, "threads": num_threads(), "curve": unique}  # fmt: skip


def svg(curve: list[dict[str, float]], budget_s: float, width: int = 720, height: int = 320) -> str:
    """PSNR over seconds."""
    left, bottom, top, right = 52, 40, 14, 14
    values = [p["psnr"] for p in curve]
    low, high = int(min(values)) - 1, int(max(values)) + 2

    def x(seconds: float) -> float:
        return left + (width - left - right) * seconds / budget_s

    def y(psnr: float) -> float:
        return height - bottom - (height - bottom - top) * (psnr - low) / (high - low)

    lines = "".join(
        f'<line x1="{left}" x2="{width - right}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#ddd"/>'
        f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v}</text>'
        for v in range(low, high + 1, max(1, (high - low) // 8))
    )
    ticks = "".join(
        f'<text x="{x(s):.1f}" y="{height - bottom + 18}" text-anchor="middle">{s:g}</text>'
        for s in [budget_s * k / 5 for k in range(6)]
    )
    path = " ".join(f"{x(p['seconds']):.1f},{y(p['psnr']):.1f}" for p in curve)
    dots = "".join(f'<circle cx="{x(p["seconds"]):.1f}" cy="{y(p["psnr"]):.1f}" r="3"/>' for p in curve)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    return (
        f'{head} font-family="sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="#fff"/>{lines}{ticks}'
        f'<polyline points="{path}" fill="none" stroke="#1565c0" stroke-width="2"/><g fill="#1565c0">{dots}</g>'
        f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle">seconds</text>'
        f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">withheld PSNR (dB)</text>'
        "</svg>\n"
    )


if __name__ == "__main__":
    main()
