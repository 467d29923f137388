"""Wan 2.1 and 2.2 in the folders of diffusers: `config.json` and safetensors, in one file or in shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from jwmtool.artifacts.atomic import atomic_folder
from jwmtool.artifacts.json_file import read_json
from jwmtool.artifacts.weights import mismatch, read_weights
from jwmtool.errors import InputError, UsageError
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.transformer import WorldGen, add_nothing

CLASS_NAME = "WanTransformer3DModel"
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"

_OURS = {  # by the name in diffusers' config
    "num_layers": "layers",
    "num_attention_heads": "heads",
    "attention_head_dim": "head_dim",
    "ffn_dim": "ffn_dim",
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "text_dim": "text_dim",
    "freq_dim": "freq_dim",
    "eps": "eps",
}
# What may stand there and is computed here in one way only. rope_max_seq_len is a limit of diffusers' tables.
_FIXED: dict[str, Any] = {
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "image_dim": None,
    "added_kv_proj_dim": None,
    "pos_embed_seq_len": None,
}
_IGNORED = ("rope_max_seq_len",)
_WAN_FIELDS = {*_OURS.values(), "patch", "qk_norm", "rope_theta"}


def load_wan_folder(
    folder: Path,
    latent_rate_hz: float = 4.0,  # Wan 2.1; 6 of Wan2.2-TI2V-5B
    text_len: int = 512,
    dtype: torch.dtype = torch.float32,
    **added: int | bool,  # fields of WorldGenConfig that Wan does not have: concat_channels, ego_dim, cross_view ...
) -> WorldGen:
    """The network of a folder, on the CPU; what is added to it adds nothing until it is trained.

    Raises:
        InputError: the folder lacks a file, tells of another network or of one that computes otherwise, or its weights
            have missing, extra or other shapes; the message names them.
        UsageError: `added` names what Wan decides.
    """
    if _WAN_FIELDS & added.keys():
        raise UsageError(f"Wan: {min(_WAN_FIELDS & added.keys())} stands in the folder's {CONFIG} and cannot be chosen")
    config = _config(folder / CONFIG, {**added, "latent_rate_hz": latent_rate_hz, "text_len": text_len})
    with torch.device("meta"):
        model = WorldGen(config)
    for _, module in model.added():
        module.to_empty(device="cpu")
    add_nothing(model)
    tensors = _tensors(folder)
    problem = mismatch(
        {name: value.shape for name, value in _shared(model).items()},
        {name: value.shape for name, value in tensors.items()},
    )
    if problem:
        raise InputError(folder, f"weights of a {CLASS_NAME} as its {CONFIG} tells", problem)
    model.load_state_dict(tensors, strict=False, assign=True)
    return model.to(dtype).eval()


def save_wan_folder(folder: Path, model: WorldGen, force: bool = False) -> None:
    """Write a network as diffusers reads it.

    Raises:
        UsageError: it has parts that Wan lacks, or computes otherwise.
        OutputExistsError: `folder` exists, unless `force`.
    """
    config = model.config
    parts = [name for name, _ in model.added()]
    if parts:
        raise UsageError(f"{CLASS_NAME} has no {parts[0]}: this network can be saved as a checkpoint only")
    if config.qk_norm != _FIXED["qk_norm"] or config.rope_theta != WorldGenConfig.rope_theta:
        raise UsageError(f"{CLASS_NAME} has no other qk_norm or rope_theta than its own")
    told: dict[str, Any] = {"_class_name": CLASS_NAME, "patch_size": [1, config.patch, config.patch], **_FIXED}
    told |= {theirs: getattr(config, ours) for theirs, ours in _OURS.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_folder(folder, force) as temporary:
        (temporary / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})


def _config(path: Path, ours: Mapping[str, Any]) -> WorldGenConfig:
    told = read_json(path)
    name = told.get("_class_name", CLASS_NAME)
    if name != CLASS_NAME:
        raise InputError(path, f"a {CLASS_NAME}", f"a {name}")
    for key, value in told.items():
        if key.startswith("_") or key in _OURS or key in _IGNORED or key == "patch_size":
            continue
        if key not in _FIXED:
            raise InputError(path, "a Wan of known computation", f"the unsupported key {key} = {value!r}")
        if value != _FIXED[key]:
            raise InputError(path, f"{key} = {_FIXED[key]!r}", f"the unsupported {value!r}")
    for key in ("patch_size", *_OURS):
        if key not in told:
            raise InputError(path, f"the key {key}", "none")
    patch = told["patch_size"]
    if patch not in ([1, 1, 1], [1, 2, 2]):
        raise InputError(path, "patch_size [1, 1, 1] or [1, 2, 2]", f"the unsupported {patch!r}")
    values = {name: told[key] for key, name in _OURS.items()}
    try:
        return WorldGenConfig.from_dict({**values, **ours, "patch": patch[1]}, path)
    except UsageError as error:
        raise InputError(path, "numbers of a Wan", str(error)) from None


def _tensors(folder: Path) -> dict[str, Tensor]:
    if not (folder / INDEX).exists():
        return read_weights(folder / WEIGHTS)[0]
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict):
        raise InputError(folder / INDEX, "a weight_map", "none")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(names.values())):
        tensors |= read_weights(folder / str(shard))[0]
    return tensors


def _shared(model: WorldGen) -> dict[str, Tensor]:
    """Weights that Wan has as well."""
    added = tuple(f"{name}." for name, _ in model.added())
    return {name: value for name, value in model.state_dict().items() if not name.startswith(added)}
