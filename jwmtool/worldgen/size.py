"""How large WorldGen is, told without making its weights: parameters, operations and memory of a forward pass.

Operations are counted by running the network on tensors that have shapes and no memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.config import CONFIGS, WorldGenConfig
from jwmtool.worldgen.transformer import WorldGen

SINK, WINDOW = 3, 9  # latent frames that streaming remembers
_FLOAT = 4  # bytes

# Parts that are told, by names of modules; the first that fits.
_PARTS = (
    ("self_attention", r"blocks\.\d+\.attn1"),
    ("text_attention", r"blocks\.\d+\.attn2"),
    ("cross_view", r"blocks\.\d+\.cross_view"),
    ("ffn", r"blocks\.\d+\.ffn"),
    ("modulation", r"blocks\.\d+\.(norm2|scale_shift_table)|scale_shift_table"),
    ("conditions", r"condition_embedder\.\w+|condition_embedding|ego_embedder|tag_embedder|start"),
    ("patches", r"patch_embedding|proj_out"),
)


@dataclass(frozen=True)
class Clip:
    """What a forward pass is given: views, latent frames, and the height and width of each in latent cells."""

    views: int
    frames: int
    height: int
    width: int


CLIPS = {
    "mini": Clip(1, 16, 8, 14),  # 224x128 px
    "base": Clip(1, 16, 24, 44),  # 704x384 px
    "wan-1.3b": Clip(1, 21, 60, 104),  # 81 frames of 832x480 px
    "wan-5b": Clip(1, 31, 44, 80),  # 121 frames of 1280x704 px
}


def skeleton(config: WorldGenConfig) -> WorldGen:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return WorldGen(config)


def parameters(model: WorldGen) -> dict[str, int]:
    """Parameters of each part."""
    return _by_part({name: p.numel() for name, p in model.named_parameters()})


def operations(model: WorldGen, clip: Clip) -> dict[str, int]:
    """Floating-point operations of each part, all frames together: a product and a sum are two."""
    config, B, T = model.config, 1, clip.frames
    cells = (B, clip.views, T)
    with torch.device("meta"):
        conditions = Conditions(
            times_s=torch.empty(B, T),
            text=None if config.num_tags else torch.empty(B, config.text_len, config.text_dim),
            tags=torch.zeros(B, config.text_len, dtype=torch.int64) if config.num_tags else None,
            ego=torch.empty(B, T, config.ego_dim),
            concat=torch.empty(*cells, config.concat_channels, clip.height, clip.width),
        )
        latents, timesteps = torch.empty(*cells, config.in_channels, clip.height, clip.width), torch.empty(B, T)
    counter = FlopCounterMode(display=False, depth=99)
    with torch.no_grad(), counter:
        model(latents, timesteps, conditions)
    found = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    depth = {f"WorldGen.{name}": name for name, _ in model.named_modules() if _part(name, whole=True)}
    return _by_part({name: found.get(key, 0) for key, name in depth.items()})


def activations(config: WorldGenConfig, clip: Clip) -> int:
    """Bytes in use at the peak of a forward pass without gradients, latents and conditions included; about.

    A token's input and rotation, and what the larger step of a block holds: attention, or the feed-forward layer.
    """
    tokens = clip.views * clip.frames * (clip.height // config.patch) * (clip.width // config.patch)
    given = (config.in_channels + config.concat_channels) * config.patch**2 + config.head_dim
    return _FLOAT * tokens * (given + max(8 * config.dim, 3 * config.dim + 2 * config.ffn_dim))


def memory_of_a_frame(config: WorldGenConfig, clip: Clip) -> int:
    """Bytes of keys and values that streaming keeps of one latent frame."""
    tokens = clip.views * (clip.height // config.patch) * (clip.width // config.patch)
    return _FLOAT * 2 * config.layers * config.dim * tokens


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `worldgen-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    size = size_of(name, "worldgen", CONFIGS)
    config, clip = CONFIGS[size], CLIPS[size]
    model = skeleton(config)
    counts, steps = parameters(model), operations(model, clip)
    total, peak = sum(counts.values()), activations(config, clip)
    frame = memory_of_a_frame(config, clip)
    return {
        "config": name,
        **config.to_dict(),
        "parameters": {"total": total, **counts},
        "weights_mb": {"float32": _mb(4 * total), "float16": _mb(2 * total)},
        "window": f"{clip.frames} latent frames of {clip.width}x{clip.height} cells, {clip.views} view",
        "assumed": f"gflops are of one latent frame and one step, all {clip.frames} seeing each other; "
        f"text of {config.text_len} tokens",
        "gflops": {
            "total": _giga(sum(steps.values()) / clip.frames),
            **{part: _giga(count / clip.frames) for part, count in steps.items()},
        },
        "memory_mb": {"total": _mb(4 * total + peak), "weights": _mb(4 * total), "activations": _mb(peak)},
        "streaming_memory_mb": {"a_frame": _mb(frame), f"sink_{SINK}_window_{WINDOW}": _mb((SINK + WINDOW) * frame)},
        "precision": "float32, without gradients",
    }


def _by_part(numbers: dict[str, int]) -> dict[str, int]:
    sums = {part: sum(n for name, n in numbers.items() if _part(name) == part) for part, _ in _PARTS}
    return {part: count for part, count in sums.items() if count}


def _part(name: str, whole: bool = False) -> str | None:
    """The part that a name belongs to; with `whole`, only if it names all of a module."""
    match = re.fullmatch if whole else re.match
    return next((part for part, pattern in _PARTS if match(pattern, name)), None)


def _mb(count: int) -> float:
    return round(count / 2**20, 1)


def _giga(count: float) -> float:
    return round(count / 1e9, 2)
