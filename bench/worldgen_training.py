"""Training of the bench's estimators on pictures of world clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from worldgen_estimators import Estimators, as_tensor, half, network
from worldgen_footage import CELL, EVENTS, LEAST_FRAMES, SIZE, WEATHERS, Footage, motion
from worldgen_networks import flow_between, geometry_of, gray

_BATCH, _LR = 32, 2e-3
_KEPT_EVERY = 8  # of the training clips, one is kept to find the event's threshold with


def train_motion(training: Sequence[Footage], cache: Path, steps: int) -> None:
    """On pairs of frames one or two steps apart."""
    pairs, flows, targets, owner = [], [], [], []
    geometry = []
    for f in training:
        if f.event > 0 and not f.name.endswith("-front"):
            continue
        geometry.append(geometry_of(f.K, f.rig_from_cam, SIZE))
        rate = 1.0 / np.median(np.diff(f.times_s))
        small = [[gray(p) for p in version] for version in f.pictures]
        for apart in (1, 2) if rate > 7.0 else (1,):
            for i in range(len(f.times_s) - apart):
                both = [(v[i], v[i + apart]) for v in small]
                pairs.append(np.stack([np.stack(b) for b in both]))
                flows.append(np.stack([flow_between(*b) for b in both]).astype(np.float16))
                targets.append(motion(f, i, i + apart))
                owner.append(len(geometry) - 1)
    print(f"{len(pairs)} pairs", flush=True)
    pictures = torch.from_numpy(np.stack(pairs))
    flow = torch.from_numpy(np.stack(flows)).permute(0, 1, 4, 2, 3)
    told, owners, ways = torch.tensor(targets).float(), torch.tensor(owner), torch.stack(geometry)
    # Bends are rare: they are drawn more often.
    weight = 0.3 + (told[:, 1].abs() / 0.02).clamp(max=2.0)

    def step(net: nn.Module) -> Tensor:
        rows = torch.multinomial(weight, _BATCH, replacement=True)
        which = torch.randint(2, (_BATCH,))
        pair, field = pictures[rows, which].float() / 255.0, flow[rows, which].float()
        way, target = ways[owners[rows]], told[rows]
        gain = torch.exp(0.2 * torch.randn(_BATCH, 1, 1, 1))
        pair = (pair * gain).clamp(0.0, 1.0)
        if torch.rand(()) < 0.5:
            pair, field, way = pair.flip(3), field.flip(3), way.flip(3)
            field = field * torch.tensor([-1.0, 1.0])[:, None, None]
            way = way * torch.tensor([-1.0, 1.0, 1.0, -1.0])[:, None, None]
            target = target * torch.tensor([1.0, -1.0])
        error = net(pair, field, way) - target
        return functional.smooth_l1_loss(
            error / torch.stack([0.1 + 0.1 * target[:, 0].abs(), torch.full((_BATCH,), 0.004)], 1), error * 0.0
        )

    _learn("motion", step, cache, steps)


def train_weather(training: Sequence[Footage], cache: Path, steps: int) -> None:
    """On frames, each weather equally often."""
    by_class = [[f for f in training if f.weather == k and f.name.endswith("-front")] for k in range(len(WEATHERS))]
    rng = np.random.default_rng(0)

    def step(net: nn.Module) -> Tensor:
        labels = rng.integers(len(WEATHERS), size=_BATCH)
        pictures = [_drawn(by_class[k], rng) for k in labels]
        x = half(torch.cat([as_tensor(p[None]) for p in pictures]))
        if rng.random() < 0.5:
            x = x.flip(3)
        return functional.cross_entropy(net(_varied(x, rng)).mean((2, 3)), torch.from_numpy(labels))

    _learn("weather", step, cache, steps)


def train_event(training: Sequence[Footage], cache: Path, steps: int) -> None:
    """On frames, half of them with an event's subject, cell by cell; then a threshold from clips kept away."""
    folders = sorted({f.name.rsplit("-", 1)[0] for f in training})
    kept = {name for k, name in enumerate(folders) if k % _KEPT_EVERY == 0}
    usable = [f for f in training if f.event >= 0]
    learned = [f for f in usable if f.name.rsplit("-", 1)[0] not in kept]
    shown = [
        [(f, i) for f in learned if f.event == k for i in np.flatnonzero(f.visible)] for k in range(1, len(EVENTS))
    ]
    none = [(f, i) for f in learned for i in np.flatnonzero(~f.visible)]
    print({EVENTS[k + 1]: len({f.name for f, _ in rows}) for k, rows in enumerate(shown)}, len(none), flush=True)
    rng = np.random.default_rng(0)
    present = [rows for rows in shown if rows]

    def step(net: nn.Module) -> Tensor:
        count = _BATCH // 2
        chosen = []
        for k in range(count):
            rows = present[int(rng.integers(len(present)))] if k % 2 else none
            chosen.append(rows[int(rng.integers(len(rows)))])
        drawn = [_zoomed(f.pictures[rng.integers(2), i], f.cells[i], rng) for f, i in chosen]
        x = as_tensor(np.stack([picture for picture, _ in drawn]))
        target = torch.from_numpy(np.stack([cells for _, cells in drawn])).long()
        loss = functional.cross_entropy(net(_varied(x, rng)), target, reduction="none")
        something = target > 0
        nothing = loss[~something]
        hardest = nothing.topk(max(1, len(nothing) // 50)).values
        return nothing.mean() + 0.2 * hardest.mean() + 0.1 * loss[something].mean()

    net = _learn("event", step, cache, steps)
    estimators = Estimators(cache)
    rows = []
    for f in usable:
        if f.name.rsplit("-", 1)[0] in kept and (f.event == 0 or f.visible.sum() >= LEAST_FRAMES):
            scores = estimators.event_scores(f.pictures[0])
            rows.append((f.event, 1 + int(scores.argmax()), float(scores.max())))
    # Events and nothing count the same, however often they occur.
    choices = np.linspace(0.05, 0.98, 94)

    def balanced(threshold: float) -> float:
        events = [true == taken and sure > threshold for true, taken, sure in rows if true > 0]
        nothing = [sure <= threshold for true, _, sure in rows if true == 0]
        return float(np.mean(events or [False]) + np.mean(nothing or [False]))

    values = [balanced(float(t)) for t in choices]
    best = float(np.mean(choices[np.array(values) >= max(values) - 1e-9]))
    print(f"threshold {best:.2f}, of {len(rows)} clips kept: {max(values) / 2.0:.2f}", flush=True)
    _save("event", net, cache, best)


TRAIN: dict[str, Callable[[Sequence[Footage], Path, int], None]] = {
    "motion": train_motion, "weather": train_weather, "event": train_event,
}  # fmt: skip


def _learn(name: str, step: Callable[[nn.Module], Tensor], cache: Path, steps: int) -> nn.Module:
    """Train a new network for so many steps, and keep it."""
    torch.manual_seed(0)
    net = network(name).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=_LR, weight_decay=0.02)
    told = time.monotonic()
    losses: list[float] = []
    for number in range(steps):
        share = number / steps
        for group in optimizer.param_groups:
            group["lr"] = _LR * min(1.0, (number + 1) / 50) * (0.02 + 0.98 * 0.5 * (1.0 + np.cos(np.pi * share)))
        loss = step(net)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if time.monotonic() - told > 20.0:
            print(f"{name}: {number + 1} of {steps} steps, loss {np.mean(losses):.4f}", flush=True)
            told, losses = time.monotonic(), []
    _save(name, net, cache, 0.5)
    return net.eval()


def _save(name: str, net: nn.Module, cache: Path, threshold: float) -> None:
    torch.save({"weights": net.state_dict(), "threshold": threshold}, cache / f"{name}.pt")


def _drawn(footage: Sequence[Footage], rng: np.random.Generator) -> NDArray[np.uint8]:
    f = footage[int(rng.integers(len(footage)))]
    picture: NDArray[np.uint8] = f.pictures[rng.integers(2), rng.integers(len(f.times_s))]
    return picture


def _zoomed(
    picture: NDArray[np.uint8],  # [H, W, 3]
    cells: NDArray[np.uint8],  # [H / CELL, W / CELL]
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A part of a picture, with what it shows of an event's subject, enlarged; mirrored now and then.

    Never mirrored without a subject, or where it is a car on the wrong side of the road: all cars would be.
    """
    rows, columns = cells.shape
    down, across = (round(n / rng.uniform(1.0, 1.6)) for n in (rows, columns))
    there = np.argwhere(cells > 0)
    middle = there[rng.integers(len(there))] if len(there) else rng.integers((0, 0), (rows, columns))
    top, left = (
        int(np.clip(at - rng.integers(part), 0, whole - part))
        for at, part, whole in zip(middle, (down, across), (rows, columns), strict=True)
    )
    cut = picture[top * CELL : (top + down) * CELL, left * CELL : (left + across) * CELL]
    cut = cv2.resize(cut, (columns * CELL, rows * CELL), interpolation=cv2.INTER_LINEAR)
    kept = cells[top : top + down, left : left + across]
    kept = cv2.resize(kept, (columns, rows), interpolation=cv2.INTER_NEAREST)
    if 0 < kept.max() < EVENTS.index("wrong-way") and rng.random() < 0.5:
        cut, kept = cut[:, ::-1], kept[:, ::-1]
    return np.asarray(cut, np.uint8), np.asarray(kept, np.uint8)


def _varied(x: Tensor, rng: np.random.Generator) -> Tensor:
    """A little brighter or darker; now and then blurred."""
    x = x * torch.exp(0.08 * torch.randn(len(x), 3, 1, 1)) + 0.02 * torch.randn(len(x), 1, 1, 1)
    if rng.random() < 0.3:
        pictures = x.permute(0, 2, 3, 1).numpy()
        deviation = float(rng.uniform(0.5, 1.5))
        x = torch.from_numpy(np.stack([cv2.GaussianBlur(p, (0, 0), deviation) for p in pictures])).permute(0, 3, 1, 2)
    return x.clamp(0.0, 1.0)
