"""WorldGen's network: what its inputs do, what a new one computes, its size and its checkpoints."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from test_worldrec_size import Memory as MemoryUse
from tiny_worldgen import TINY, clip, tiny
from torch.utils.flop_counter import FlopCounterMode

from jwmtool.artifacts.weights import write_weights
from jwmtool.cli.main import run as run_command
from jwmtool.errors import InputError, UsageError
from jwmtool.worldgen.checkpoint import load_model, save_model
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.config import CONFIGS, WorldGenConfig
from jwmtool.worldgen.size import CLIPS, Clip, activations, describe_config, operations, parameters, skeleton
from jwmtool.worldgen.transformer import build_model


def test_velocity_is_like_the_latents_and_a_new_network_says_nothing() -> None:
    torch.manual_seed(0)
    model = build_model(replace(TINY, out_channels=3))
    latents, timesteps, conditions = clip(model.config)
    assert torch.equal(model(latents, timesteps, conditions), torch.zeros_like(latents))
    model = tiny()
    assert model(latents, timesteps, conditions).shape == (2, 2, 6, 4, 4, 6)


@torch.no_grad()
def test_what_was_added_to_wan_starts_at_nothing() -> None:
    torch.manual_seed(0)
    model = build_model(TINY)
    torch.nn.init.normal_(model.proj_out.weight)
    latents, timesteps, conditions = clip(TINY)
    bare = replace(conditions, ego=None, concat=None)
    alone = torch.cat([model(latents[:, v : v + 1], timesteps, bare) for v in range(2)], dim=1)
    torch.testing.assert_close(model(latents, timesteps, conditions), alone, atol=1e-5, rtol=0.0)


def test_everything_learns_from_a_first_step() -> None:
    """Zeros at the start of a branch must not keep it from learning; behind a zero, what feeds it learns next."""
    torch.manual_seed(0)
    model = build_model(TINY)
    for _ in range(4):
        model.zero_grad()
        latents, timesteps, conditions = clip(TINY)
        (model(latents, timesteps, conditions) - 1.0).square().mean().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    # A softmax over keys does not see what all keys share.
    still = [n for n, p in model.named_parameters() if not p.grad.abs().max() > 0 and not n.endswith("to_k.bias")]
    assert still == []


@pytest.mark.parametrize("name", [f.name for f in fields(Conditions)])
@torch.no_grad()
def test_every_condition_is_heard(name: str) -> None:
    model = tiny()
    latents, timesteps, conditions = clip(model.config)
    value = getattr(conditions, name)
    if name == "times_s":
        other = value * 1.5
    else:
        other = ~value if name == "text_mask" else value + 1
    changed = model(latents, timesteps, replace(conditions, **{name: other}))
    assert not torch.allclose(changed, model(latents, timesteps, conditions), atol=1e-3)


@torch.no_grad()
def test_zeros_say_as_little_as_none() -> None:
    model = tiny()
    latents, timesteps, conditions = clip(model.config)
    zeros = replace(conditions, ego=0 * conditions.ego, concat=0 * conditions.concat)
    none = replace(conditions, ego=None, concat=None)
    assert torch.equal(model(latents, timesteps, zeros), model(latents, timesteps, none))


@torch.no_grad()
def test_padding_of_text_is_not_read_and_no_text_is_possible() -> None:
    model = tiny()
    latents, timesteps, conditions = clip(model.config)
    before = model(latents, timesteps, conditions)
    conditions.text[1, 3:] = 100.0  # beyond the mask
    assert torch.equal(model(latents, timesteps, conditions), before)
    assert conditions.text_mask is not None
    conditions.text_mask[1] = False
    silent = model(latents, timesteps, conditions)
    assert silent.isfinite().all() and torch.equal(silent[0], before[0]) and not torch.equal(silent[1], before[1])
    conditions.text[1] = -7.0
    assert torch.equal(model(latents, timesteps, conditions), silent)


@torch.no_grad()
def test_a_timestep_and_an_ego_motion_belong_to_their_frame() -> None:
    """With attention silenced, what changes at a frame changes it alone."""
    model = tiny(layers=1)
    for parameter in model.blocks[0].attn1.to_out.parameters():
        parameter.zero_()
    latents, timesteps, conditions = clip(model.config)
    before = model(latents, timesteps, conditions)
    timesteps[:, 2] += 0.3
    conditions.ego[:, 4] += 1.0
    changed = (model(latents, timesteps, conditions) != before).flatten(3).any(3).any(1).any(0)
    assert changed.tolist() == [False, False, True, False, True, False]


@torch.no_grad()
def test_cameras_look_at_each_other_in_one_frame_only() -> None:
    model = tiny()
    for block in model.blocks:
        for parameter in block.attn1.to_out.parameters():
            parameter.zero_()
    latents, timesteps, conditions = clip(model.config, V=3)
    before = model(latents, timesteps, conditions)
    latents[:, 0, 2] += 1.0
    changed = (model(latents, timesteps, conditions) != before).flatten(3).any(3).any(0)
    assert changed.all(0).tolist() == [False, False, True, False, False, False]
    assert not changed[:, [0, 1, 3, 4, 5]].any()


@torch.no_grad()
def test_cameras_may_come_in_any_order() -> None:
    model = tiny()
    latents, timesteps, conditions = clip(model.config, V=3)
    order = [2, 0, 1]
    turned = replace(conditions, concat=conditions.concat[:, order])
    expected = model(latents, timesteps, conditions)[:, order]
    torch.testing.assert_close(model(latents[:, order], timesteps, turned), expected, atol=1e-5, rtol=0.0)


def test_bfloat16_is_near() -> None:
    model = tiny()
    given = clip(model.config)
    with torch.no_grad():
        exact = model(*given)
        rough = model.to(torch.bfloat16)(*given)
    assert rough.dtype == torch.bfloat16
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("times_s", (2, 5), r"times_s: expected \[2, 6\], found \[2, 5\]"),
        ("text", (2, 5, 8), r"text: expected \[2, 5, 7\]"),
        ("text_mask", (2, 4), r"text_mask: expected \[2, 5\]"),
        ("ego", (2, 6, 1), r"ego: expected \[2, 6, 4\]"),
        ("concat", (2, 2, 6, 5, 4, 4), r"concat: expected \[2, 2, 6, 5, 4, 6\]"),
    ],
)
def test_shapes_are_checked(name: str, shape: tuple[int, ...], message: str) -> None:
    latents, timesteps, conditions = clip(TINY)
    with pytest.raises(ValueError, match=message):
        tiny()(latents, timesteps, replace(conditions, **{name: torch.zeros(shape)}))
    with pytest.raises(ValueError, match="latents: expected"):
        tiny()(latents[0], timesteps, conditions)
    with pytest.raises(ValueError, match="that 2 divides, found 3 x 6"):
        tiny()(latents[..., :3, :], timesteps, conditions)


def test_config_round_trips_and_refuses() -> None:
    for config in CONFIGS.values():
        assert WorldGenConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(InputError, match="'wings'"):
        WorldGenConfig.from_dict({"wings": 2}, "a.json")
    with pytest.raises(InputError, match="layers as int, found '8'"):
        WorldGenConfig.from_dict({"layers": "8"}, "a.json")
    for changes in ({"patch": 3}, {"head_dim": 7}, {"layers": 0}, {"qk_norm": "some"}, {"cross_view_every": 9}):
        with pytest.raises(UsageError, match=next(iter(changes))):
            WorldGenConfig(**changes)


def test_checkpoint_round_trips_and_is_told_apart(tmp_path: Path) -> None:
    model = tiny()
    path = tmp_path / "model.safetensors"
    save_model(path, model, {"step": 3})
    loaded = load_model(tmp_path)
    assert loaded.config == model.config and not loaded.training
    given = clip(model.config)
    with torch.no_grad():
        assert torch.equal(loaded(*given), model(*given))
    other = tmp_path / "other.safetensors"
    write_weights(other, model.state_dict(), {"task": "autoencoder", "config": {}})
    with pytest.raises(InputError, match=r"expected weights of WorldGen .* found weights of autoencoder"):
        load_model(other)
    write_weights(other, {"a": torch.zeros(1)}, {"task": "worldgen", "config": TINY.to_dict()}, force=True)
    with pytest.raises(InputError, match="missing keys: blocks"):
        load_model(other)


@pytest.mark.parametrize("views", [1, 2])
def test_operations_are_those_that_are_done(views: int) -> None:
    """Counted on shapes as on numbers; and the attention, which a fused kernel may hide, by hand."""
    model = tiny()
    window = Clip(views, 6, 4, 6)
    told = operations(skeleton(model.config), window)
    latents, timesteps, conditions = clip(model.config, B=1, V=views)
    tags = torch.zeros(1, model.config.text_len, dtype=torch.int64)
    conditions = replace(conditions, text=None, text_mask=None, tags=tags)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(latents, timesteps, conditions)
    counts = {str(key): n for key, n in counter.get_flop_counts()["Global"].items()}
    projected = counts["aten.addmm"] + counts.get("aten.mm", 0) + counts["aten.convolution"]
    tokens, dim = views * 6 * 6, model.config.dim
    pairs = tokens * (36 + model.config.text_len + (6 * views if views > 1 else 0))
    assert sum(told.values()) == projected + 2 * 4 * dim * pairs  # two layers; a product and a sum, twice
    assert ("cross_view" in told) == (views > 1)


@pytest.mark.parametrize("ffn_dim", [64, 704, 1536])
def test_memory_is_told_about_right(ffn_dim: int) -> None:
    config = replace(CONFIGS["mini"], layers=2, ffn_dim=ffn_dim, cross_view_every=2)
    model, window = build_model(config), Clip(1, 8, 14, 24)
    given = clip(config, B=1, V=1, T=8, size=(14, 24))
    use = MemoryUse()
    use.alive = {p.untyped_storage()._cdata: 0 for p in model.parameters()}  # activations alone
    with torch.no_grad(), use:
        model(*given)
    assert activations(config, window) == pytest.approx(use.peak, rel=0.1)


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_counted_without_making_them(name: str) -> None:
    model = skeleton(CONFIGS[name])
    assert all(parameter.is_meta for parameter in model.parameters())
    told = describe_config(f"worldgen-{name}")
    assert told["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert sum(parameters(model).values()) == told["parameters"]["total"]
    assert told["gflops"]["total"] > 1.0 and told["memory_mb"]["total"] > told["memory_mb"]["weights"]
    assert CLIPS[name].height % CONFIGS[name].patch == 0
    json.dumps(told)


def test_info_tells_of_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["info", "--config", "worldgen-wan-1.3b"]) == 0
    assert "21 latent frames of 104x60 cells" in capsys.readouterr().out
    assert run_command(["info", "--config", "worldgen-mini", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe_config("worldgen-mini")
    assert run_command(["info", "--config", "worldgen-huge"]) == 2
    assert "autoencoder-base, worldgen-mini" in capsys.readouterr().err
    with pytest.raises(UsageError, match="worldgen-mini"):
        describe_config("huge")
