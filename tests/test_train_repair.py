"""Training of the repair network: what it learns from, that it learns, and that it resumes bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_line import told_in_one_line
from standin_worldrec import kill_at, write_worlds
from torch import Generator, Tensor, nn

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.weights import read_metadata, read_weights
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.training.checkpoint import BEST, LAST
from jwmtool.training.clips import Part, gather
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.plan import chosen_config
from jwmtool.training.repair import plan, prepare
from jwmtool.training.repair.prepare import Preparer
from jwmtool.training.repair.recipe import Recipe
from jwmtool.training.repair.store import count_pairs, read_pairs
from jwmtool.training.repair.task import RepairTask, with_rectangles
from jwmtool.training.run import Run
from jwmtool.training.settings import TrainSettings
from jwmtool.training.worldgen.priors import rendered
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.repair import CHANNELS, CONFIGS, Repair, RepairConfig, Seen, load_repair
from jwmtool.worldrec.checkpoint import find_model, load_model
from jwmtool.worldrec.model import WorldRec

SMALL = RepairConfig((8, 16), (1, 1))
RECIPE = Recipe(shapes=((64, 32),))
SETTINGS = TrainSettings(batch=4, lr=1e-2, warmup=1, log_every=1, eval_every_s=1e9, save_every_s=1e9)


@pytest.fixture(scope="module")
def worldrec() -> WorldRec:
    return load_model(find_model(None, "worldrec"))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 3, rig="front1")


@pytest.fixture(scope="module")
def store(worlds: Path, worldrec: WorldRec, tmp_path_factory: pytest.TempPathFactory) -> Store:
    found = Store(tmp_path_factory.mktemp("cache"), {})
    Preparer(worldrec, RECIPE.shapes).prepare(gather([worlds]), found)
    return found


class SmallTask(RepairTask):
    """On prepared worlds; `on_step(number of the loss call)` may kill."""

    def __init__(self, worlds: Path, store: Store, on_step: Callable[[int], None] | None = None) -> None:
        super().__init__(SMALL, gather([worlds]), store, RECIPE, {"priors_sha256": "0"})
        self.on_step, self.calls = on_step, 0

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        if self.on_step is not None:
            self.on_step(self.calls)
        self.calls += 1
        return super().loss(model, batch, generator)


# what is prepared


def test_a_file_holds_renders_and_the_pictures_that_they_should_be(worlds: Path, store: Store) -> None:
    data = gather([worlds])
    parts = [*data.training[0], *data.held_out]
    for part in parts:
        clip, path = read_clip(part.folder), store.path(part)
        pictures = [clip.load_image(k, "front") for k in range(8)]
        seen, true = read_pairs(path, slice(0, None))
        assert 3 <= count_pairs(path) == len(true) <= 2 * 8
        shown = (true * 255).round().byte().permute(0, 2, 3, 1).numpy()
        assert all(any(np.array_equal(one, picture) for picture in pictures) for one in shown)
        assert any(np.array_equal(one, pictures[7]) for one in shown), "what comes after the scene"
        assert seen.color.shape == (len(true), 3, 32, 64) and float((seen.color - true).square().mean()) < 0.1
        assert 0.0 < float(seen.coverage.mean()) <= 1.0
        one, same = read_pairs(path, slice(2, 3))
        assert torch.equal(same[0], true[2]) and torch.equal(one.carried[0], seen.carried[2])


def test_withheld_frames_never_enter(tmp_path: Path, worldrec: WorldRec) -> None:
    folder = write_worlds(tmp_path, 1, rig="front1") / "city-000000"
    document = json.loads((folder / "clip.json").read_text())
    document["split"] = {"frames": [2, 5], "cameras": [], "rules": []}
    (folder / "clip.json").write_text(json.dumps(document))
    clip = read_clip(folder)
    for k in (2, 5, 7):
        (folder / clip.frames[k].images["front"].file).write_bytes(b"no picture")
    store, part = Store(tmp_path, {}), Part(folder, 0, 7)
    Preparer(worldrec, RECIPE.shapes).write(part, store)
    assert count_pairs(store.path(part)) >= 2
    with pytest.raises(InputError, match="at least 3 frames"):
        Preparer(worldrec, RECIPE.shapes).write(Part(folder, 0, 2), store)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"12345678" * 4)
    for name in ("a", "b"):
        with pytest.raises(InputError, match="renders that a training prepared"):
            read_pairs(tmp_path / f"{name}.safetensors", slice(0, 1))


def test_cameras_that_look_the_same_way_are_one_elsewhere(
    tmp_path: Path, worldrec: WorldRec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scene is made of the first one alone; what the others saw is what it should have shown from there."""
    folder = write_worlds(tmp_path, 1) / "city-000000"
    asked: list[dict[str, Any]] = []

    def watched(*others: Any, **named: Any) -> Any:
        asked.append(named)
        return rendered(*others, **named)

    monkeypatch.setattr(prepare, "rendered", watched)
    preparer, part = Preparer(worldrec, RECIPE.shapes), Part(folder, 0, 8)
    preparer.write(part, Store(tmp_path / "apart", {}))
    names = list(read_clip(folder).cameras)
    assert {tuple(named["made_of"]) for named in asked} == {tuple(names)}, "these look to three sides"
    asked.clear()
    document = json.loads((folder / "clip.json").read_text())
    pose = document["cameras"][0]["rig_from_cam"]
    for k, camera in enumerate(document["cameras"]):
        camera["rig_from_cam"] = [[*row[:3], row[3] + (2.0 * k if axis == 1 else 0.0)] for axis, row in enumerate(pose)]
        camera["K"] = document["cameras"][0]["K"]
    for frame in document["frames"]:
        for image, camera in zip(frame["images"], document["cameras"], strict=True):
            pose = np.array(frame["world_from_rig"]) @ np.array(camera["rig_from_cam"])
            image["world_from_cam"] = pose.tolist()
    (folder / "clip.json").write_text(json.dumps(document))
    store = Store(tmp_path / "alike", {})
    preparer.write(part, store)
    assert {tuple(named["made_of"]) for named in asked} == {(names[0],)}
    assert count_pairs(store.path(part)) >= 2 * 8, "of the other two every frame is learned from"


# samples


def test_rectangles_are_cut_out_of_renders_or_of_both(worlds: Path, store: Store) -> None:
    seen, _ = read_pairs(store.path(gather([worlds]).training[0][0]), slice(0, 2))
    seen = replace(seen, coverage=torch.ones_like(seen.coverage), carried_coverage=torch.ones_like(seen.coverage))
    cut = with_rectangles(seen, np.random.default_rng(0))
    gone = cut.coverage[0, 0] == 0
    assert 0.1 < float(gone.float().mean()) < 0.5 and torch.equal(cut.coverage[0], cut.coverage[1])
    assert torch.equal(cut.color[:, :, ~gone], seen.color[:, :, ~gone])
    assert not torch.equal(cut.color[:, :, gone], seen.color[:, :, gone])
    assert cut.carried is seen.carried and cut.still is seen.still
    both = with_rectangles(seen, np.random.default_rng(0), both=True)
    assert torch.equal(both.color, cut.color) and torch.equal(both.carried_coverage, cut.coverage)
    for name in ("carried", "still"):
        found, before = getattr(both, name), getattr(seen, name)
        assert torch.equal(found[:, :, ~gone], before[:, :, ~gone]) and not torch.equal(found, before)


def test_samples_depend_on_their_numbers_alone(worlds: Path, store: Store) -> None:
    task, again = SmallTask(worlds, store), SmallTask(worlds, store)
    first = [batch for batch, _ in zip(task.batches(0, 2, 0, 1), range(3), strict=False)]
    later = next(iter(again.batches(4, 2, 0, 1)))
    assert all(torch.equal(first[2][name], later[name]) for name in later)
    assert set(later) == {*CHANNELS, "true"}
    assert later["color"].shape == (2, 3, 32, 64) and later["coverage"].shape == (2, 1, 32, 64)
    drawn = torch.cat([batch["true"] for batch in first])
    assert len({float(picture.mean()) for picture in drawn}) > 3, "not always the same"


def test_the_loss_counts_decibels(worlds: Path, store: Store) -> None:
    task = SmallTask(worlds, store)
    batch = next(iter(task.batches(0, 4, 0, 1)))

    class Mixed(nn.Module):
        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

        def forward(self, seen: Seen) -> Tensor:
            return torch.lerp(seen.color, batch["true"], self.share)

    (same, terms), (closer, better) = (task.loss(Mixed(share), batch, Generator()) for share in (0.0, 0.5))
    assert float(terms["gain_db"]) == pytest.approx(0.0, abs=1e-4)
    assert 4.0 < float(better["gain_db"]) <= 6.03, "a quarter of the squared error"
    assert float(same - closer) == pytest.approx(float(better["gain_db"]) * np.log(10.0) / 10.0, rel=1e-4)


# training


def test_it_learns_pictures_by_heart(worlds: Path, store: Store) -> None:
    torch.manual_seed(0)
    task = SmallTask(worlds, store)
    model, batch = task.build(), next(iter(task.batches(0, 4, 0, 1)))
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    gains = []
    for _ in range(80):
        loss, terms = task.loss(model, batch, torch.Generator())
        adam.zero_grad()
        loss.backward()
        adam.step()
        gains.append(float(terms["gain_db"]))
    assert gains[-1] > gains[0] + 1.0


def test_it_tells_what_it_does(worlds: Path, store: Store, tmp_path: Path) -> None:
    result = train(SmallTask(worlds, store), SETTINGS, Run(tmp_path, max_steps=4))
    first, last = (line for line in read_log(tmp_path) if line["kind"] == "held_out")
    assert last["psnr"] != first["psnr"] and result.best == max(first["psnr"], last["psnr"])
    assert last["psnr_render"] == first["psnr_render"]
    assert last["gain_db"] == pytest.approx(last["psnr"] - last["psnr_render"])
    metadata = read_metadata(tmp_path / BEST)
    assert metadata["task"] == "repair" and metadata["config"] == SMALL.to_dict()
    assert metadata["priors_sha256"] == "0"
    assert load_repair(tmp_path).config == SMALL
    assert (tmp_path / "sheets" / "000000004.png").is_file()


def test_stopped_and_resumed_ends_bit_equal(worlds: Path, store: Store, tmp_path: Path) -> None:
    train(SmallTask(worlds, store), SETTINGS, Run(tmp_path / "whole", max_steps=6))
    stopped = train(SmallTask(worlds, store, kill_at(2)), SETTINGS, Run(tmp_path / "parts", max_steps=6))
    assert not stopped.finished and stopped.steps == 3
    assert train(SmallTask(worlds, store), SETTINGS, Run(tmp_path / "parts", max_steps=6, resume=True)).finished
    ours, theirs = (read_weights(tmp_path / name / LAST)[0] for name in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_verb_prepares_trains_and_goes_on(
    worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CONFIGS, "mini", SMALL)
    monkeypatch.setattr(plan, "Recipe", lambda seed: replace(RECIPE, seed=seed))
    words = ["train", "repair", "--data", str(worlds), "--cache", "kept", "--max-steps", "2", "--batch", "2"]
    assert run([*words, "-o", "a"]) == 0
    assert "preparing 3 clips" in capsys.readouterr().err and len(list(Path("kept").iterdir())) == 3
    assert isinstance(load_repair(Path("a")), Repair)
    assert run([*words, "--init", "a", "-o", "b"]) == 0
    assert "preparing" not in capsys.readouterr().err, "what is there is used again"
    for flags, code, message in (
        (["--config", "huge"], 2, "--config: expected mini"),
        (["--autoencoder", "x"], 2, "only worldgen has it, not repair"),
        (["--init", str(find_model(None, "worldrec"))], 3, "a repair network"),
        (["--priors", "nowhere"], 3, "nowhere"),
        (["--resume"], 2, "no unfinished training"),
    ):
        told_in_one_line(capsys, [*words, *flags, "-o", "run"], code, message)


def test_the_network_is_a_named_one_or_that_of_the_weights() -> None:
    assert chosen_config(CONFIGS, None, None) == CONFIGS["mini"] and chosen_config(CONFIGS, None, SMALL) == SMALL
    with pytest.raises(UsageError, match="another network"):
        chosen_config(CONFIGS, "mini", SMALL)
