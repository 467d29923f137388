"""Training WorldRec: a stand-in learns, resumes bit for bit, and `jwm train` says what is wrong in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from one_line import told_in_one_line
from standin_worldrec import CONFIG, SmallTask, StandIn, kill_at, write_worlds

from jwmtool.artifacts.weights import read_metadata, read_weights, write_weights
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.training.checkpoint import BEST, LAST
from jwmtool.training.clips import gather
from jwmtool.training.log import read_log
from jwmtool.training.loop import train
from jwmtool.training.run import Run
from jwmtool.training.settings import TrainSettings
from jwmtool.training.worldrec.plan import plan_worldrec, record_of
from jwmtool.training.worldrec.recipe import Recipe, chosen_config
from jwmtool.training.worldrec.task import WorldRecTask, build_worldrec
from jwmtool.worldrec.config import CONFIGS, WorldRecConfig

SETTINGS = TrainSettings(batch=2, lr=2e-2, warmup=1, log_every=1, eval_every_s=1e9, save_every_s=1e9)
DEPTH = Recipe(stage="depth")
SMALL = replace(CONFIGS["mini"], widths=(8, 16, 16, 16), blocks=(1, 1, 1, 1), planes=12, channels=16, sky_size=16)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 4)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`jwm train` in this process trains the stand-in."""
    module = types.ModuleType("jwmtool.worldrec.model")
    module.build_model = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jwmtool.worldrec.model", module)


def test_it_learns_from_pictures(worlds: Path, tmp_path: Path) -> None:
    result = train(SmallTask(worlds), SETTINGS, Run(tmp_path, max_steps=25))
    lines = read_log(tmp_path)
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    first, last = (line for line in lines if line["kind"] == "held_out")
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert last["psnr"] > first["psnr"] + 2.0 and result.best == last["psnr"]
    assert last["depth_log_error"] < first["depth_log_error"]
    assert {"photometric", "rendered_depth", "alpha", "planes"} <= {name for line in lines for name in line}
    assert read_metadata(tmp_path / BEST)["config"] == CONFIG.to_dict()
    assert (tmp_path / "sheets" / "000000025.png").is_file()


def test_the_depth_stage_renders_nothing(worlds: Path, tmp_path: Path) -> None:
    task = SmallTask(worlds, DEPTH)
    assert (task.name, task.headline, task.higher_is_better) == ("worldrec-depth", "depth_log_error", False)
    assert len(task.sample(0).targets) == 0
    model = StandIn()
    task.loss(model, [task.sample(0)], torch.Generator())[0].backward()
    with torch.no_grad():
        assert set(task.evaluate(model)) == {"depth_log_error", "sky_accuracy"}
    assert all(model.asked) and model.gain.grad is None
    result = train(task, SETTINGS, Run(tmp_path, max_steps=25))
    first = read_log(tmp_path)[0]["depth_log_error"]
    assert result.best is not None and result.best < 0.85 * first


def test_the_gate_stage_trains_the_gate_alone(worlds: Path, tmp_path: Path) -> None:
    task = WorldRecTask(SMALL, gather([worlds], ()), Recipe.of(SMALL, "gate", 0))
    assert task.name == "worldrec-gate"
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in task.build().state_dict().items()}
    before["decoder.head.out.bias"][10] = 4.0  # lives long enough to be there when the second half looks
    init = tmp_path / "init.safetensors"
    write_weights(init, before, {"config": SMALL.to_dict()})
    train(task, replace(SETTINGS, batch=1, ema_decay=0.5), Run(tmp_path / "run", max_steps=3, init=init))
    after, _ = read_weights(tmp_path / "run" / LAST)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert "gate.judge.2.weight" in changed and all(name.startswith("gate.") for name in changed)
    with pytest.raises(UsageError, match="sparse"):
        Recipe.of(replace(SMALL, method="pixel"), "gate", 0)


def test_a_batch_is_the_mean_of_its_windows(worlds: Path) -> None:
    task, model = SmallTask(worlds), StandIn()
    samples = [task.sample(i) for i in range(3)]
    generator = torch.Generator()
    single = [float(task.loss(model, [sample], generator)[0].detach()) for sample in samples]
    total, terms = task.loss(model, samples, generator)
    assert float(total.detach()) == pytest.approx(sum(single) / 3, rel=1e-5)
    parts = [task.loss(model, [sample], generator)[1]["photometric"] for sample in samples]
    assert float(terms["photometric"]) == pytest.approx(float(sum(parts)) / 3, rel=1e-5)


def test_stopped_and_resumed_ends_bit_equal(worlds: Path, tmp_path: Path) -> None:
    train(SmallTask(worlds), SETTINGS, Run(tmp_path / "whole", max_steps=6))
    stopped = train(SmallTask(worlds, on_step=kill_at(2)), SETTINGS, Run(tmp_path / "parts", max_steps=6))
    assert not stopped.finished and stopped.steps == 3
    assert train(SmallTask(worlds), SETTINGS, Run(tmp_path / "parts", max_steps=6, resume=True)).finished
    ours, theirs = (read_weights(tmp_path / name / LAST)[0] for name in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    losses = [[line["loss"] for line in read_log(tmp_path / n) if line["kind"] == "train"] for n in ("parts", "whole")]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    with pytest.raises(InputError, match="a training of worldrec-depth, found one of worldrec"):
        train(SmallTask(worlds, DEPTH), SETTINGS, Run(tmp_path / "whole", max_steps=7, resume=True))


@pytest.mark.slow
def test_two_ranks_train_as_one(worlds: Path, tmp_path: Path) -> None:
    program = str(Path(__file__).with_name("standin_worldrec.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", program]
    command += [str(worlds), str(tmp_path / "two"), "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    train(SmallTask(worlds), replace(SETTINGS, batch=4), Run(tmp_path / "one", max_steps=4))
    for key in ("loss", "grad_norm"):
        two, one = ([line[key] for line in read_log(tmp_path / n) if line["kind"] == "train"] for n in ("two", "one"))
        assert len(one) == 4 and two == pytest.approx(one, rel=1e-3)
    two, one = ([x["psnr"] for x in read_log(tmp_path / n) if x["kind"] == "held_out"] for n in ("two", "one"))
    assert two == pytest.approx(one, abs=1e-2)


# the run folder and the verb


def test_the_record_of_a_run_notices_other_clips(worlds: Path, tmp_path: Path) -> None:
    mine = tmp_path / "worlds"
    shutil.copytree(worlds, mine)
    data = gather([mine])
    with pytest.raises(UsageError, match="leave --resume out"):
        record_of(CONFIG, data, Recipe()).check(tmp_path / "run")
    (tmp_path / "run").mkdir()
    record_of(CONFIG, data, Recipe(seed=3)).write(tmp_path / "run", {"argv": ["jwm"]})
    plan = plan_worldrec(Run(tmp_path / "run", max_steps=1, resume=True), data, None, None, "full", 3)
    assert plan.task.config == CONFIG.to_dict()
    record_of(CONFIG, gather([mine]), Recipe(seed=3)).check(tmp_path / "run")
    with pytest.raises(InputError, match="--stage and --seed that this training began with"):
        record_of(CONFIG, data, Recipe(seed=4)).check(tmp_path / "run")
    document = json.loads((tmp_path / "run" / "data.json").read_text())
    assert document["provenance"] == [{"argv": ["jwm"]}] and document["recipe"]["weights"]["photometric"] == 1.0
    assert len(document["training"][0]) == 3 and len(document["training"][0][0]["sha256"]) == 64
    file = data.training[0][0].folder / "clip.json"
    file.write_text(file.read_text().replace('"name": "city', '"name": "City'))
    with pytest.raises(InputError, match=r"1 changed \(.*city-000000\) under training"):
        record_of(CONFIG, gather([mine]), Recipe(seed=3)).check(tmp_path / "run")
    shutil.rmtree(file.parent)
    with pytest.raises(InputError, match="1 missing"):
        record_of(CONFIG, gather([mine]), Recipe(seed=3)).check(tmp_path / "run")


def test_which_network_is_meant() -> None:
    assert chosen_config(None, None, None) == CONFIGS["mini"]
    assert chosen_config("base", "pixel", None) == replace(CONFIGS["base"], method="pixel")
    assert chosen_config(None, None, CONFIG) == chosen_config(None, "sparse", CONFIG) == CONFIG
    with pytest.raises(UsageError, match="expected mini, base, full, found 'huge'"):
        chosen_config("huge", None, None)
    assert chosen_config(None, "pixel", CONFIG) == replace(CONFIG, method="pixel")
    with pytest.raises(UsageError, match="of another network"):
        chosen_config("mini", None, CONFIG)


def test_another_method_starts_from_what_both_share(worlds: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sparse = build_worldrec(SMALL)
    write_weights(tmp_path / "sparse.safetensors", sparse.state_dict(), {"config": SMALL.to_dict(), "task": "worldrec"})
    flags = ["train", "worldrec", "--data", str(worlds), "--batch", "1", "--max-steps", "1", "--quiet"]
    output = tmp_path / "pixel"
    init = ["--method", "pixel", "--init", str(tmp_path / "sparse.safetensors"), "--lr", "1e-9"]
    assert run([*flags, *init, "-o", str(output)]) == 0
    found, metadata = read_weights(output / LAST)
    assert metadata["config"] == replace(SMALL, method="pixel").to_dict()
    shared = {name for name in found if name.startswith(("encoder.", "depth.", "exposure."))}
    assert shared < set(found) and not any(name.startswith("gate.") for name in found)
    assert all(torch.allclose(found[name], sparse.state_dict()[name], atol=1e-6) for name in shared)
    assert run([*flags, "--method", "sparse", "-o", str(output), "--resume"]) == 2


@pytest.mark.usefixtures("stand_in")
def test_the_verb_trains_resumes_and_starts_from_weights(
    worlds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["train", "worldrec", "--data", str(worlds), "--device", "cpu", "--batch", "2", "--lr", "0.02"]
    output = tmp_path / "run"
    assert run([*flags, "-o", str(output), "--max-steps", "2", "--method", "pixel"]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    config = WorldRecConfig.from_dict(read_metadata(output / BEST)["config"])
    assert config == replace(CONFIGS["mini"], method="pixel")
    document = json.loads((output / "data.json").read_text())
    assert document["config"] == config.to_dict() and document["provenance"][0]["seed"] == 0
    assert run([*flags, "-o", str(output), "--max-steps", "2"]) == 4
    assert "exists already; pass --force" in capsys.readouterr().err
    assert run([*flags, "-o", str(output), "--max-steps", "4", "--resume"]) == 0  # its network needs no telling
    assert [line["step"] for line in read_log(output) if line["kind"] == "held_out"] == [0, 2, 4]
    assert run([*flags, "-o", str(output), "--max-steps", "4", "--resume", "--stage", "depth"]) == 3
    assert run([*flags, "-o", str(tmp_path / "none"), "--max-steps", "4", "--resume"]) == 2
    capsys.readouterr()
    again = tmp_path / "again"
    assert run([*flags, "-o", str(again), "--max-steps", "1", "--init", str(output)]) == 0
    assert read_metadata(again / LAST)["config"] == config.to_dict()
    psnr = [[x["psnr"] for x in read_log(folder) if x["kind"] == "held_out"] for folder in (output, again)]
    assert psnr[1][0] == pytest.approx(max(psnr[0]), abs=1e-4)
    assert run([*flags, "-o", str(again), "--max-steps", "1", "--init", str(output), "--config", "base"]) == 4
    assert run([*flags, "-o", str(again), "--max-steps", "1", "--force"]) == 0
    assert read_metadata(again / LAST)["config"] == CONFIGS["mini"].to_dict()
    assert len(read_log(again)) == 3 and len(list((again / "sheets").iterdir())) == 2


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--data", "nowhere", "--max-steps", "1"], 3, "nowhere: expected a clip folder"),
        (["--data", "empty", "--max-steps", "1"], 3, "found no clip"),
        (["--data", "short", "--max-steps", "1"], 3, "at least 3 frames to train on, found 2"),
        (["--data", "worlds", "--held-out", "worlds", "--max-steps", "1"], 2, "found one in both"),
        (["--data", "worlds"], 2, "expected a budget or a number of steps"),
        (["--data", "worlds", "--max-steps", "1", "--config", "huge"], 2, "found 'huge'"),
        (["--data", "worlds", "--max-steps", "1", "--init", "nowhere"], 3, "nowhere: expected weights"),
        (["--data", "worlds", "--max-steps", "1", "--init", "alien.safetensors"], 3, "weights of worldrec, found"),
        (["--data", "worlds", "--max-steps", "1", "--resume"], 2, "no unfinished training"),
        (["--data", "worlds", "--max-steps", "1", "--lr", "0"], 2, "lr cannot be 0.0"),
        (["--max-steps", "1"], 2, "--data"),
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
    (tmp_path / "empty").mkdir()
    write_weights(tmp_path / "alien.safetensors", {"x": torch.zeros(1)}, {"task": "autoencoder"})
    if "short" in words:
        write_worlds(tmp_path / "short", 2, "front1", frames=2)
    told_in_one_line(capsys, ["train", "worldrec", "-o", "run", "--device", "cpu", *words], code, message)


def test_another_model_and_a_dry_run(worlds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "worldnone", "--data", str(worlds), "-o", "run", "--max-steps", "1"]) == 2
    assert "worldnone" in capsys.readouterr().err
    output = tmp_path / "run"
    words = ["train", "worldrec", "--data", str(worlds), "-o", str(output), "--budget", "1m", "--dry-run"]
    assert run([*words, "--device", "cpu"]) == 0
    told = capsys.readouterr().err
    assert f"would read {worlds}" in told and f"would write {output}" in told and not output.exists()
