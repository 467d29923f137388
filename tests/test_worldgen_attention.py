"""Attention of WorldGen: masks, what they come to in a pass, and that streaming computes what a whole pass does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_worldgen import TINY, clip, frames, tiny
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from jwmtool.errors import UsageError
from jwmtool.worldgen.attention import SelfAttention
from jwmtool.worldgen.cache import KVCache, Memory
from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.layout import make_layout
from jwmtool.worldgen.mask import Causal, block_causal, teacher_forcing
from jwmtool.worldgen.rope import head_split, rotate, rotation
from jwmtool.worldgen.transformer import WorldGen

PATTERNS = [
    Causal(1), Causal(2), Causal(3), Causal(3, window=6), Causal(2, window=4, sink=1), Causal(2, window=3, sink=3),
    Causal(3, window=3, sink=3), Causal(1, window=1, sink=2), Causal(4, window=8, sink=1), Causal(2, window=2),
]  # fmt: skip


def streamed(model: WorldGen, causal: Causal, latents: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
    """Chunk by chunk; each is first denoised (here: looked at) without being remembered, as a sampler does."""
    memory, made = model.new_memory(causal), []
    for start in range(0, latents.shape[2], causal.chunk):
        now = slice(start, start + causal.chunk)
        given = (latents[:, :, now], timesteps[:, now], frames(conditions, now), memory)
        looked = model(*given)
        made.append(model(*given, remember=True))
        assert torch.equal(looked, made[-1])
    return torch.cat(made, dim=2)


def test_block_causal_mask_by_hand() -> None:
    seen = block_causal(range(7), range(7), Causal(2, window=4, sink=1)).int().tolist()
    assert seen == [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 0, 1, 1, 1, 1, 0],
        [1, 0, 1, 1, 1, 1, 0],
        [1, 0, 0, 0, 1, 1, 1],
    ]


def test_teacher_forcing_mask_by_hand() -> None:
    seen = teacher_forcing(4, Causal(2)).int().tolist()
    assert seen == [
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [1, 1, 0, 0, 0, 0, 1, 1],
        [1, 1, 0, 0, 0, 0, 1, 1],
    ]


@given(
    num_frames=st.integers(1, 12),
    chunk=st.integers(1, 4),
    more=st.none() | st.integers(0, 5),
    sink=st.integers(0, 4),
    forced=st.booleans(),
)
def test_groups_are_the_mask(num_frames: int, chunk: int, more: int | None, sink: int, forced: bool) -> None:
    causal = Causal(chunk, None if more is None else chunk + more, sink, teacher_forced=forced)
    mask = teacher_forcing(num_frames, causal) if forced else block_causal(range(num_frames), range(num_frames), causal)
    times = torch.arange(float(num_frames)).repeat(2 if forced else 1)[None]
    layout = make_layout(causal, times, partial(rotation, height=1, width=1, head_dim=6, theta=100.0))
    found = torch.zeros_like(mask)
    for group in layout.groups:
        for run in group.keys:
            assert not found[group.queries, run].any()
            found[group.queries, run] = True
    assert torch.equal(found, mask)


@pytest.mark.parametrize("forced", [False, True])
def test_attention_by_groups_equals_one_masked_attention(forced: bool) -> None:
    torch.manual_seed(0)
    attention, T, P = SelfAttention(TINY), 6, 4
    causal = Causal(2, window=4, teacher_forced=forced)
    mask = teacher_forcing(3, causal) if forced else block_causal(range(T), range(T), causal)
    x, times = torch.randn(2, 1, T, P, TINY.dim), torch.rand(2, T).cumsum(1)
    turn = partial(rotation, height=2, width=2, head_dim=TINY.head_dim, theta=100.0)
    turned = turn(times)
    q, k = rotate(attention.queries(x), turned), rotate(attention.keys(x), turned)
    q, k, v = (y[:, 0].flatten(1, 2).transpose(1, 2) for y in (q, k, attention.values(x)))
    by_tokens = mask.repeat_interleave(P, 0).repeat_interleave(P, 1)
    expected = scaled_dot_product_attention(q, k, v, attn_mask=by_tokens).transpose(1, 2).flatten(2)
    found = attention(x, make_layout(causal, times, turn))
    torch.testing.assert_close(found, attention.to_out(expected).reshape(found.shape), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("causal", PATTERNS, ids=str)
@torch.no_grad()
def test_streaming_equals_one_pass(causal: Causal) -> None:
    model = tiny()
    given = clip(model.config, T=11)
    whole = model(*given, causal)
    torch.testing.assert_close(streamed(model, causal, *given), whole, atol=1e-5, rtol=0.0)
    assert not torch.allclose(whole, model(*given), atol=1e-2)  # the pattern matters


@pytest.mark.parametrize("causal", PATTERNS, ids=str)
@torch.no_grad()
def test_the_future_changes_nothing(causal: Causal) -> None:
    model, changed = tiny(), 6
    latents, timesteps, conditions = clip(model.config, T=9)
    first = changed // causal.chunk * causal.chunk  # of the chunk that holds the frame
    before = model(latents, timesteps, conditions, causal)
    latents[:, :, changed] += 1.0
    after = model(latents, timesteps, conditions, causal)
    assert torch.equal(before[:, :, :first], after[:, :, :first])
    assert (before[:, :, first:changed] != after[:, :, first:changed]).any() or first == changed
    assert not torch.allclose(before[:, :, changed:], after[:, :, changed:], atol=1e-3)


@pytest.mark.parametrize("causal", PATTERNS, ids=str)
@torch.no_grad()
def test_teacher_forcing_equals_streaming_after_clean_frames(causal: Causal) -> None:
    """A noisy chunk, all chunks at once, computes what it would with only clean ones remembered before it."""
    model, T = tiny(), 8
    noisy, timesteps, conditions = clip(model.config, T=T)
    clean = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(9))
    zeros = torch.zeros_like(timesteps)
    twice = replace(
        conditions,
        times_s=conditions.times_s.repeat(1, 2),
        ego=conditions.ego.repeat(1, 2, 1),
        concat=conditions.concat.repeat(1, 1, 2, 1, 1, 1),
    )
    forced = model(
        torch.cat((clean, noisy), 2), torch.cat((zeros, timesteps), 1), twice, replace(causal, teacher_forced=True)
    )
    memory = model.new_memory(causal)
    for start in range(0, T, causal.chunk):
        now = slice(start, min(start + causal.chunk, T))
        looked = model(noisy[:, :, now], timesteps[:, now], frames(conditions, now), memory)
        torch.testing.assert_close(forced[:, :, T:][:, :, now], looked, atol=1e-5, rtol=0.0)
        model(clean[:, :, now], zeros[:, now], frames(conditions, now), memory, remember=True)


@torch.no_grad()
def test_memory_is_constant_and_holds_sink_and_window() -> None:
    model, causal, sizes = tiny(), Causal(2, window=6, sink=3), []
    memory = model.new_memory(causal)
    for k in range(12):
        latents, timesteps, conditions = clip(model.config, B=1, V=1, T=2, seed=k)
        conditions = replace(conditions, times_s=conditions.times_s + 0.4 * k)
        model(latents, timesteps, conditions, memory, remember=True)
        sizes.append([layer.keys.shape[2] for layer in memory.layers if layer.keys is not None])
    assert sizes[0] == [2, 2] and sizes[1] == [4, 4]
    assert sizes[4:] == [[7, 7]] * 8
    assert memory.numbers == [0, 1, 2, 20, 21, 22, 23] and memory.seen == 24
    assert memory.times is not None and memory.times.shape == (1, 7)


@torch.no_grad()
def test_only_distances_in_time_matter_and_the_sink_stands_before_the_window() -> None:
    model, causal = tiny(), Causal(1, window=3, sink=2)
    latents, timesteps, conditions = clip(model.config, T=8)
    before = model(latents, timesteps, conditions, causal)
    later = replace(conditions, times_s=conditions.times_s + 3600.0)
    torch.testing.assert_close(model(latents, timesteps, later, causal), before, atol=1e-4, rtol=0.0)
    # The last chunk sees 0, 1 and 5, 6, 7: how long ago 0 and 1 were no longer matters to the layer that sees them.
    turn = partial(rotation, height=1, width=1, head_dim=6, theta=100.0)
    times = conditions.times_s * 5
    moved = make_layout(causal, times, turn).groups[-1].sink
    assert moved is not None
    shift = times[:, 5] - 1.0 - times[:, 1]
    torch.testing.assert_close(moved.turn, turn(times[:, :2] + shift[:, None]).turn)
    assert all(group.sink is None for group in make_layout(causal, times, turn).groups[:5])


def test_cache_appends_reads_and_evicts() -> None:
    cache = KVCache()
    keys = [torch.full((1, 1, 2, 1, 1, 2), float(k)) for k in range(2)]
    assert cache.read(keys[0], keys[0])[0] is keys[0]
    for key in keys:
        cache.append(key, -key)
    joined, values = cache.read(keys[1] + 1, keys[1])
    assert joined[0, 0, :, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2] and values.shape == joined.shape
    cache.evict([0, 3])
    assert cache.keys is not None and cache.keys[0, 0, :, 0, 0, 0].tolist() == [0, 1]


def test_rotation_turns_pairs_by_time_height_and_width() -> None:
    assert head_split(64) == (24, 20, 20) and head_split(128) == (44, 42, 42)
    turned = rotation(torch.tensor([[0.0, 2.5]]), 2, 3, head_dim=6, theta=100.0)
    assert turned.turn.shape == (1, 1, 2, 6, 1, 3)
    x = torch.tensor([1.0, 0.0]).repeat(3).expand(1, 1, 2, 6, 1, 6)
    last = rotate(x, turned)[0, 0, 1, 5, 0]  # at 2.5, row 1, column 2
    expected = [f(angle) for angle in torch.tensor([2.5, 1.0, 2.0]) for f in (torch.cos, torch.sin)]
    torch.testing.assert_close(last, torch.stack(expected))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="chunk of 1 latent frame"):
        Causal(0)
    with pytest.raises(UsageError, match="window of 3"):
        Causal(3, window=2)
    with pytest.raises(UsageError, match="sink of 0"):
        Causal(3, sink=-1)
    model = tiny()
    latents, timesteps, conditions = clip(model.config, T=3)
    with pytest.raises(ValueError, match="as many clean frames as noisy"):
        model(latents, timesteps, conditions, Causal(1, teacher_forced=True))
    with pytest.raises(ValueError, match="expected a Memory"):
        model(latents, timesteps, conditions, Causal(1), remember=True)
    memory: Memory = model.new_memory(Causal(2))
    model(latents, timesteps, conditions, memory, remember=True)
    with pytest.raises(ValueError, match="whole chunks of 2 frames, found 3"):
        model(latents, timesteps, conditions, memory)
