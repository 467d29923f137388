"""Opening a trained autoencoder."""

from __future__ import annotations

from pathlib import Path

from jwmtool.artifacts.weights import load_weights, read_config, weights_file
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import AutoencoderConfig

KIND = "autoencoder"  # under the metadata key `task`


def load_autoencoder(path: Path, device: str = "cpu") -> Autoencoder:
    """The network of a weights file, a shipped model's folder or a training run's folder, ready to be used.

    Raises:
        InputError: there are no weights, they are damaged, or they are another network's.
    """
    model = Autoencoder(autoencoder_config(path))
    load_weights(model, weights_file(path))
    return model.to(device).eval()


def autoencoder_config(path: Path) -> AutoencoderConfig:
    """The shape that weights tell; `path` and errors as of `load_autoencoder`."""
    return AutoencoderConfig.from_dict(*read_config(path, "an autoencoder", [KIND]))
