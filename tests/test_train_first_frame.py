"""Training of the first-frame network: what it learns from, that it learns, and that it resumes bit for bit."""

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

from jwmtool.artifacts.clip import Track
from jwmtool.artifacts.clip_io import read_clip, write_clip_json
from jwmtool.artifacts.weights import read_metadata, read_weights
from jwmtool.cli.main import run
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.training.checkpoint import BEST, LAST
from jwmtool.training.clips import Part, gather
from jwmtool.training.first_frame import plan
from jwmtool.training.first_frame.prepare import Preparer
from jwmtool.training.first_frame.recipe import Recipe
from jwmtool.training.first_frame.store import picture_shape, read_pictures
from jwmtool.training.first_frame.task import FirstFrameTask, mirrored, together
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.run import Run
from jwmtool.training.settings import TrainSettings
from jwmtool.training.worldgen.store import Store
from jwmtool.worldgen.first_frame import CONFIGS, FirstFrame, FirstFrameConfig, coarse_of, load_first_frame, small_of
from jwmtool.worldgen.rays import camera_rays
from jwmtool.worldgen.tags import tag_numbers

SMALL = FirstFrameConfig((8, 32), (8, 32), 1, 16)
RECIPE = Recipe(shapes=((64, 32),), crop=(32, 16))
SETTINGS = TrainSettings(batch=4, lr=1e-2, warmup=1, log_every=1, eval_every_s=1e9, save_every_s=1e9)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 3)


@pytest.fixture(scope="module")
def store(worlds: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    found = Store(tmp_path_factory.mktemp("cache"), {})
    Preparer(RECIPE.shapes).prepare(gather([worlds]), found)
    return found


class SmallTask(FirstFrameTask):
    """On prepared worlds; `on_step(number of the loss call)` may kill."""

    def __init__(self, worlds: Path, store: Store, on_step: Callable[[int], None] | None = None, **recipe: Any) -> None:
        super().__init__(SMALL, gather([worlds]), store, replace(RECIPE, **recipe))
        self.on_step, self.calls = on_step, 0

    def loss(self, model: nn.Module, batch: Any, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        if self.on_step is not None:
            self.on_step(self.calls)
        self.calls += 1
        return super().loss(model, batch, generator)


# what is prepared


def test_a_file_holds_pictures_rays_and_tags(worlds: Path, store: Store) -> None:
    part = gather([worlds]).training[0][0]
    clip, path = read_clip(part.folder), store.path(part)
    names = list(clip.cameras)
    assert picture_shape(path) == (8, len(names), 32, 64)
    found = read_pictures(path, slice(0, None))
    shown = (found.pictures * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
    for k, name in ((0, names[0]), (7, names[-1])):
        assert np.array_equal(shown[k, names.index(name)], clip.load_image(k, name))
    camera = clip.cameras[names[1]]
    assert torch.equal(found.rays[1], camera_rays(camera.K, camera.rig_from_cam, 32, 64, 8))
    told = tag_numbers({group: str(clip.tags[group]) for group in ("kind", "weather", "time_of_day", "event")})
    assert torch.equal(found.tags, told.expand(8, len(names), -1))
    some = read_pictures(path, slice(3, 4))
    assert torch.equal(some.pictures[0], found.pictures[3]) and len(some.tags) == 1


def test_an_event_happens_only_where_its_body_is_seen(tmp_path: Path) -> None:
    folder = write_worlds(tmp_path, 1) / "city-000000"
    clip = read_clip(folder)
    names = list(clip.cameras)
    ahead = clip.world_from_rig[0] @ se3.translation([8.0, 0.0, 0.8])
    horse = Track("horse_01", "animal", (2.4, 0.8, 1.7), clip.times_us[[0, -1]], np.stack([ahead, ahead]))
    write_clip_json(replace(clip, tracks=[horse], tags={**clip.tags, "event": "horse"}), folder)
    store, part = Store(tmp_path / "cache", {}), Part(folder, 0, 8)
    Preparer(RECIPE.shapes).write(part, store)
    found = read_pictures(store.path(part), slice(0, 1))
    tags, subject = found.tags[0], found.subject[0, :, 0]
    horse_number, none = (int(tag_numbers({"event": event})[-1]) for event in ("horse", "none"))
    assert int(tags[names.index("front"), -1]) == horse_number
    assert {int(tags[k, -1]) for k, name in enumerate(names) if name != "front"} == {none}
    assert [bool(one.any()) for one in subject] == [name == "front" for name in names]
    assert subject.shape == (len(names), 8, 16) and 0.01 < float(subject[names.index("front")].float().mean()) < 0.5
    assert set(together(tags)[:, -1].tolist()) == {horse_number}, "cameras that are shown together are told together"
    assert torch.equal(together(tags)[:, :-1], tags[:, :-1])
    assert set(together(tags[[k for k, name in enumerate(names) if name != "front"]])[:, -1].tolist()) == {none}
    untold = torch.full_like(tags, -1)
    assert torch.equal(together(untold), untold)


def test_withheld_pictures_never_enter(tmp_path: Path) -> None:
    folder = write_worlds(tmp_path, 1, rig="front1") / "city-000000"
    document = json.loads((folder / "clip.json").read_text())
    document["split"] = {"frames": [2, 5], "cameras": [], "rules": []}
    (folder / "clip.json").write_text(json.dumps(document))
    clip = read_clip(folder)
    for k in (2, 5, 7):
        (folder / clip.frames[k].images["front"].file).write_bytes(b"no picture")
    store, part = Store(tmp_path, {}), Part(folder, 0, 7)
    Preparer(RECIPE.shapes).write(part, store)
    assert picture_shape(store.path(part))[0] == 5


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"12345678" * 4)
    for name in ("a", "b"):
        with pytest.raises(InputError, match="pictures that a training prepared"):
            read_pictures(tmp_path / f"{name}.safetensors", slice(0, 1))


# samples


def test_samples_depend_on_their_numbers_alone(worlds: Path, store: Store) -> None:
    task, again = SmallTask(worlds, store), SmallTask(worlds, store)
    first = [batch for batch, _ in zip(task.batches(0, 2, 0, 1), range(6), strict=False)]
    later = next(iter(again.batches(4, 2, 0, 1)))
    assert all(torch.equal(first[2][name], later[name]) for name in later)
    views = {batch["pictures"].shape[1] for batch in first}
    assert views == {1, 3}, "of a rig all cameras together, or one"
    for batch in first:
        n, v = batch["pictures"].shape[:2]
        assert batch["pictures"].shape == (n, v, 3, 32, 64) and batch["rays"].shape == (n, v, 6, 4, 8)
        assert batch["tags"].shape == (n, v, 4)
        assert torch.equal(batch["tags"], batch["tags"][:, :1].expand(-1, v, -1)), "cameras are told the same"


def test_tags_are_left_out_at_random(worlds: Path, store: Store) -> None:
    task = SmallTask(worlds, store, untold=0.2, untold_weather=0.0, untold_other=0.5)
    tags = torch.stack([task.sample(k, (1, 32, 64))["tags"][0] for k in range(200)])
    told = (tags >= 0).float().mean(0)
    assert 0.7 < float(told[1]) < 0.9 and 0.3 < float(told[0]) < 0.5
    assert bool(((tags < 0).all(1)).any()) and bool(((tags >= 0).all(1)).any())


def test_rays_of_a_mirrored_picture_are_those_of_a_mirrored_camera() -> None:
    K = np.array([[40.0, 0.0, 30.0], [0.0, 40.0, 15.0], [0.0, 0.0, 1.0]])
    rig_from_cam = se3.translation([1.5, 0.4, 1.3]) @ np.array(
        [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
    turned = se3.rotation_z(0.3) @ rig_from_cam
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    across = np.diag([-1.0, 1.0, 1.0, 1.0])
    other = np.array([[40.0, 0.0, 64.0 - 30.0], [0.0, 40.0, 15.0], [0.0, 0.0, 1.0]])
    ours = mirrored(camera_rays(K, turned, 32, 64, 8)[None])[0]
    assert torch.allclose(ours, camera_rays(other, flip @ turned @ across, 32, 64, 8), atol=1e-5)


# the loss


class Guesses(nn.Module):
    """Tells the data, or something that is off by a deviation, whatever it is given."""

    def __init__(self, pictures: Tensor, off: float) -> None:
        super().__init__()
        self.pictures, self.off = pictures, off

    def forward(
        self, noisy: Tensor, rays: Tensor, times: Tensor, tags: Tensor, small: Any = None, views: int = 1
    ) -> Any:
        if small is not None:
            return noisy  # the second go is not looked at here
        assert torch.equal(times[:, 1], torch.zeros(len(times))) and rays.shape[1] == 6
        return coarse_of(small_of(self.pictures)) + self.off


def test_the_loss_is_the_error_of_the_velocity(worlds: Path, store: Store) -> None:
    task = SmallTask(worlds, store)
    batch = next(iter(task.batches(0, 4, 0, 1)))
    pictures = batch["pictures"].flatten(0, 1)
    _, right = task.loss(Guesses(pictures, 0.0), batch, Generator().manual_seed(0))
    assert float(right["coarse"]) == pytest.approx(0.0, abs=1e-6)
    _, off = task.loss(Guesses(pictures, 0.1), batch, Generator().manual_seed(0))
    _, twice = task.loss(Guesses(pictures, 0.2), batch, Generator().manual_seed(0))
    assert float(off["coarse"]) > 0.01, "divided by times below 1"
    assert float(twice["coarse"]) == pytest.approx(4.0 * float(off["coarse"]), rel=1e-4)
    # Where the bodies of a told event are, errors count more.
    horse = int(tag_numbers({"event": "horse"})[-1])
    for told, times in ((horse, 1.0 + RECIPE.subject), (-1, 1.0)):
        batch["tags"][..., -1], batch["subject"][:] = told, True
        _, there = task.loss(Guesses(pictures, 0.1), batch, Generator().manual_seed(0))
        assert float(there["coarse"]) == pytest.approx(times * float(off["coarse"]), rel=1e-4)


# training


def test_it_learns_pictures_by_heart(worlds: Path, store: Store) -> None:
    torch.manual_seed(0)
    task = SmallTask(worlds, store)
    model, batch = task.build(), next(iter(task.batches(0, 4, 0, 1)))
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    coarse, fine = [], []
    for _ in range(150):
        loss, terms = task.loss(model, batch, torch.Generator().manual_seed(0))
        adam.zero_grad()
        loss.backward()
        adam.step()
        coarse.append(float(terms["coarse"]))
        fine.append(float(terms["fine"]))
    assert coarse[-1] < 0.5 * coarse[0] and fine[-1] < 0.9 * fine[0]


def test_it_tells_what_it_does(worlds: Path, store: Store, tmp_path: Path) -> None:
    result = train(SmallTask(worlds, store), SETTINGS, Run(tmp_path, max_steps=4))
    first, last = (line for line in read_log(tmp_path) if line["kind"] == "held_out")
    assert last["loss"] != first["loss"] and result.best == min(first["loss"], last["loss"])
    assert last["loss"] == pytest.approx(last["coarse"] + last["fine"])
    metadata = read_metadata(tmp_path / BEST)
    assert metadata["task"] == "first-frame" and metadata["config"] == SMALL.to_dict()
    assert load_first_frame(tmp_path).config == SMALL
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
    words = ["train", "first-frame", "--data", str(worlds), "--cache", "kept", "--max-steps", "2", "--batch", "2"]
    assert run([*words, "-o", "a"]) == 0
    assert "preparing 3 clips" in capsys.readouterr().err and len(list(Path("kept").iterdir())) == 3
    assert isinstance(load_first_frame(Path("a")), FirstFrame)
    assert run([*words, "--init", "a", "-o", "b"]) == 0
    assert "preparing" not in capsys.readouterr().err, "what is there is used again"
    for flags, code, message in (
        (["--config", "huge"], 2, "--config: expected mini"),
        (["--autoencoder", "x"], 2, "only worldgen has it, not first-frame"),
        (["--priors", "x"], 2, "only worldgen and repair have it, not first-frame"),
        (["--init", "repair-mini"], 3, "repair-mini"),
        (["--resume"], 2, "no unfinished training"),
    ):
        told_in_one_line(capsys, [*words, *flags, "-o", "run"], code, message)
