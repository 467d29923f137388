"""What `jwm info --config` tells: counted on the network itself where that can be run."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from analytic_views import Box, Street, given, look, pose
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from jwmtool.cli.main import run as run_command
from jwmtool.worldrec.config import CONFIGS, WorldRecConfig
from jwmtool.worldrec.model import build_model
from jwmtool.worldrec.size import (
    Window,
    activations,
    assumed,
    describe_config,
    operations,
    parameters,
    places,
    skeleton,
)
from jwmtool.worldrec.views import Views

MINI = CONFIGS["mini"]
VARIANTS = [MINI, replace(MINI, motion=False), replace(MINI, method="pixel"), replace(MINI, planes=80, match_groups=8)]


class Memory(TorchDispatchMode):
    """Bytes of the tensors alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tree_map(self._see, out)
        return out

    def _see(self, value: Any) -> None:
        if not isinstance(value, torch.Tensor):
            return
        storage = value.untyped_storage()
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


def drive(size: tuple[int, int] = (160, 96)) -> Views:
    street = Street((Box((12.0, 2.0, 0.0), (5.0, 3.0, 3.0)), Box((16.0, -4.0, 0.0), (3.0, 2.0, 1.6), (4.0, 0.0, 0.0))))
    return given(look(street, [pose(1.0 * i) for i in range(4)], size=size, focal_px=120.0, supersampling=1))


def run(config: WorldRecConfig, mode: Any) -> Window:
    """A forward pass under a mode that watches; what there was to do."""
    torch.manual_seed(0)
    model, views = build_model(config).eval(), drive()
    with torch.no_grad(), mode:
        made = model(views)
    queries = 0 if made.pixels is None else len(made.pixels.view)
    swept = 0 if made.motion is None else len(made.motion.rows)
    return Window(len(views), *views.size, queries, len(made.gaussians), swept)


@pytest.mark.parametrize("config", VARIANTS, ids=["mini", "still", "pixel", "other numbers"])
def test_operations_are_those_that_are_done(config: WorldRecConfig) -> None:
    counter = FlopCounterMode(display=False)
    window = run(config, counter)
    counts = {str(key): value for key, value in counter.get_flop_counts()["Global"].items()}
    model = skeleton(config)
    convolved = sum(
        2 * layer.weight.numel() * places(name, config, window)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Conv2d)
    )
    assert counts["aten.convolution"] == convolved
    told = operations(model, window)
    linear = sum(told.values()) - convolved - told["sweep"]
    if config.method == "sparse":  # attention, which the counter may not know by the kernel's name
        linear -= 4 * 64 * config.channels * window.queries * config.layers
    assert counts["aten.addmm"] + counts.get("aten.mm", 0) == pytest.approx(linear, rel=0.01)


@pytest.mark.parametrize("config", VARIANTS, ids=["mini", "still", "pixel", "other numbers"])
def test_memory_is_told_within_a_third(config: WorldRecConfig) -> None:
    memory = Memory()
    window = run(config, memory)
    pictures = 5 * 4 * window.pixels  # made before
    told = max(activations(config, window).values())
    assert told == pytest.approx(memory.peak + pictures, rel=1 / 3)


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_counted_without_making_them(name: str) -> None:
    model = skeleton(CONFIGS[name])
    assert all(parameter.is_meta for parameter in model.parameters())
    if name == "mini":
        made = build_model(MINI)
        assert sum(parameters(model).values()) == sum(p.numel() for p in made.parameters())
    told = describe_config(f"worldrec-{name}")
    assert told["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert told["gflops"]["total"] > 1.0 and told["memory_mb"]["total"] > told["memory_mb"]["weights"]
    json.dumps(told)


def test_larger_is_larger() -> None:
    mini, base, full = (describe_config(f"worldrec-{name}") for name in ("mini", "base", "full"))
    for key in ("parameters", "gflops", "memory_mb"):
        assert mini[key]["total"] < base[key]["total"] < full[key]["total"]
    assert mini["weights_mb"]["float16"] < 10.0  # what ships


def test_every_layer_has_a_rule() -> None:
    for config in (*CONFIGS.values(), *VARIANTS, replace(MINI, method="pixel", pixel_step=2)):
        assert all(count > 0 for count in operations(skeleton(config), assumed(config)).values())
    with pytest.raises(ValueError, match=r"wings\.left"):
        places("wings.left", MINI, assumed(MINI))


def test_info_tells_of_a_network_and_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["info", "--config", "worldrec-full"]) == 0
    shown = capsys.readouterr().out
    assert "12 views of" in shown and "parameters" in shown and "gflops" in shown
    assert run_command(["info", "--config", "worldrec-mini", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe_config("worldrec-mini")
    assert run_command(["info", "--config", "worldrec-huge"]) == 2
    assert "worldrec-mini, worldrec-base, worldrec-full, autoencoder-mini" in capsys.readouterr().err
    assert run_command(["info", "--config", "worldrec-mini", "--system"]) == 2
    assert run_command(["info", "--config", "worldrec-mini", "--sheet", "a.png"]) == 2
    assert run_command(["info", "scene.h5", "--config", "worldrec-mini"]) == 2
