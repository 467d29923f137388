"""Folders of Wan as diffusers writes them: names of weights, parity, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_worldgen import TINY, clip, tiny

from jwmtool.errors import InputError, UsageError
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.config import CONFIGS, WorldGenConfig
from jwmtool.worldgen.size import parameters, skeleton
from jwmtool.worldgen.wan_folder import CONFIG, INDEX, WEIGHTS, load_wan_folder, save_wan_folder

WAN = replace(TINY, concat_channels=0, ego_dim=0, num_tags=0, cross_view=False)
ADDED = {"concat_channels": 5, "ego_dim": 4, "cross_view": True}


def folder_of(path: Path, **changes: Any) -> Path:
    save_wan_folder(path, tiny(concat_channels=0, ego_dim=0, num_tags=0, cross_view=False, **changes))
    return path


def edit(path: Path, **changes: Any) -> None:
    told = json.loads((path / CONFIG).read_text())
    (path / CONFIG).write_text(json.dumps(told | changes))


def shard(path: Path) -> None:
    tensors = load_file(path / WEIGHTS)
    names = sorted(tensors)
    half, where = len(names) // 2, {}
    for k, part in enumerate((names[:half], names[half:]), start=1):
        file = f"diffusion_pytorch_model-0000{k}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, path / file)
        where |= dict.fromkeys(part, file)
    (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (path / WEIGHTS).unlink()


def expected_shapes(config: WorldGenConfig) -> dict[str, tuple[int, ...]]:
    """Written by hand after WanTransformer3DModel's state dict."""
    dim, inner, patch = config.dim, config.ffn_dim, config.patch

    def linear(name: str, into: int, out: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (dim, config.in_channels, 1, patch, patch),
        "patch_embedding.bias": (dim,),
        "scale_shift_table": (1, 2, dim),
        **linear("proj_out", dim, config.out_channels * patch**2),
        **linear("condition_embedder.time_embedder.linear_1", config.freq_dim, dim),
        **linear("condition_embedder.time_embedder.linear_2", dim, dim),
        **linear("condition_embedder.time_proj", dim, 6 * dim),
        **linear("condition_embedder.text_embedder.linear_1", config.text_dim, dim),
        **linear("condition_embedder.text_embedder.linear_2", dim, dim),
    }
    for k in range(config.layers):
        block = f"blocks.{k}"
        shapes |= {f"{block}.scale_shift_table": (1, 6, dim)}
        shapes |= {f"{block}.norm2.weight": (dim,), f"{block}.norm2.bias": (dim,)}
        shapes |= linear(f"{block}.ffn.net.0.proj", dim, inner) | linear(f"{block}.ffn.net.2", inner, dim)
        for attention in ("attn1", "attn2"):
            for layer in ("to_q", "to_k", "to_v", "to_out.0"):
                shapes |= linear(f"{block}.{attention}.{layer}", dim, dim)
            shapes |= {f"{block}.{attention}.norm_{x}.weight": (dim,) for x in "qk"}
    return shapes


@pytest.mark.parametrize("config", [WAN, CONFIGS["wan-1.3b"], CONFIGS["wan-5b"]], ids=["tiny", "1.3b", "5b"])
def test_weights_have_the_names_of_diffusers(config: WorldGenConfig) -> None:
    found = {name: tuple(value.shape) for name, value in skeleton(config).state_dict().items()}
    assert found == expected_shapes(config)


def test_full_sizes_have_as_many_parameters_as_wan() -> None:
    for name, billions in (("wan-1.3b", 1.42), ("wan-5b", 5.00)):
        assert sum(parameters(skeleton(CONFIGS[name])).values()) / 1e9 == pytest.approx(billions, abs=0.005)


@pytest.mark.parametrize("patch", [1, 2])
def test_equals_diffusers(tmp_path: Path, patch: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    wan = diffusers.WanTransformer3DModel(
        patch_size=(1, patch, patch), num_attention_heads=3, attention_head_dim=20, in_channels=3, out_channels=4,
        text_dim=7, freq_dim=16, ffn_dim=50, num_layers=3,
    ).eval()  # fmt: skip
    for parameter in wan.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    wan.save_pretrained(tmp_path / "one")
    wan.save_pretrained(tmp_path / "shards", max_shard_size="200KB")
    assert (tmp_path / "shards" / INDEX).exists()
    latents, text, t = torch.randn(2, 1, 5, 3, 6, 8), torch.randn(2, 4, 7), torch.tensor([0.25, 0.9])
    with torch.no_grad():
        expected = wan(latents[:, 0].transpose(1, 2), 1000.0 * t, text).sample.transpose(1, 2)[:, None]
        assert expected.std() > 0.1
        for folder, added in (("one", {}), ("shards", {}), ("one", ADDED)):
            model = load_wan_folder(tmp_path / folder, latent_rate_hz=6.0, **added)
            ego = torch.randn(2, 5, 4) if added else None
            concat = torch.randn(2, 1, 5, 5, 6, 8) if added else None
            times_s = torch.arange(5).expand(2, 5) / 6.0
            found = model(latents, t[:, None].expand(2, 5), Conditions(times_s, text, ego=ego, concat=concat))
            print(f"largest difference from diffusers: {(found - expected).abs().max():.2g}")
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_diffusers_reads_what_is_written(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    model = load_wan_folder(folder_of(tmp_path / "wan"))
    # As from_pretrained does, which asks for accelerate.
    wan = diffusers.WanTransformer3DModel.from_config(diffusers.WanTransformer3DModel.load_config(tmp_path / "wan"))
    wan.load_state_dict(load_file(tmp_path / "wan" / WEIGHTS))
    latents, timesteps, conditions = clip(model.config, V=1)
    conditions = Conditions(torch.arange(6).expand(2, 6) / 4.0, conditions.text)
    with torch.no_grad():
        # One timestep for each token, as Wan2.2-TI2V-5B is asked.
        by_token = 1000.0 * timesteps.repeat_interleave(6, dim=1)
        expected = wan(latents[:, 0].transpose(1, 2), by_token, conditions.text).sample.transpose(1, 2)[:, None]
        torch.testing.assert_close(model(latents, timesteps, conditions), expected, atol=1e-5, rtol=1e-5)


def test_folders_round_trip_also_in_shards(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wan")
    one = load_wan_folder(folder, text_len=6, latent_rate_hz=5.0)
    assert one.config == WAN
    shard(folder)
    several = load_wan_folder(folder)
    for (name, a), b in zip(one.state_dict().items(), several.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert next(load_wan_folder(folder, dtype=torch.bfloat16).parameters()).dtype == torch.bfloat16


@torch.no_grad()
def test_what_is_added_adds_nothing_yet(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wan")
    plain, more = load_wan_folder(folder), load_wan_folder(folder, **ADDED)
    latents, timesteps, conditions = clip(more.config)
    alone = [
        plain(latents[:, v : v + 1], timesteps, replace(conditions, ego=None, concat=None, text_mask=None))
        for v in range(2)
    ]
    found = more(latents, timesteps, replace(conditions, text_mask=None))
    torch.testing.assert_close(found, torch.cat(alone, dim=1), atol=1e-5, rtol=0.0)
    assert not any(parameter.is_meta for parameter in more.parameters())


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wan")
    tensors = load_file(folder / WEIGHTS)
    wrong = dict(tensors)
    del wrong["blocks.1.attn1.norm_q.weight"]
    wrong["blocks.0.attn2.add_k_proj.weight"] = torch.zeros(1)
    wrong["proj_out.bias"] = torch.zeros(3)
    save_file(wrong, folder / WEIGHTS)
    with pytest.raises(InputError) as error:
        load_wan_folder(folder)
    message = str(error.value)
    assert "missing keys: blocks.1.attn1.norm_q.weight; extra keys: blocks.0.attn2.add_k_proj.weight" in message
    assert "other shapes: proj_out.bias [3] instead of [16]" in message and "\n" not in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_dim": 1280}, "image_dim = None, found the unsupported 1280"),
        ({"added_kv_proj_dim": 24}, "added_kv_proj_dim = None, found the unsupported 24"),
        ({"cross_attn_norm": False}, "cross_attn_norm = True, found the unsupported False"),
        ({"qk_norm": None}, "qk_norm = 'rms_norm_across_heads', found the unsupported None"),
        ({"vace_layers": [0]}, r"the unsupported key vace_layers = \[0\]"),
        ({"patch_size": [2, 2, 2]}, r"the unsupported \[2, 2, 2\]"),
        ({"_class_name": "FluxTransformer2DModel"}, "expected a WanTransformer3DModel, found a FluxTransformer2DModel"),
        ({"num_layers": "2"}, "layers as int, found '2'"),
        ({"num_layers": 0}, "expected layers 1 or more, found 0"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = folder_of(tmp_path / "wan")
    edit(folder, **changes)
    with pytest.raises(InputError, match=message):
        load_wan_folder(folder)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wan")
    told = json.loads((folder / CONFIG).read_text())
    del told["ffn_dim"]
    (folder / CONFIG).write_text(json.dumps(told))
    with pytest.raises(InputError, match="the key ffn_dim"):
        load_wan_folder(folder)
    with pytest.raises(InputError, match=r"config\.json"):
        load_wan_folder(tmp_path / "nowhere")
    folder = folder_of(tmp_path / "other")
    shard(folder)
    next(folder.glob("*-00002-of-*")).unlink()
    with pytest.raises(InputError, match="00002-of-00002"):
        load_wan_folder(folder)
    (folder / INDEX).write_text("{}")
    with pytest.raises(InputError, match="a weight_map"):
        load_wan_folder(folder)


def test_what_wan_cannot_hold_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no condition_embedding"):
        save_wan_folder(tmp_path / "wan", tiny())
    with pytest.raises(UsageError, match="qk_norm or rope_theta"):
        save_wan_folder(
            tmp_path / "wan", tiny(concat_channels=0, ego_dim=0, num_tags=0, cross_view=False, rope_theta=100.0)
        )
    with pytest.raises(UsageError, match="patch stands in"):
        load_wan_folder(folder_of(tmp_path / "wan"), patch=1)
