"""How large WorldRec is, told without making its weights: parameters, operations and memory of a forward pass.

Operations are counted layer by layer: twice its weights for each place that it is applied to. How many queries there
are, and how many of them move, depends on the pictures; `assumed` says what is taken for usual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldrec.aggregation import QUERIES_AT_ONCE, WINDOW
from jwmtool.worldrec.coarse_depth import FINE
from jwmtool.worldrec.config import CONFIGS, WorldRecConfig
from jwmtool.worldrec.cover import PATCH
from jwmtool.worldrec.features import TEXTURE
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.motion import ACROSS_MPS, ALONG_MPS, AT_ONCE
from jwmtool.worldrec.views import MULTIPLE

VIEWS = 12
QUERIES, GAUSSIANS, SWEPT = 0.7, 6.0, 0.7  # of the patches; of each query; of the queries
_VELOCITIES = len(ALONG_MPS) + len(ACROSS_MPS)
_SAMPLE = 9  # operations for a channel: bilinear, and a product
_FLOAT = 4  # bytes

# Which layers are applied to what; the first that fits. Numbers are strides.
_RULES: tuple[tuple[str, str], ...] = (
    (r"encoder\.(down|stages|smooth)\.(?P<level>\d)", "level"),
    (r"encoder\.up\.(?P<level>\d)", "level above"),
    (r"depth\.(match_quarter|volume_in|volume_out|quarter_mask|volume\.(top|out))", "4"),
    (r"depth\.volume\.(down\.0|inner\.0|up\.0)", "8"),
    (r"depth\.volume\.(down\.1|inner\.1|up\.1)", "16"),
    (r"depth\.(match_half|fine|fine_out)", "2"),
    (r"depth\.mix", "planes"),
    (r"exposure", "views"),
    (r"aggregation\.layers\.\d\.key", "4"),
    (r"aggregation\.layers\.\d\.judge", "looks"),
    (r"aggregation", "queries"),
    (r"decoder\.head\.outer", "queries"),
    (r"decoder\.head", "gaussians"),
    (r"motion\.judge", "velocities"),
    (r"motion\.guess", "swept"),
    (r"pixel\.head\.(inner|hidden|out)\b", "gaussians"),
    (r"pixel", "2"),
    (r"gate", "nothing"),  # fusion asks it, from window to window
)


@dataclass(frozen=True)
class Window:
    """What a forward pass is given, and how much of it there is to do.

    Attributes:
        views: pictures; height, width: px.
        queries, gaussians, swept: scene queries; Gaussians; queries whose velocity is looked for.
    """

    views: int
    height: int
    width: int
    queries: int
    gaussians: int
    swept: int

    @property
    def pixels(self) -> int:
        """Of all views."""
        return self.views * self.height * self.width


def assumed(config: WorldRecConfig, views: int = VIEWS) -> Window:
    """A usual window: `views` pictures twice as wide as high, of about as many pixels as the config allows."""
    height = round((config.pixels / 2) ** 0.5 / MULTIPLE) * MULTIPLE
    pixels = views * height * 2 * height
    if config.method == "pixel":
        return Window(views, height, 2 * height, 0, pixels // config.pixel_step**2, 0)
    queries = round(QUERIES * pixels / PATCH**2)
    return Window(views, height, 2 * height, queries, round(GAUSSIANS * queries), round(SWEPT * queries))


def skeleton(config: WorldRecConfig) -> WorldRec:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return WorldRec(config)


def parameters(model: WorldRec) -> dict[str, int]:
    """Parameters of each part."""
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}


def operations(model: WorldRec, window: Window) -> dict[str, int]:
    """Floating-point operations of each part: a product and a sum are two. Lookups in the sweep count as its own."""
    config = model.config
    found = dict.fromkeys((name for name, _ in model.named_children()), 0)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found[name.partition(".")[0]] += 2 * layer.weight.numel() * places(name, config, window)
    channels = config.match_channels + TEXTURE
    near = min(config.neighbors, window.views - 1)
    looks = near * config.planes / 16 + min(near, config.fine_neighbors) * len(FINE) / 4  # for each pixel
    found["sweep"] = round(_SAMPLE * channels * looks * window.pixels)
    if config.method == "sparse":
        found["aggregation"] += 4 * WINDOW * config.channels * window.queries * config.layers
    return {name: count for name, count in found.items() if count}


def places(name: str, config: WorldRecConfig, window: Window) -> int:
    """How many places the layer of a name is applied to."""
    for pattern, where in _RULES:
        match = re.match(pattern, name)
        if match is None:
            continue
        if where.startswith("level"):
            stride = 2 ** (int(match["level"]) + (2 if where == "level above" else 1))
            return window.pixels // stride**2
        if where.isdigit():
            twice = name == "depth.match_quarter" and config.method == "sparse" and config.motion
            return window.pixels // int(where) ** 2 * (2 if twice else 1)
        return {
            "planes": window.pixels // 16 * config.planes,
            "views": window.views,
            "queries": window.queries,
            "looks": window.queries * min(config.gather_views, window.views),
            "gaussians": window.gaussians,
            "swept": window.swept,
            "velocities": window.swept * _VELOCITIES,
            "nothing": 0,
        }[where]
    raise ValueError(f"places: no rule for the layer {name}")


def activations(config: WorldRecConfig, window: Window) -> dict[str, int]:
    """Bytes in use in each stage of a forward pass without gradients, pictures included; about, within a third.

    A stage holds what later ones need, and what its largest step takes in and makes.
    """
    P, G = window.pixels, config.match_groups
    half = config.widths[0]
    held = 5 * P + sum(P // 4 ** (k + 1) * width for k, width in enumerate(config.widths))
    after = held + P * (3 + config.planes // 16) + 6 * 3 * config.sky_size**2
    volume = len(FINE) * (G + 3) + half + 6
    stages = {
        "encoder": 5 * P + P * (6 + 5 * half // 4),
        "sweep": held + P // 16 * config.planes * (G + 3 + 12),
        "refine": held + P // 4 * (2 * volume + len(FINE) * (2 * G + 6) + 3 * half + 40),
    }
    if config.method == "pixel":
        return _bytes({**stages, "decoder": after + window.gaussians * (330 + 2 * half)})
    C, looks = config.channels, min(config.gather_views, window.views)
    told = window.queries * (8 * looks + 2 * C)
    at_once = min(window.queries, QUERIES_AT_ONCE)
    stages["aggregation"] = after + told + window.queries * 8 * C + at_once * looks * 130
    after += told
    if config.motion:
        stages["motion"] = after + min(window.swept, AT_ONCE) * _VELOCITIES * (6 * G + config.match_channels + 60)
    return _bytes({**stages, "decoder": after + window.gaussians * (320 + 2 * half)})


def _bytes(numbers: dict[str, int]) -> dict[str, int]:
    return {name: count * _FLOAT for name, count in numbers.items()}


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `worldrec-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    config = CONFIGS[size_of(name, "worldrec", CONFIGS)]
    model, window = skeleton(config), assumed(config)
    counts, steps, stages = parameters(model), operations(model, window), activations(config, window)
    total, peak = sum(counts.values()), max(stages.values())
    return {
        "config": name,
        **config.to_dict(),
        "parameters": {"total": total, **counts},
        "weights_mb": {"float32": _mb(4 * total), "float16": _mb(2 * total)},
        "window": f"{window.views} views of {window.width}x{window.height} px",
        "assumed": f"{QUERIES:.0%} of the {PATCH}x{PATCH} px patches become queries, {GAUSSIANS:g} Gaussians each; "
        f"{SWEPT:.0%} of them are tried for motion",
        "gflops": {"total": _giga(sum(steps.values())), **{part: _giga(count) for part, count in steps.items()}},
        "memory_mb": {"total": _mb(4 * total + peak), "weights": _mb(4 * total), "activations": _mb(peak)},
        "precision": "float32, without gradients",
    }


def _mb(count: int) -> float:
    return round(count / 2**20, 1)


def _giga(count: int) -> float:
    return round(count / 1e9, 2)
