"""The transformer and the autoencoder that make a video together: found, held against each other, opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jwmtool
from jwmtool import console
from jwmtool.artifacts.weights import read_config, read_metadata, weights_sha256
from jwmtool.errors import InputError
from jwmtool.worldgen import ego_motion, tags
from jwmtool.worldgen.autoencoder_checkpoint import autoencoder_config, load_autoencoder
from jwmtool.worldgen.autoencoder_config import MULTIPLE
from jwmtool.worldgen.checkpoint import KIND, load_model
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.known import channel_counts
from jwmtool.worldgen.latents import VideoAutoencoder
from jwmtool.worldgen.transformer import WorldGen

SHIPPED = Path(jwmtool.__file__).parent / "models"
MODEL, AUTOENCODER = "worldgen-mini", "autoencoder-mini"
REPAIR, FIRST_FRAME = "repair-mini", "first-frame-mini"
WITHOUT = "none"  # of these two


@dataclass(frozen=True)
class Models:
    """Both, on one device."""

    transformer: WorldGen
    autoencoder: VideoAutoencoder
    device: str


def find_checkpoint(given: str | None, shipped: str, flag: str) -> Path:
    """What a user means: a path, the name of a shipped one, or none: `shipped`.

    Raises:
        InputError: it is not there; the message says what to give.
    """
    if given is not None and Path(given).exists():
        return Path(given)
    name = shipped if given is None else given
    if (SHIPPED / name).is_dir():
        return SHIPPED / name
    expected = f"a checkpoint ({flag} PATH: a .safetensors file, or the folder of a training run or a shipped model)"
    raise InputError(given or f"models/{name}", expected, "no such file or folder")


def check_fit(model: Path, autoencoder: Path) -> WorldGenConfig:
    """See, before any weights are read, that one makes what the other opens; returns what the model is.

    Says so where the transformer was trained on another autoencoder's latents.

    Raises:
        InputError: either is another network's, or their sizes do not fit.
    """
    values, file = read_config(model, "WorldGen", [KIND])
    config, other = WorldGenConfig.from_dict(values, file), autoencoder_config(autoencoder)
    counts = channel_counts(other.channels, other.stride)
    sizes = {
        "in_channels": (config.in_channels, other.channels),
        "out_channels": (config.out_channels, other.channels),
        "patch": (config.patch, MULTIPLE // other.stride),
        "concat_channels": (config.concat_channels, sum(counts.values())),
        "ego_dim": (config.ego_dim, ego_motion.NUMBERS),
        "num_tags": (config.num_tags, tags.NUM_TAGS),
    }
    for name, (found, expected) in sizes.items():
        if found != expected:
            latents = f"{other.channels} channels at stride {other.stride}"
            raise InputError(file, f"{name} {expected}, to go with {autoencoder} ({latents})", str(found))
    trained_on = read_metadata(file).get("autoencoder_sha256")
    if isinstance(trained_on, str) and trained_on != weights_sha256(autoencoder):
        console.notice(f"{model} was trained on latents of another autoencoder than {autoencoder}")
    return config


def open_models(model: Path, autoencoder: Path, device: str) -> Models:
    """Both, ready to be used; see `check_fit` for what must hold.

    Raises:
        InputError: damaged weights.
    """
    return Models(load_model(model, device), load_autoencoder(autoencoder, device), device)
