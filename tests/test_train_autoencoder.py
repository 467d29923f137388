"""Training the autoencoder: it learns, resumes bit for bit, looks at nothing withheld, and errors are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from one_line import told_in_one_line
from PIL import Image
from small_autoencoder import ALIKE, CONFIG, RECIPE, SETTINGS, SmallTask
from standin_worldrec import kill_at, write_worlds

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.weights import read_metadata, read_weights, write_weights
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.imaging.similarity import psnr, ssim_map
from jwmtool.training.autoencoder import plan
from jwmtool.training.autoencoder.degrade import degraded
from jwmtool.training.autoencoder.loss import LossWeights, autoencoder_loss, edge_difference, moment_distance
from jwmtool.training.autoencoder.pictures import load_picture, recolored, shape_for, usable_keys
from jwmtool.training.autoencoder.task import AutoencoderTask
from jwmtool.training.checkpoint import BEST, LAST
from jwmtool.training.clips import Part, gather
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.plan import chosen_config
from jwmtool.training.record import Record, read_record
from jwmtool.training.run import Run
from jwmtool.worldgen.autoencoder import Coded
from jwmtool.worldgen.autoencoder_checkpoint import load_autoencoder
from jwmtool.worldgen.autoencoder_config import CONFIGS


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 4)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb's `mini` and its recipe are those of these tests."""
    monkeypatch.setitem(CONFIGS, "mini", CONFIG)
    monkeypatch.setattr(plan, "Recipe", lambda seed: replace(RECIPE, seed=seed))


def picture(seed: int = 0) -> np.ndarray:
    """Smooth, [32, 64, 3]."""
    coarse = np.random.default_rng(seed).random((5, 9, 3)).astype(np.float32)
    return coarse.repeat(8, 0)[4:36].repeat(8, 1)[:, 4:68]


# pictures


def test_a_picture_gets_the_shape_that_is_nearest_to_its_own() -> None:
    shapes = ((224, 128), (416, 128))
    found = [
        shape_for(*size, shapes) for size in ((1936, 1216), (1242, 375), (224, 128), (160, 96), (400, 120), (8, 8))
    ]
    assert found == [(224, 128), (416, 128), (224, 128), (160, 96), (400, 112), (16, 16)]


def test_a_cut_shows_what_is_there(worlds: Path) -> None:
    clip = read_clip(next(iter(sorted(worlds.iterdir()))))
    key = usable_keys(clip, Part(clip.root, 0, 8))[0]
    whole = clip.load_image(*key).astype(np.float32) / 255.0
    assert np.array_equal(load_picture(clip, key, (64, 32)), whole)
    assert np.array_equal(load_picture(clip, key, (16, 32), place=(0.25, 0.5)), whole[:, 12:28])
    assert np.array_equal(load_picture(clip, key, (32, 16), zoom=9.0, place=(1.0, 0.0)), whole[:16, 32:])
    halved = load_picture(clip, key, (32, 16))
    assert np.allclose(halved, whole.reshape(16, 2, 32, 2, 3).mean((1, 3)), atol=1 / 255)
    assert load_picture(clip, key, (128, 64)).shape == (64, 128, 3)


def test_withheld_pictures_are_in_no_batch(tmp_path: Path) -> None:
    folder = write_worlds(tmp_path, 1) / "city-000000"
    document = json.loads((folder / "clip.json").read_text())
    document["split"] = {"frames": [0, 2, 4, 6], "cameras": ["front"], "rules": []}
    (folder / "clip.json").write_text(json.dumps(document))
    keys = usable_keys(read_clip(folder), Part(folder, 1, 6))
    assert keys == [(i, name) for i in (1, 3, 5) for name in ("front_left", "front_right")]
    with pytest.raises(InputError, match="a picture that is not withheld, found none"):
        usable_keys(read_clip(folder), Part(folder, 2, 3))


def test_all_of_a_step_have_one_shape_and_depend_on_their_numbers_alone(worlds: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(sorted(write_worlds(tmp_path, 2).iterdir())):
        if number:
            continue  # one clip stays 64 x 32, the other becomes square
        document = json.loads((folder / "clip.json").read_text())
        for camera in document["cameras"]:
            camera["width"] = 32
        (folder / "clip.json").write_text(json.dumps(document))
        for file in folder.glob("images/*/*.png"):
            Image.open(file).crop((0, 0, 32, 32)).save(file)
    task = AutoencoderTask(CONFIG, gather([worlds, tmp_path]), RECIPE)
    batches = task.batches(0, 4, 0, 1)
    whole = [next(batches) for _ in range(12)]
    shapes = {tuple(batch["images"].shape) for batch in whole}
    assert shapes == {(4, 3, 32, 64), (4, 3, 32, 32)}
    resumed = task.batches(20, 4, 0, 1)
    ranks = [task.batches(20, 2, rank, 2) for rank in (0, 1)]
    for batch in whole[5:8]:
        again, parts = next(resumed), [next(rank) for rank in ranks]
        for name, tensor in batch.items():
            assert torch.equal(again[name], tensor)
            assert torch.equal(torch.stack([parts[i % 2][name][i // 2] for i in range(4)]), tensor)
    assert any(bool(batch["coverage"].any()) for batch in whole)
    other = AutoencoderTask(CONFIG, gather([worlds, tmp_path]), replace(RECIPE, seed=1))
    assert not torch.equal(other.sample(0, (64, 32))["images"], task.sample(0, (64, 32))["images"])


def test_a_prior_is_a_worse_picture_of_the_same() -> None:
    true = picture()
    colors, coverages = zip(*(degraded(true, np.random.default_rng(seed)) for seed in range(40)), strict=True)
    assert all(c.shape == (32, 64, 3) and c.dtype == np.float32 and 0.0 <= c.min() <= c.max() <= 1.0 for c in colors)
    assert all(c.shape == (32, 64, 1) and 0.0 <= c.min() <= c.max() <= 1.0 for c in coverages)
    assert all(not color[coverage[..., 0] == 0.0].any() for color, coverage in zip(colors, coverages, strict=True))
    shares = [float((coverage > 0.0).mean()) for coverage in coverages]
    assert sum(share < 1.0 for share in shares) > 15 and 0.5 < np.mean(shares) < 0.98
    pairs = [(c, v[..., 0] == 1.0) for c, v in zip(colors, coverages, strict=True) if (v == 1.0).mean() > 0.1]
    errors = [np.abs(color - true)[whole].mean() for color, whole in pairs]
    strangers = np.abs(picture(1) - true).mean()
    assert 0.005 < np.median(errors) < 0.3 * strangers and max(errors) < strangers


def test_other_light_is_light() -> None:
    true = picture()
    changed = [recolored(true, np.random.default_rng(seed), 0.1) for seed in range(20)]
    assert all(c.min() >= 0.0 and c.max() <= 1.0 for c in changed)
    assert 0.01 < np.mean([np.abs(c - true).mean() for c in changed]) < 0.15
    assert np.allclose(recolored(true, np.random.default_rng(0), 0.0), true, atol=1e-6)


# loss


def test_the_loss_is_what_it_says() -> None:
    torch.manual_seed(0)
    made, true = torch.rand(2, 3, 32, 48, requires_grad=True), torch.rand(2, 3, 32, 48)
    latents = torch.randn(2, 4, 2, 3)
    loss, terms = autoencoder_loss(Coded(made, latents), true, LossWeights(0.1, 0.5, 0.0))
    structure = [ssim_map(x.permute(1, 2, 0), y.permute(1, 2, 0)).mean() for x, y in zip(made, true, strict=True)]
    expected = (made - true).abs().mean() + 0.1 * (1.0 - torch.stack(structure).mean())
    photometric = terms["photometric"]
    assert isinstance(photometric, torch.Tensor)
    assert float(photometric.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    edges = edge_difference(made, true)
    assert float(loss.detach()) == pytest.approx(float((expected + 0.5 * edges).detach()), rel=1e-4)
    (ours,) = torch.autograd.grad(loss, made, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected + 0.5 * edges, made)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_edges_count_what_is_blurred_and_not_what_is_brighter() -> None:
    true = torch.from_numpy(picture()).permute(2, 0, 1)[None]
    assert float(edge_difference(true + 0.1, true)) == pytest.approx(0.0, abs=1e-6)
    ramp = torch.arange(16.0).expand(1, 3, 16, 16)
    assert float(edge_difference(ramp, torch.zeros_like(ramp))) == pytest.approx((1 + 2 + 4) / 3)
    blurred = torch.nn.functional.avg_pool2d(true, 5, 1, 2)
    assert float(edge_difference(blurred, true)) > 0.01


def test_moments_are_least_at_zero_mean_and_unit_deviation() -> None:
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0)
    assert float(moment_distance(x)) == pytest.approx(0.0, abs=1e-5)
    assert float(moment_distance(x + 1.0)) == pytest.approx(0.5, abs=1e-4)
    assert float(moment_distance(2.0 * x)) == pytest.approx(0.5 * (4.0 - np.log(4.0) - 1.0), abs=1e-4)
    assert float(moment_distance(0.0 * x)) > 5.0


# training


def test_it_learns_from_pictures_and_from_priors(worlds: Path, tmp_path: Path) -> None:
    result = train(SmallTask(worlds), SETTINGS, Run(tmp_path, max_steps=60))
    lines = read_log(tmp_path)
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    first, last = (line for line in lines if line["kind"] == "held_out")
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert last["psnr"] > first["psnr"] + 2.0 and last["ssim"] > first["ssim"] and result.best == last["psnr"]
    assert first["psnr_prior"] == pytest.approx(first["psnr"], abs=0.1) and last["psnr_prior"] > last["psnr"] + 0.3
    assert {"photometric", "edges", "moments"} <= {name for line in lines for name in line}
    assert read_metadata(tmp_path / BEST)["config"] == CONFIG.to_dict()
    assert (tmp_path / "sheets" / "000000060.png").is_file()
    model = load_autoencoder(tmp_path)
    task = SmallTask(worlds)
    pictures = torch.stack([task.sample(i, (64, 32))["images"] for i in range(16)])[None]
    with torch.no_grad():
        latents = model.encode(pictures)
        assert (latents.mean((0, 1, 3, 4)).abs().mean() < 0.4) and 0.5 < latents.std() < 2.0
        decoded = model.decode(latents)
    assert float(psnr(decoded[0, 0].permute(1, 2, 0), pictures[0, 0].permute(1, 2, 0))) > 15.0


def test_it_learns_two_pictures_by_heart() -> None:
    torch.manual_seed(0)
    task = AutoencoderTask(CONFIG, None, replace(RECIPE, noise=0.0))  # type: ignore[arg-type]
    model = task.build()
    images = torch.stack([torch.from_numpy(picture(seed)).permute(2, 0, 1) for seed in (0, 1)])
    batch = {"images": images, "color": torch.zeros_like(images), "coverage": torch.zeros_like(images[:, :1])}
    adam = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        loss, _ = task.loss(model, batch, torch.Generator().manual_seed(0))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]


def test_without_a_way_in_there_is_no_score_with_a_prior(worlds: Path) -> None:
    task = SmallTask(worlds, config=replace(CONFIG, prior_skip=False))
    model = task.build().eval()
    task.loss(model, next(task.batches(0, 2, 0, 1)), torch.Generator())[0].backward()
    with torch.no_grad():
        assert set(task.evaluate(model)) == {"psnr", "ssim"}


def test_stopped_and_resumed_ends_bit_equal(worlds: Path, tmp_path: Path) -> None:
    train(SmallTask(worlds), SETTINGS, Run(tmp_path / "whole", max_steps=6))
    stopped = train(SmallTask(worlds, on_step=kill_at(2)), SETTINGS, Run(tmp_path / "parts", max_steps=6))
    assert not stopped.finished and stopped.steps == 3
    assert train(SmallTask(worlds), SETTINGS, Run(tmp_path / "parts", max_steps=6, resume=True)).finished
    ours, theirs = (read_weights(tmp_path / name / LAST)[0] for name in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs) and int(ours["updates"]) == 6


@pytest.mark.slow
def test_two_ranks_train_as_one(worlds: Path, tmp_path: Path) -> None:
    program = str(Path(__file__).with_name("small_autoencoder.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", program]
    command += [str(worlds), str(tmp_path / "two"), "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    train(SmallTask(worlds, ALIKE), SETTINGS, Run(tmp_path / "one", max_steps=4))
    for key in ("loss", "grad_norm"):
        two, one = ([line[key] for line in read_log(tmp_path / n) if line["kind"] == "train"] for n in ("two", "one"))
        assert len(one) == 4 and two == pytest.approx(one, rel=1e-3)
    two, one = (read_weights(tmp_path / name / LAST)[0] for name in ("two", "one"))
    for name in ("latent_mean", "latent_square", "updates"):
        assert torch.allclose(two[name], one[name], rtol=1e-2, atol=1e-4), name


# the run folder and the verb


def test_the_record_of_a_run_notices_other_clips_recipes_and_models(worlds: Path, tmp_path: Path) -> None:
    data = gather([worlds])
    record = Record("autoencoder", CONFIG.to_dict(), asdict(RECIPE), data)
    with pytest.raises(UsageError, match="leave --resume out"):
        record.check(tmp_path / "run")
    record.write(tmp_path / "run", {"argv": ["jwm"]})
    record.check(tmp_path / "run")
    path, document = read_record(tmp_path / "run", "autoencoder")
    assert document["config"] == CONFIG.to_dict() and document["provenance"] == [{"argv": ["jwm"]}]
    with pytest.raises(InputError, match="the recipe and the seed that this training began with, found others"):
        replace(record, recipe=asdict(replace(RECIPE, seed=2))).check(tmp_path / "run")
    fewer = replace(data, training=(data.training[0][:-1],))
    with pytest.raises(InputError, match=r"1 missing \(.*\) under training"):
        replace(record, data=fewer).check(tmp_path / "run")
    with pytest.raises(InputError, match="a training of worldrec, found one of autoencoder"):
        read_record(tmp_path / "run", "worldrec")
    for change, message in (({"version": "2.0"}, "version 2.0"), ({"config": 3}, "the network's config, found 3")):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(InputError, match=message):
            read_record(tmp_path / "run", "autoencoder")


def test_which_network_is_meant() -> None:
    assert chosen_config(CONFIGS, None, None) == CONFIGS["mini"]
    assert chosen_config(CONFIGS, "base", None) == CONFIGS["base"]
    assert chosen_config(CONFIGS, None, CONFIG) == CONFIG
    assert chosen_config(CONFIGS, "base", CONFIGS["base"]) == CONFIGS["base"]
    with pytest.raises(UsageError, match="expected mini, mini8, base, found 'huge'"):
        chosen_config(CONFIGS, "huge", None)
    with pytest.raises(UsageError, match="of another network"):
        chosen_config(CONFIGS, "mini", CONFIG)


@pytest.mark.usefixtures("small")
def test_the_verb_trains_resumes_and_starts_from_weights(
    worlds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["train", "autoencoder", "--data", str(worlds), "--device", "cpu", "--batch", "2"]
    output = tmp_path / "run"
    assert run([*flags, "-o", str(output), "--max-steps", "2"]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    document = json.loads((output / "data.json").read_text())
    assert document["model"] == "autoencoder" and document["config"] == CONFIG.to_dict()
    assert json.loads((output / "settings.json").read_text())["lr"] == 1e-3
    assert run([*flags, "-o", str(output), "--max-steps", "2"]) == 4
    assert run([*flags, "-o", str(output), "--max-steps", "3", "--resume"]) == 0
    assert [line["step"] for line in read_log(output) if line["kind"] == "held_out"] == [0, 2, 3]
    capsys.readouterr()
    assert run([*flags, "-o", str(output), "--max-steps", "4", "--resume", "--config", "base"]) == 2
    assert run([*flags, "-o", str(output), "--max-steps", "4", "--resume", "--seed", "3"]) == 3
    worldrec = ["train", "worldrec", "--data", str(worlds), "--device", "cpu", "--batch", "2"]
    assert run([*worldrec, "-o", str(output), "--max-steps", "4", "--resume"]) == 3
    again = tmp_path / "again"
    assert run([*flags, "-o", str(again), "--max-steps", "1", "--init", str(output)]) == 0
    psnrs = [[x["psnr"] for x in read_log(folder) if x["kind"] == "held_out"] for folder in (output, again)]
    assert psnrs[1][0] == pytest.approx(max(psnrs[0]), abs=1e-4)
    assert run([*flags, "-o", str(again), "--max-steps", "1", "--force"]) == 0
    assert load_autoencoder(again).config == CONFIG


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--data", "nowhere", "--max-steps", "1"], 3, "nowhere: expected a clip folder"),
        (["--data", "worlds"], 2, "expected a budget or a number of steps"),
        (["--data", "worlds", "--max-steps", "1", "--config", "huge"], 2, "found 'huge'"),
        (["--data", "worlds", "--max-steps", "1", "--stage", "depth"], 2, "--stage depth: only worldrec has it"),
        (["--data", "worlds", "--max-steps", "1", "--stage", "full"], 2, "--stage full: only worldrec"),
        (["--data", "worlds", "--max-steps", "1", "--method", "pixel"], 2, "--method pixel: only worldrec"),
        (["--data", "worlds", "--max-steps", "1", "--init", "nowhere"], 3, "nowhere: expected weights"),
        (["--data", "worlds", "--max-steps", "1", "--init", "alien.safetensors"], 3, "found weights of worldrec"),
        (["--data", "worlds", "--max-steps", "1", "--resume"], 2, "no unfinished training"),
        (["--data", "worlds", "--max-steps", "1", "--lr", "0"], 2, "lr cannot be 0.0"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    worlds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "worlds").symlink_to(worlds)
    write_weights(tmp_path / "alien.safetensors", {"x": torch.zeros(1)}, {"task": "worldrec", "config": {}})
    told_in_one_line(capsys, ["train", "autoencoder", "-o", "run", "--device", "cpu", *words], code, message)
