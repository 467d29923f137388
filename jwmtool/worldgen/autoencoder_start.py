"""First weights of an autoencoder: the best linear code of pictures in general.

Neighboring pixels are alike. For a Markov field (correlation CORRELATION from pixel to pixel) the components that tell
most about a patch are known without any data, the Karhunen-Loeve transform, of which JPEG's cosines are an
approximation. Encoder and decoder begin as its leading components, stage by stage, each of about unit deviation;
residual blocks begin as nothing. So training starts from soft pictures in the right colors, ahead of random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import FINEST

CORRELATION = 0.95  # of neighboring pixels
COLORS = 0.9  # of two of a pixel's colors
DEVIATION = 0.5  # of a pixel, in the encoder's units: [-1, 1]


@torch.no_grad()
def start_linear(model: Autoencoder) -> None:
    """Overwrite the weights of all layers beside the residual blocks, in place; the prior's branch stays as it is."""
    encoder, decoder = model.encoder, model.decoder
    down, told = _transforms(model.config.widths)
    up, known = _transforms(model.config.decoder_widths)
    for layer, stage in zip([encoder.fold, *encoder.down], down, strict=True):
        _set(layer, stage.rows * stage.given / stage.size[:, None])
    for layer, stage in zip([decoder.out, *decoder.up], up, strict=True):
        _set(layer, (stage.rows / stage.given * stage.size[:, None]).T)
    decoder.out.weight.mul_(0.5)  # pictures are in [0, 1], the encoder takes them in [-1, 1]
    used = min(model.channels, len(told))
    _set(encoder.out, torch.eye(used, len(told), dtype=torch.float64))
    _set(decoder.begin, known.flatten(1) @ told[:used].flatten(1).T * down[-1].size[:used] / up[-1].size[:, None])


class _Stage(NamedTuple):
    """What a stage takes over from the finer one, or from the pixels of its cells.

    Attributes:
        rows: [n, inputs] orthonormal, n at most the stage's width; inputs in the order of `pixel_unshuffle`.
        size: [n] deviation of what they give; given: [inputs] by which the inputs were divided.
    """

    rows: Tensor
    size: Tensor
    given: Tensor


def _transforms(widths: Sequence[int]) -> tuple[list[_Stage], Tensor]:
    """For each stage, at strides 4, 8 ..., the components that vary most of what it is given.

    Returns:
        The stages, and the last one's rows as pictures of a cell [n, 3, stride, stride].
    """
    basis = torch.eye(3 * FINEST**2, dtype=torch.float64).reshape(-1, 3, FINEST, FINEST)
    found: list[_Stage] = []
    for k, width in enumerate(widths):
        if k:
            n, _, s, _ = basis.shape
            four = torch.zeros(n, 2, 2, 3, 2 * s, 2 * s, dtype=torch.float64)
            for y in range(2):
                for x in range(2):
                    four[:, y, x, :, y * s : (y + 1) * s, x * s : (x + 1) * s] = basis
            basis = four.flatten(0, 2)
        values, vectors = torch.linalg.eigh(_covariance(basis))  # the least first
        size = DEVIATION * values.flip(0)[:width].sqrt()
        given = found[-1].size.repeat_interleave(4) if found else torch.ones(len(basis), dtype=torch.float64)
        found.append(_Stage(vectors.flip(1)[:, :width].T, size, given))
        basis = torch.einsum("nm,mcyx->ncyx", found[-1].rows, basis)
    return found, basis


def _covariance(basis: Tensor) -> Tensor:
    """Of a unit Markov field's components along pictures [n, 3, s, s]: [n, n]."""
    places = torch.arange(basis.shape[-1], dtype=torch.float64)
    near = CORRELATION ** (places[:, None] - places).abs()
    colors = torch.full((3, 3), COLORS, dtype=torch.float64).fill_diagonal_(1.0)
    blurred = torch.einsum("cd,yv,xu,mdvu->mcyx", colors, near, near, basis)
    return basis.flatten(1) @ blurred.flatten(1).T


def _set(layer: nn.Module, rows: Tensor) -> None:
    """Make a layer the matrix `rows` [a, b] of each place by itself. Outputs beyond a keep their random weights, so
    that they learn; inputs beyond b have no effect yet."""
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"_set: expected a convolution, found {type(layer).__name__}")
    a, b = rows.shape
    middle = layer.kernel_size[0] // 2
    layer.weight[:, b:] = 0.0
    layer.weight[:a] = 0.0
    layer.weight[:a, :b, middle, middle] = rows.to(layer.weight)
    if layer.bias is not None:
        layer.bias.zero_()
