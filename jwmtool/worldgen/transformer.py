"""WorldGen's transformer: noisy latents and conditions in, velocity (noise - data) out.

With one view, bidirectional attention, one timestep for all frames and none of the conditions that Wan lacks, it
computes what Wan 2.1 and 2.2 do (arXiv 2503.20314), and its weights have the names of diffusers' WanTransformer3DModel.
What was added starts at zero: the velocity of a Wan that was just loaded is Wan's own.
"""

# B samples, V views, T latent frames, P patches of a frame, C channels.
from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from jwmtool.worldgen.attention import CrossViewAttention
from jwmtool.worldgen.blocks import Block, Head, Shared
from jwmtool.worldgen.cache import KVCache, Memory
from jwmtool.worldgen.conditions import ConditionEmbedder, Conditions, EgoEmbedder, TagEmbedder, check_inputs
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.layout import make_layout
from jwmtool.worldgen.mask import Causal
from jwmtool.worldgen.rope import rotation
from jwmtool.worldgen.start import GaussianStart

_ADDED = (EgoEmbedder, CrossViewAttention, TagEmbedder, GaussianStart)


class WorldGen(nn.Module):
    """The network."""

    def __init__(self, config: WorldGenConfig) -> None:
        super().__init__()
        self.config = config
        patch, every = (1, config.patch, config.patch), config.cross_view_every
        self.patch_embedding = nn.Conv3d(config.in_channels, config.dim, patch, patch)
        if config.concat_channels:
            # Without a bias, so that zeros stay zeros.
            self.condition_embedding = nn.Conv3d(config.concat_channels, config.dim, patch, patch, bias=False)
        self.condition_embedder = ConditionEmbedder(config)
        if config.ego_dim:
            self.ego_embedder = EgoEmbedder(config)
        if config.num_tags:
            self.tag_embedder = TagEmbedder(config)
        if config.start_stride:
            self.start = GaussianStart(config.in_channels, config.start_stride)
        self.blocks = nn.ModuleList(
            Block(config, config.cross_view and k % every == every - 1) for k in range(config.layers)
        )
        self.head = Head(config)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)
        self.proj_out = nn.Linear(config.dim, config.out_channels * config.patch**2)

    def forward(
        self,
        latents: Tensor,  # [B, V, T, in_channels, h, w]
        timesteps: Tensor,  # [B, T] in [0, 1]: 0 is data, 1 is noise
        conditions: Conditions,
        attention: Causal | Memory | None = None,  # None: all frames see all
        remember: bool = False,  # with a Memory: keep these frames for those that follow
    ) -> Tensor:  # [B, V, T, out_channels, h, w]
        """The velocity of every frame.

        Raises:
            ValueError: a shape does not fit; frames to remember and no Memory, or after a chunk that was not whole.
        """
        check_inputs(self.config, latents, timesteps, conditions)
        memory = attention if isinstance(attention, Memory) else None
        if remember and memory is None:
            raise ValueError("remember: expected a Memory as attention, found none")
        config, dtype = self.config, self.proj_out.weight.dtype
        height, width = latents.shape[4:]
        x_BVTPC = _patches(self.patch_embedding, latents.to(dtype))
        if conditions.concat is not None and config.concat_channels:
            x_BVTPC = x_BVTPC + _patches(self.condition_embedding, conditions.concat.to(dtype))
        time_BTC = self.condition_embedder.time(timesteps)
        if conditions.ego is not None and config.ego_dim:
            time_BTC = time_BTC + self.ego_embedder(conditions.ego.to(dtype))
        rows, columns = height // config.patch, width // config.patch
        times = conditions.times_s.double() * config.latent_rate_hz
        turn = partial(rotation, height=rows, width=columns, head_dim=config.head_dim, theta=config.rope_theta)
        text_BLE, text_mask = self._tokens(conditions, len(latents))
        shared = Shared(
            self.condition_embedder.modulation(time_BTC),
            self.condition_embedder.text_embedder(text_BLE.to(dtype)),
            text_mask,
            make_layout(attention, times, turn),
            remember,
        )
        for k, block in enumerate(self.blocks):
            x_BVTPC = block(x_BVTPC, shared, None if memory is None else memory.layers[k])
        if memory is not None and remember:
            memory.advance(times)
        out = self.proj_out(self.head(x_BVTPC, self.scale_shift_table, time_BTC))
        velocity = _unpatch(out, rows, columns, config.patch)
        if config.start_stride:
            velocity = velocity + self.start(latents.float(), timesteps, conditions.concat)
        return velocity

    def _tokens(self, conditions: Conditions, B: int) -> tuple[Tensor, Tensor | None]:
        """Of text and tags [B, L, text_dim], and where there are any."""
        if self.config.num_tags:
            return self.tag_embedder.join(conditions, B)
        if conditions.text is None:
            raise ValueError("text: expected a caption's tokens, found none")
        return conditions.text, conditions.text_mask

    def new_memory(self, causal: Causal) -> Memory:
        """For streaming a video from its first frame."""
        return Memory(causal, [KVCache() for _ in self.blocks])

    def added(self) -> Iterator[tuple[str, nn.Module]]:
        """Names and modules that Wan does not have; each starts by adding nothing, but for tags that are told."""
        for name, module in self.named_modules():
            if isinstance(module, _ADDED) or name == "condition_embedding":
                yield name, module


def build_model(config: WorldGenConfig) -> WorldGen:
    """A WorldGen with its first weights: its velocity is 0, or that of its start."""
    model = WorldGen(config)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.startswith(("condition_embedder.t", "blocks.")):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for embedder in (model.condition_embedder.time_embedder, model.condition_embedder.text_embedder):
        for layer in (embedder.linear_1, embedder.linear_2):
            nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(model.proj_out.weight)
    nn.init.zeros_(model.proj_out.bias)
    add_nothing(model)
    return model


def add_nothing(model: WorldGen) -> None:
    """Give what Wan does not have its first weights."""
    for _, module in model.added():
        if isinstance(module, nn.Conv3d):
            nn.init.zeros_(module.weight)
        elif isinstance(module, EgoEmbedder | CrossViewAttention | GaussianStart):
            module.first_weights()
        elif isinstance(module, TagEmbedder):
            module.reset_parameters()


def _patches(embedding: nn.Module, cells: Tensor) -> Tensor:
    """Of [B, V, T, K, h, w]: [B, V, T, P, C]."""
    tokens_NCThw = embedding(cells.flatten(0, 1).transpose(1, 2))
    return tokens_NCThw.flatten(3).permute(0, 2, 3, 1).unflatten(0, cells.shape[:2])


def _unpatch(x_BVTPC: Tensor, rows: int, columns: int, patch: int) -> Tensor:
    """[B, V, T, K, rows * patch, columns * patch]; a token holds its cells row by row, channels innermost."""
    cells = x_BVTPC.unflatten(-1, (patch, patch, -1)).unflatten(3, (rows, columns))  # B V T rows columns py px K
    return cells.permute(0, 1, 2, 7, 3, 5, 4, 6).flatten(6, 7).flatten(4, 5)
