"""Weights files: round trip, fp16, and refusals that name the keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from jwmtool.artifacts.weights import (
    half,
    load_weights,
    mismatch,
    read_metadata,
    read_weights,
    weights_file,
    write_weights,
)
from jwmtool.errors import InputError, JwmError, OutputExistsError


def test_round_trip_also_of_tied_weights(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    path = tmp_path / "model.safetensors"
    write_weights(path, model.state_dict(), {"b": 1, "a": [2.5, None]})
    metadata = {"a": [2.5, None], "b": 1, "format": "jwm-weights", "version": "1.0"}
    assert read_metadata(path) == read_weights(path)[1] == metadata
    other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert load_weights(other, path) == metadata
    assert torch.equal(other[1].weight, model[0].weight)
    with pytest.raises(OutputExistsError):
        write_weights(path, {}, {})
    assert weights_file(tmp_path) == path == weights_file(path)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(2), "a": torch.zeros(3)}
    for name in ("x", "y"):
        write_weights(tmp_path / name, tensors, {"z": 1, "y": 2, "x": 3})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_half_loads_into_full_precision(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    write_weights(tmp_path / "w", half({**model.state_dict(), "n": torch.tensor(3)}), {})
    tensors = read_weights(tmp_path / "w")[0]
    assert tensors["weight"].dtype == torch.float16 and tensors["n"].dtype == torch.int64
    write_weights(tmp_path / "w", half(model.state_dict()), {}, force=True)
    loaded = nn.Linear(3, 2)
    load_weights(loaded, tmp_path / "w")
    assert loaded.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.weight, model.weight, rtol=1e-3, atol=1e-4)
    with pytest.raises(JwmError, match=r"big: .*found up to 1e\+06"):
        half({"big": torch.tensor([1e6])})


def test_keys_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w"
    write_weights(path, {"weight": torch.zeros(2, 4), "gain": torch.ones(1)}, {})
    expected = r"missing keys: bias; extra keys: gain; other shapes: weight \[2, 4\] instead of \[2, 3\]"
    with pytest.raises(InputError, match=expected):
        load_weights(nn.Linear(3, 2), path)
    assert mismatch({}, {f"k{i}": (1,) for i in range(6)}) == "extra keys: k0, k1, k2, k3 and 2 more"
    assert mismatch({"a": (1, 2)}, {"a": torch.Size((1, 2))}) == ""


def test_foreign_damaged_and_newer_files(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_file({"a": torch.ones(1)}, path)
    assert read_weights(path)[1] == {}
    for text, message in (
        ("{", "JSON under"),
        ("[]", "a JSON object under"),
        ('{"version": "2.0"}', "version 1.0, found version 2.0"),
    ):
        save_file({"a": torch.ones(1)}, path, metadata={"jwm": text})
        with pytest.raises(InputError, match=message):
            read_weights(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="a safetensors file"):
        read_weights(path)
    with pytest.raises(InputError, match="no such file"):
        read_metadata(tmp_path / "none")
    with pytest.raises(InputError, match=r"model\.safetensors or best\.safetensors"):
        weights_file(tmp_path)
