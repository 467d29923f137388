"""Scene files: round trip, content hash, damage, and what a kill or a full disk leaves behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import random_scene

from jwmtool.artifacts.ply import write_ply
from jwmtool.artifacts.scene_io import read_scene, scene_content_sha256, write_scene
from jwmtool.errors import InputError, OutputExistsError
from jwmtool.gaussians.model import Gaussians


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_scene(random_scene(), tmp_path / "scene.h5")
    return tmp_path / "scene.h5"


@settings(max_examples=15)
@given(n=st.integers(0, 300), sh_degree=st.integers(0, 3), seed=st.integers(0, 1000))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, n: int, sh_degree: int, seed: int) -> None:
    scene = random_scene(n, sh_degree, seed)
    file = tmp_path_factory.mktemp("scene") / "s.h5"
    write_scene(scene, file)
    back = read_scene(file)
    for f in fields(Gaussians):
        ours, theirs = getattr(scene.gaussians, f.name), getattr(back.gaussians, f.name)
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), f.name
    assert np.array_equal(scene.world_from_scene, back.world_from_scene) and back.world_from_scene.dtype == np.float64
    assert scene.time_origin_us == back.time_origin_us
    assert scene.sky is not None and back.sky is not None and torch.equal(scene.sky, back.sky)
    assert list(back.exposure) == ["cam/front"] and list(back.cameras) == ["cam/front"]
    assert np.array_equal(back.exposure["cam/front"].times_us, scene.exposure["cam/front"].times_us)
    assert torch.equal(back.exposure["cam/front"].affine, scene.exposure["cam/front"].affine)
    assert np.array_equal(back.cameras["cam/front"].K, scene.cameras["cam/front"].K)
    assert np.array_equal(back.cameras["cam/front"].rig_from_cam, scene.cameras["cam/front"].rig_from_cam)
    assert (back.cameras["cam/front"].width, back.cameras["cam/front"].height) == (128, 64)
    assert np.array_equal(back.ego_times_us, scene.ego_times_us)
    assert np.array_equal(back.ego_world_from_rig, scene.ego_world_from_rig)
    assert back.actors == scene.actors and back.history == scene.history
    assert scene_content_sha256(back) == scene_content_sha256(scene)


def test_a_scene_with_nothing_optional(tmp_path: Path) -> None:
    scene = replace(random_scene(3), sky=None, exposure={}, cameras={}, actors=[], history=[])
    write_scene(scene, tmp_path / "s.h5")
    back = read_scene(tmp_path / "s.h5")
    assert back.sky is None and not back.exposure and not back.cameras and not back.actors


def test_layout_is_readable_without_our_code(path: Path) -> None:
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert attributes["format"] == "jwm-scene" and attributes["version"] == "1.0"
        assert attributes["num_gaussians"] == 100 and attributes["sh_degree"] == 1
        assert attributes["length_unit"] == "m" and attributes["color_space"] == "sRGB"
        assert attributes["quaternion_order"] == "wxyz" and attributes["world_from_scene"].dtype == np.float64
        assert attributes["content_sha256"] == scene_content_sha256(random_scene())
        assert json.loads(attributes["history"])[0]["argv"] == ["jwm", "test"]
        assert set(file) == {"gaussians", "sky", "exposure", "cameras", "ego", "actors"}
        assert file["gaussians/sh"].shape == (100, 4, 3)


def test_rows_are_chunked(tmp_path: Path) -> None:
    write_scene(random_scene(70_000, 0), tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["gaussians/means"].chunks == (32_768, 3)


def test_hash_sees_content_and_not_provenance() -> None:
    scene = random_scene()
    known = scene_content_sha256(scene)
    assert scene_content_sha256(replace(scene, history=[])) == known
    g = scene.gaussians
    nudged = g.opacities.clone()
    nudged[3] += 1e-6
    changed = [
        replace(scene, gaussians=g.replace(opacities=nudged)),
        replace(scene, time_origin_us=1),
        replace(scene, sky=None),
        replace(scene, actors=[]),
        replace(scene, cameras={}),
        replace(scene, world_from_scene=np.eye(4)),
    ]
    assert len({known, *map(scene_content_sha256, changed)}) == len(changed) + 1


def test_readers_trust_num_gaussians(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["num_gaussians"] = 60
    back = read_scene(path)
    assert len(back.gaussians) == 60 and torch.equal(back.gaussians.means, random_scene().gaussians.means[:60])


def test_an_unknown_group_and_a_newer_minor_version_are_fine(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_group("later")["feature"] = np.zeros((3, 8))
        file.attrs["version"] = "1.7"
    assert len(read_scene(path).gaussians) == 100


def _drop(name: str):
    def damage(file: h5py.File) -> None:
        del file[name]

    return damage


def _put(name: str, values: np.ndarray):
    def damage(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return damage


def _set(name: str, value: object):
    def damage(file: h5py.File) -> None:
        file.attrs[name] = value

    return damage


def _nan(name: str, row: int):
    def damage(file: h5py.File) -> None:
        values = file[name][()]
        values[row] = np.nan
        file[name][...] = values

    return damage


def _drop_attribute(name: str):
    def damage(file: h5py.File) -> None:
        del file.attrs[name]

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_set("version", "2.0"), "version 2.0"),
        (_set("format", "other"), "jwm-scene"),
        (_drop_attribute("version"), "version"),
        (_drop_attribute("world_from_scene"), "world_from_scene"),
        (_set("num_gaussians", -1), "num_gaussians"),
        (_set("num_gaussians", 101), "shape"),
        (_set("num_gaussians", "many"), "num_gaussians"),
        (_set("sh_degree", 2), "gaussians/sh"),
        (_set("world_from_scene", np.diag([1.0, 2, 1, 1])), "rotation"),
        (_set("history", "{"), "JSON"),
        (_drop("gaussians/quats"), "gaussians/quats"),
        (_drop("gaussians"), "gaussians/means"),
        (_drop("ego"), "ego/times_us"),
        (_drop("cameras/cam%2Ffront/K"), "K"),
        (_put("gaussians/means", np.zeros((100, 2), np.float32)), "gaussians/means"),
        (_put("gaussians/opacities", np.full(100, 1.5, np.float32)), "opacities"),
        (_put("gaussians/scales", np.zeros((100, 3), np.float32)), "scales"),
        (_put("gaussians/actor", np.zeros(100, np.float32)), "actor"),
        (_put("gaussians/sh", np.zeros((100, 5, 3), np.float32)), "sh"),
        (_put("sky", np.zeros((6, 4, 3, 3), np.float32)), "sky"),
        (_nan("gaussians/means", 7), "gaussians/means"),
        (_nan("ego/world_from_rig", 2), "ego/world_from_rig"),
        (_put("exposure/cam%2Ffront/times_us", np.array([5, 5])), "times_us"),
    ],
)
def test_damage_is_one_clear_line(path: Path, damage, said: str) -> None:
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(InputError) as caught:
        read_scene(path)
    message = str(caught.value)
    assert said in message and str(path) in message and "\n" not in message


@pytest.mark.parametrize("keep", [0, 4, 600, 5000, -1])
def test_a_truncated_file(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError) as caught:
        read_scene(path)
    assert "\n" not in str(caught.value)


def test_not_a_scene_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    for bad in (tmp_path / "text.h5", tmp_path / "none.h5", tmp_path):
        with pytest.raises(InputError):
            read_scene(bad)


@pytest.mark.parametrize("name", ["means", "opacities", "sh"])
def test_flipped_bits_in_the_data_are_seen(path: Path, name: str) -> None:
    """Compressed rows carry a checksum."""
    with h5py.File(path) as file:
        chunk = file[f"gaussians/{name}"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    for position in np.linspace(chunk.byte_offset + 2, chunk.byte_offset + chunk.size - 1, 20).astype(int):
        damaged = bytearray(raw)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            read_scene(path)
        assert "\n" not in str(caught.value)


def test_an_existing_file_stays_without_force(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputExistsError):
        write_scene(random_scene(5), path)
    assert path.read_bytes() == before
    write_scene(random_scene(5), path, force=True)
    assert len(read_scene(path).gaussians) == 5


TARGETS = ("h5", "ply", "splat")
EXPORT = """
import sys
if {hang}:
    import os, time
    os.fsync = lambda descriptor: (print("writing", flush=True), time.sleep(60))
from jwmtool.cli.main import main
main(["export", "in.ply", "--to", "{target}", "-o", "out.{target}", "--force"])
"""


@pytest.fixture(params=TARGETS)
def export(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A folder with a source and an old output, and the format to write."""
    write_ply(random_scene(2000).gaussians, tmp_path / "in.ply")
    (tmp_path / f"out.{request.param}").write_bytes(b"old")
    return tmp_path, request.param


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_while_writing_leaves_the_old_file(export: tuple[Path, str], number: int) -> None:
    folder, target = export
    script = EXPORT.format(hang=True, target=target)
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert (folder / f"out.{target}").read_bytes() == b"old"
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130 and stderr == "jwm: error: interrupted\n"
        assert sorted(p.name for p in folder.iterdir()) == ["in.ply", f"out.{target}"]


def test_a_full_disk_leaves_the_old_file(export: tuple[Path, str]) -> None:
    folder, target = export
    script = EXPORT.format(hang=False, target=target)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert done.stderr == f"jwm: error: out.{target}: File too large\n" and done.stdout == ""
    assert (folder / f"out.{target}").read_bytes() == b"old"
    assert sorted(p.name for p in folder.iterdir()) == ["in.ply", f"out.{target}"]
