"""Opening a trained WorldRec."""

from __future__ import annotations

from pathlib import Path

import jwmtool
from jwmtool.artifacts.weights import load_weights, read_config
from jwmtool.errors import InputError
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.model import WorldRec, build_model

SHIPPED = Path(jwmtool.__file__).parent / "models"
DEFAULTS = {"worldrec": "worldrec-mini", "pixel": "worldrec-pixel"}  # by --method


def find_model(given: str | None, method: str) -> Path:
    """The checkpoint that a user means: a path, the name of a shipped one, or none: the method's own.

    Raises:
        InputError: it is not there; the message says what to give.
    """
    if given is not None and Path(given).exists():
        return Path(given)
    name = DEFAULTS[method] if given is None else given
    if (SHIPPED / name).is_dir():
        return SHIPPED / name
    expected = "a checkpoint (--model PATH: a .safetensors file, or the folder of a training run or a shipped model)"
    raise InputError(given or f"models/{name}", expected, "no such file or folder")


def load_model(path: Path, device: str = "cpu") -> WorldRec:
    """The network of a weights file, a shipped model's folder or a training run's folder, ready to be used.

    Raises:
        InputError: there are no weights, they are damaged, or they are another network's.
    """
    config, file = read_config(path, "WorldRec", ["worldrec", None])
    model = build_model(WorldRecConfig.from_dict(config, file))
    load_weights(model, file)
    return model.to(device).eval()
