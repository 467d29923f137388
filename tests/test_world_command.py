"""`jwm world`: what a clip of a world holds, bad parameters, many seeds, truth files and windows for training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_world import SPEED_MPS, FakeWorld, fake_world

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.clip_io import clip_content_sha256, read_clip
from jwmtool.artifacts.truth import ARRAYS, has_truth, read_truth, write_truth
from jwmtool.cli.main import run
from jwmtool.errors import InputError, OutputExistsError, UsageError
from jwmtool.geometry import se3
from jwmtool.worlds.generate import sweep_frames, write_world
from jwmtool.worlds.spec import WorldSpec

JWM = Path(sys.executable).with_name("jwm")


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`jwm world` in this process makes fake worlds."""
    module = types.ModuleType("jwmtool.worlds.world")
    module.make_world, module.World = fake_world, FakeWorld  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jwmtool.worlds.world", module)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    spec = WorldSpec("city", 7, 1.0, 10.0, 64, 32, event="horse")
    return read_clip(write_world(fake_world(spec, "surround6"), tmp_path_factory.mktemp("w") / "clip"))


# the clip


def test_a_world_is_a_clip_like_any_other(clip: Clip) -> None:
    world = fake_world(WorldSpec("city", 7, 1.0, 10.0, 64, 32, event="horse"), "surround6")
    assert clip.name == "city-000007" and clip.licence == "Apache-2.0" and clip.split.rules == ()
    assert list(clip.times_us) == [i * 100_000 for i in range(10)]
    assert list(clip.cameras) == [c.name for c in world.description.rig.cameras]
    for frame in (0, 9):
        assert np.allclose(clip.frames[frame].world_from_rig, world.world_from_rig(frame))
        for name in clip.cameras:
            assert np.allclose(clip.camera_at(frame, name).world_from_cam, world.camera(frame, name).world_from_cam)
            assert np.array_equal(clip.load_image(frame, name), world.view(frame, name).image)
    assert clip.tags == {"synthetic": True, "kind": "city", "weather": "clear", "time_of_day": "day", "event": "horse"}
    assert clip.source["description_sha256"] == world.description.content_sha256()
    assert clip.extras["event"] == {"name": "horse", "time_us": 100_000, "tracks": []}  # nobody here is called horse_
    assert clip.extras["actions"]["speed_mps"] == [SPEED_MPS] * 10


def test_tracks_follow_the_actors(clip: Clip) -> None:
    car = next(track for track in clip.tracks if track.id == "car_00")
    assert car.category == "car" and car.size == (4.4, 1.8, 1.5)
    assert np.array_equal(car.times_us, clip.times_us)
    assert np.allclose(car.world_from_box[:, :3, 3], [[14 + 0.6 * i, 0.4, 0.75] for i in range(10)])


def test_lidar_is_in_the_sensors_frame(clip: Clip) -> None:
    assert len(clip.lidar) == 10
    points = clip.load_lidar(3)
    ground = points[np.abs(points[:, 2]) < 0.01]
    assert len(ground) > 1000, "most points lie on the road"
    assert np.load(clip.root / clip.lidar[3].file).dtype == np.float32


def test_lanes_are_cut_to_what_is_near(clip: Clip) -> None:
    (lane,) = clip.extras["lanes"]
    points = np.array(lane["points"])
    assert lane["width_m"] == 3.5 and points.shape[1] == 3
    assert -160 < points[:, 0].min() < -140 and 145 < points[:, 0].max() < 165


def test_truth_reads_back(clip: Clip) -> None:
    world = fake_world(WorldSpec("city", 7, 1.0, 10.0, 64, 32, event="horse"), "surround6")
    view, truth = world.view(4, "CAM_FRONT"), read_truth(clip, 4, "CAM_FRONT")
    assert has_truth(clip) and set(truth) == set(ARRAYS)
    assert np.array_equal(truth["depth"], view.depth)  # exactly
    assert np.array_equal(truth["semantic"], view.semantic) and np.array_equal(truth["instance"], view.instance)
    assert np.abs(truth["normal"] - view.normal).max() < 0.01
    assert np.isnan(truth["flow"][0, 0]).all() and np.allclose(truth["flow"][1:], 1.5)
    assert np.allclose(truth["scene_flow"], view.scene_flow, atol=1e-3) and truth["scene_flow"].max() > 0.5
    assert ((truth["semantic"] == 0) == np.isinf(truth["depth"])).all()
    car = clip.extras["truth"]["instances"]["1"]
    assert car == "car_00" and (truth["semantic"][truth["instance"] == 1] == 10).all()
    assert clip.extras["truth"]["classes"]["10"] == "car"
    assert set(read_truth(clip, 0, "CAM_BACK", ["depth"])) == {"depth"}


def test_truth_repeats_and_complains(clip: Clip, tmp_path: Path) -> None:
    arrays = read_truth(clip, 0, "CAM_FRONT", ["depth", "flow"])
    write_truth(tmp_path / "a.npz", arrays)
    time.sleep(2.1)  # a zip's dates have steps of two seconds
    write_truth(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with pytest.raises(InputError, match="truth of frame 10"):
        read_truth(clip, 10, "CAM_FRONT")
    with pytest.raises(InputError, match="truth of frame 0, camera nose"):
        read_truth(clip, 0, "nose")
    with pytest.raises(InputError, match="asked arrays"):
        read_truth(clip, 0, "CAM_FRONT", ["taste"])


def test_damaged_truth_is_told(tmp_path: Path) -> None:
    folder = write_world(fake_world(WorldSpec("city", 1, 0.1, 10.0, 64, 32)), tmp_path / "c")
    clip = read_clip(folder)
    file = folder / "truth/front/000000.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"000000.npz: expected a readable"):
        read_truth(clip, 0, "front")
    file.write_bytes(whole[:200] + bytes(50) + whole[250:])
    with pytest.raises(InputError, match=r"000000.npz: expected a readable"):
        read_truth(clip, 0, "front")
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_truth(clip, 0, "front")
    write_truth(file, {"depth": np.ones((4, 4), np.float32)})
    with pytest.raises(InputError, match=r"depth of shape \(32, 64\)"):
        read_truth(clip, 0, "front")


def test_the_same_seed_gives_the_same_bytes(clip: Clip, tmp_path: Path) -> None:
    world = fake_world(WorldSpec("city", 7, 1.0, 10.0, 64, 32, event="horse"), "surround6")
    again = read_clip(write_world(world, tmp_path / "again"))
    assert clip_content_sha256(again) == clip_content_sha256(clip)
    for file in clip.root.rglob("*"):
        if file.is_file():
            assert (again.root / file.relative_to(clip.root)).read_bytes() == file.read_bytes(), file.name


def test_a_failing_view_leaves_nothing(tmp_path: Path) -> None:
    class Broken(FakeWorld):
        def view(self, frame: int, name: str, supersampling: int = 2) -> types.SimpleNamespace:
            if frame == 5:
                raise MemoryError("no more")
            return super().view(frame, name, supersampling)

    world = Broken(fake_world(WorldSpec("city", 7, 1.0, 10.0, 64, 32)).description)
    with pytest.raises(MemoryError):
        write_world(world, tmp_path / "clip")
    assert list(tmp_path.iterdir()) == []


def test_outputs_and_rules_are_checked(clip: Clip, tmp_path: Path) -> None:
    world = fake_world(WorldSpec("city", 7, 1.0, 10.0, 64, 32))
    with pytest.raises(OutputExistsError):
        write_world(world, clip.root)
    with pytest.raises(UsageError, match="--withhold"):
        write_world(world, tmp_path / "x", withhold=["camera=rear"])
    with pytest.raises(UsageError, match="--supersampling"):
        write_world(world, tmp_path / "x", supersampling=0)
    withheld = read_clip(write_world(world, tmp_path / "x", withhold=["every=4"]))
    assert withheld.split.frames == (2, 6) and withheld.split.rules == ("every=4",)


def test_a_lidar_that_turns_slowly_sweeps_rarely() -> None:
    assert sweep_frames(5, 10.0, 20.0) == [0, 1, 2, 3, 4]
    assert sweep_frames(7, 30.0, 10.0) == [0, 3, 6]
    assert sweep_frames(7, 30.0, 20.0) == [0, 2, 3, 5, 6]


# the command


def world(*words: str) -> int:
    return run(["world", *words])


def test_the_command_prints_the_path(faked: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "clip"
    assert world("random", "--seed", "3", "--duration", "200ms", "--size", "64x32", "-o", str(output)) == 0
    assert capsys.readouterr().out == f"{output}\n"
    clip = read_clip(output)
    assert len(clip.frames) == 2 and clip.provenance[0]["seed"] == 3
    assert clip.source["kind"] in ("city", "suburb", "motorway", "country")
    assert world("city", "--size", "64x32", "-o", str(output)) == 4


def test_a_rig_file_keeps_its_sizes_unless_asked(faked: None, tmp_path: Path, clip: Clip) -> None:
    rig = str(clip.root / "clip.json")
    assert world("city", "--rig", rig, "--duration", "100ms", "-o", str(tmp_path / "a")) == 0
    made = read_clip(tmp_path / "a")
    assert np.allclose(made.cameras["CAM_BACK"].K, clip.cameras["CAM_BACK"].K)
    assert made.provenance[0]["inputs"][0]["path"] == rig
    assert world("city", "--rig", rig, "--size", "32x16", "--duration", "100ms", "-o", str(tmp_path / "b")) == 0
    assert np.allclose(read_clip(tmp_path / "b").cameras["CAM_BACK"].K[:2], clip.cameras["CAM_BACK"].K[:2] / 2)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["town"], 2, "KIND: expected one of city, suburb, motorway, country or random, found 'town'"),
        (["city", "--event", "dragon"], 2, "--event: expected one of none, horse"),
        (["city", "--weather", "hail"], 2, "--weather: expected one of clear"),
        (["city", "--time-of-day", "noon"], 2, "--time-of-day"),
        (["city", "--duration", "0s"], 2, "--duration: expected more than 0 s"),
        (["city", "--duration", "2h"], 2, "--duration: expected 0 to 600 s"),
        (["city", "--rate", "nan"], 2, "--rate: expected 1 to 60 Hz"),
        (["city", "--size", "4x4"], 2, "--size: expected 16 to 8192 px"),
        (["city", "--rig", "front9"], 2, "--rig: expected one of front1"),
        (["city", "--rig", "none.json"], 3, "none.json: expected a JSON file"),
        (["city", "--lidar", "16"], 2, "--lidar: expected one of auto"),
        (["city", "--withhold", "camera=rear"], 2, "--withhold camera=rear: the clip has cameras front"),
        (["city", "--workers", "2"], 2, "--workers: works with --count"),
        (["city", "--count", "0"], 2, "--count"),
        (["city", "--seed", "-1"], 2, "--seed"),
    ],
)
def test_bad_parameters_get_one_line(
    words: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world(*words, "-o", str(tmp_path / "x")) == code
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and message in shown.err
    assert not (tmp_path / "x").exists()


def test_dry_run_names_what_would_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert world("suburb", "--count", "2", "--seed", "5", "--dry-run", "-o", str(tmp_path)) == 0
    shown = capsys.readouterr().err
    assert (
        f"would write {tmp_path}/suburb-000005" in shown and "suburb-000006" in shown and not list(tmp_path.iterdir())
    )


# many seeds: the processes of these tests make fake worlds, too

STUB = """
import importlib.abc, importlib.machinery, os, sys, time
sys.path.insert(0, {tests!r})

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name in ("jwmtool.worlds.world", "jwmtool.worlds.describe"):
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        import fake_world

        def describe(spec, rig, lidar):
            if str(spec.seed) == os.environ.get("FAKE_FAIL"):
                raise RuntimeError("broken on purpose")
            if str(spec.seed) == os.environ.get("FAKE_DIE"):
                os.kill(os.getpid(), 9)
            return fake_world.fake_world(spec, rig, lidar).description

        module.make_world, module.World, module.describe = fake_world.fake_world, fake_world.FakeWorld, describe

sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def many(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """Command line (for `tmp_path`/out, 4 seeds from 1) and environment."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/sitecustomize.py").write_text(STUB.format(tests=str(Path(__file__).parent)))
    words = [str(JWM), "world", "city", "-o", str(tmp_path / "out"), "--seed", "1", "--count", "4", "--workers", "2"]
    return [*words, "--duration", "300ms", "--size", "64x32"], {**os.environ, "PYTHONPATH": str(tmp_path / "stub")}


def start(words: list[str], env: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env={**env, **more}, capture_output=True, text=True, timeout=120)


def test_many_seeds_are_made_and_a_rerun_leaves_them(many: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    words, env = many
    done = start(words, env)
    folders = [tmp_path / f"out/city-{seed:06d}" for seed in range(1, 5)]
    assert done.returncode == 0 and done.stdout.splitlines() == [str(f) for f in folders], done.stderr
    assert [read_clip(folder).provenance[0]["seed"] for folder in folders] == [1, 2, 3, 4]
    stamps = [(folder / "clip.json").stat().st_mtime_ns for folder in folders]
    again = start(words, env)
    assert again.returncode == 0 and again.stdout == done.stdout
    assert [(folder / "clip.json").stat().st_mtime_ns for folder in folders] == stamps
    other = start([*words, "--supersampling", "3"], env)
    assert other.returncode == 1 and "city-000001: a clip made otherwise stands there" in other.stderr
    assert [(folder / "clip.json").stat().st_mtime_ns for folder in folders] == stamps
    assert start([*words, "--supersampling", "3", "--force"], env).returncode == 0


@pytest.mark.parametrize(("how", "told"), [("FAKE_FAIL", "broken on purpose"), ("FAKE_DIE", "its process died")])
def test_a_failing_seed_does_not_stop_the_others(
    how: str, told: str, many: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    words, env = many
    done = start(words, env, **{how: "2"})
    assert done.returncode == 1 and "1 of 4 worlds failed: seed 2;" in done.stderr and told in done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / f"out/city-{seed:06d}") for seed in (1, 3, 4)]
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_leaves_whole_clips_only(many: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    words, env = many
    words = [*words, "--count", "400"]
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # the first is done
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert 1 <= len(names) < 400 and not [name for name in names if not name.startswith("city-")]
    for name in names:
        json.loads((tmp_path / "out" / name / "clip.json").read_text())


# windows for training


def windows(monkeypatch: pytest.MonkeyPatch, **more: int):  # type: ignore[no-untyped-def]
    from jwmtool.worlds import dataset

    monkeypatch.setattr(dataset, "make_world", fake_world)
    spec = dataset.WindowSpec(
        width=64,
        height=32,
        num_frames=3,
        windows_per_world=2,
        world_duration_s=1.0,
        rigs=("front3",),
        arrays=tuple(ARRAYS),
    )
    return dataset.WorldWindows(spec, **more)


def test_windows_hold_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    item = windows(monkeypatch).window(3)
    assert item["images"].shape == (3, 3, 3, 32, 64) and item["images"].dtype == torch.uint8
    assert item["depth"].shape == (3, 3, 32, 64) and item["flow"].shape == (3, 3, 2, 32, 64)
    assert item["K"].shape == (3, 3, 3) and item["world_from_cam"].shape == (3, 3, 4, 4)
    assert item["actions"].shape == (3, 4) and item["world_from_rig"].dtype == torch.float64
    assert torch.allclose(torch.diff(item["times_s"]), torch.tensor(0.1, dtype=torch.float64))
    moved = se3.inverse(item["world_from_rig"][0].numpy()) @ item["world_from_rig"][2].numpy()
    assert np.allclose(moved, se3.translation((2 * SPEED_MPS / 10, 0, 0)))


def test_windows_are_decided_by_seed_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    straight = list(islice(iter(windows(monkeypatch, seed=4)), 6))
    assert [item["number"] for item in straight] == [0, 1, 2, 3, 4, 5]
    for item in islice(iter(windows(monkeypatch, seed=4, start=3)), 3):
        before = straight[item["number"]]
        assert torch.equal(item["images"], before["images"]) and torch.equal(item["times_s"], before["times_s"])
    assert not torch.equal(windows(monkeypatch, seed=5).window(0)["images"], straight[0]["images"])


def test_ranks_and_workers_share_the_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [windows(monkeypatch, rank=rank, world_size=2) for rank in range(2)]
    seen = [[item["number"] for item in islice(iter(rank), 4)] for rank in ranks]
    assert seen == [[0, 1, 4, 5], [2, 3, 6, 7]]
    resumed = [[item["number"] for item in islice(iter(rank.resumed(6)), 1)] for rank in ranks]
    assert resumed == [[5], [7]], "after three windows on each of two ranks"
    loader = torch.utils.data.DataLoader(windows(monkeypatch), batch_size=None, num_workers=2)
    assert [item["number"] for item in islice(iter(loader), 4)] == [0, 2, 1, 3]


def test_windows_that_make_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    from jwmtool.worlds.dataset import WindowSpec, WorldWindows

    with pytest.raises(UsageError, match="need more than a world's"):
        WindowSpec(num_frames=100)
    with pytest.raises(UsageError, match="taste"):
        WindowSpec(arrays=("taste",))
    with pytest.raises(UsageError, match="rank 2 of 2"):
        WorldWindows(rank=2, world_size=2)
