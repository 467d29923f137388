"""What WorldGen is trained on: latents prepared once, priors, and samples decided by their number."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_worldgen import RECIPE, SmallTask, coder
from standin_worldrec import write_worlds
from true_depth import CONFIG as WORLDREC

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.scene import Scene
from jwmtool.errors import InputError
from jwmtool.rendering.timeline import Timeline
from jwmtool.training.autoencoder.pictures import load_picture
from jwmtool.training.clips import Part, gather
from jwmtool.training.worldgen.prepare import KINDS, Preparer, usable
from jwmtool.training.worldgen.priors import frames_ahead, frames_between, imitated, rendered
from jwmtool.training.worldgen.samples import Spec, drawn_sample, drawn_spec, fits_carried, known_of, stacked, told
from jwmtool.training.worldgen.spread import measured_spread
from jwmtool.training.worldgen.store import CARRIED, Cut, Store, Stored, open_latents, read_cut
from jwmtool.worldgen.carry import TRUST
from jwmtool.worldgen.known import cells
from jwmtool.worldgen.rays import camera_rays
from jwmtool.worldgen.start import COVERED, FILLED
from jwmtool.worldgen.tags import TAGS, tag_numbers
from jwmtool.worldrec.model import WorldRec, build_model

PREPARER = Preparer(coder(), None, RECIPE.shapes)
PIXELS = (64, 32)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_worlds(tmp_path_factory.mktemp("worlds"), 3)


@pytest.fixture(scope="module")
def stored(worlds: Path, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    part, store = Part(worlds / "city-000000", 0, 8), Store(tmp_path_factory.mktemp("cache"), {})
    PREPARER.write(part, store)
    return open_latents(store.path(part))


@pytest.fixture(scope="module")
def worldrec() -> WorldRec:
    torch.manual_seed(0)
    return build_model(WORLDREC).eval()


def edited(folder: Path, **changes: object) -> None:
    document = json.loads((folder / "clip.json").read_text())
    (folder / "clip.json").write_text(json.dumps(document | changes))


# what is prepared


def test_a_file_holds_what_the_clip_shows(worlds: Path, stored: Stored) -> None:
    clip = read_clip(worlds / "city-000000")
    assert stored.cameras == tuple(clip.cameras) and stored.shape == PIXELS and stored.num_frames == 8
    assert stored.kinds == (*("imitated",) * len(KINDS), CARRIED) and stored.drawn
    assert stored.scenes == [0, 1, 2] and stored.carried == [3]
    assert stored.tags == {group: clip.tags[group] for group in TAGS}
    assert np.allclose(stored.times_s, np.arange(8) / 10) and np.allclose(stored.world_from_rig, clip.world_from_rig)
    found = read_cut(stored, Cut(1, 2, 1, 3, 2), prior=2)
    for view, name in enumerate(list(clip.cameras)[1:3]):
        for row, frame in enumerate((1, 3, 5)):
            picture = torch.from_numpy(load_picture(clip, (frame, name), PIXELS)).permute(2, 0, 1)
            with torch.no_grad():
                assert torch.allclose(found["latents"][view, row], coder().encode(picture[None, None])[0, 0], atol=2e-3)
        camera = clip.cameras[name]
        assert torch.allclose(found["rays"][view, 0], camera_rays(camera.K, camera.rig_from_cam, 32, 64, 16))
    assert found["prior"].shape == found["latents"].shape and bool((found["prior"] != found["latents"]).any())
    assert (
        found["coverage"].shape == (2, 3, 16, 2, 4) and 0.0 <= found["coverage"].min() <= found["coverage"].max() <= 1
    )
    assert found["layout"].shape == (2, 3, 48, 2, 4) and found["layout"].max() > 0.2, "a car drives ahead"
    assert set(read_cut(stored, Cut(0, 1, 0, 1), None)) == {"latents", "rays", "layout"}


def test_withheld_frames_and_cameras_never_enter(tmp_path: Path, worldrec: WorldRec) -> None:
    folder = write_worlds(tmp_path, 1) / "city-000000"
    edited(folder, split={"frames": [0, 3], "cameras": ["front_left"], "rules": []})
    clip, part = read_clip(folder), Part(folder, 0, 7)
    assert usable(clip, part) == (["front", "front_right"], [1, 2, 4, 5, 6])
    hidden = [*(clip.frames[k].images[name] for k in (0, 3, 7) for name in clip.cameras)]
    hidden += [frame.images["front_left"] for frame in clip.frames]
    for image in hidden:
        (folder / image.file).write_bytes(b"no picture")
    store = Store(tmp_path / "cache", {})
    replace(PREPARER, worldrec=worldrec).write(part, store)
    found = open_latents(store.path(part))
    assert found.cameras == ("front", "front_right") and np.allclose(found.times_s, [0.0, 0.1, 0.3, 0.4, 0.5])
    with pytest.raises(InputError, match="not withheld, found none"):
        usable(clip, Part(folder, 0, 1))


def test_what_is_there_is_used_again_and_other_weights_make_new_files(worlds: Path, tmp_path: Path) -> None:
    data, store = gather([worlds]), Store(tmp_path, {"autoencoder": "one"})
    PREPARER.prepare(data, store)
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 3
    victim = next(tmp_path.iterdir())
    victim.unlink()
    PREPARER.prepare(data, store)
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert again.keys() == files.keys() and [n for n in files if again[n] != files[n]] == [victim.name]
    PREPARER.prepare(data, replace(store, made_by={"autoencoder": "other"}))
    assert len(list(tmp_path.iterdir())) == 6
    part = data.held_out[0]
    before = store.path(part)
    assert store.path(replace(part, end=7)) != before
    text = (part.folder / "clip.json").read_text()
    (part.folder / "clip.json").write_text(text + "\n")
    assert store.path(part) != before
    (part.folder / "clip.json").write_text(text)
    assert store.path(part) == before


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_latents(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"12345678" * 4)
    with pytest.raises(InputError, match="latents that a training prepared"):
        open_latents(tmp_path / "a.safetensors")


# priors


def test_scenes_are_of_first_frames_or_of_frames_with_others_between() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ahead, between = frames_ahead(24, 1, rng), frames_between(24, 1, rng)
        assert ahead == list(range(len(ahead))) and 3 <= len(ahead) <= 12
        assert {b - a for a, b in pairwise(between)} <= {2, 3, 4} and len(between) >= 6
        assert frames_ahead(3, 3, rng) == [0, 1, 2] == frames_between(3, 3, rng)
        assert len(frames_ahead(24, 3, rng)) <= 4 and len(frames_between(24, 6, rng)) == 3
        assert len(frames_between(5, 1, rng)) >= 3
    assert len({len(frames_ahead(24, 1, np.random.default_rng(seed))) for seed in range(20)}) > 3


def test_a_scene_is_rendered_at_all_frames(worlds: Path, worldrec: WorldRec) -> None:
    clip = read_clip(worlds / "city-000001")
    made = rendered(clip, worldrec, [0, 1, 2], ["front", "front_left"], PIXELS, "cpu")
    assert made is not None and made.color.shape == (2, 8, 32, 64, 3) and made.coverage.shape == (2, 8, 32, 64)
    assert made.context.tolist() == [True] * 3 + [False] * 5
    assert 0.0 <= made.color.min() < made.color.max() <= 1.0 and 0.0 <= made.coverage.min() <= made.coverage.max() <= 1
    other = rendered(clip, worldrec, [4, 5, 6], ["front", "front_left"], PIXELS, "cpu")
    assert other is not None and not np.array_equal(other.color, made.color)


def test_a_scene_does_not_fade_after_the_last_frame_that_was_looked_at(
    worlds: Path, worldrec: WorldRec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that goes on where nobody looked is none: the scene ends, and is held from there."""
    clip, held = read_clip(worlds / "city-000001"), []

    class Watching(Timeline):
        def __init__(self, scene: Scene) -> None:
            held.append(scene)
            super().__init__(scene)

    monkeypatch.setattr("jwmtool.training.worldgen.priors.Timeline", Watching)
    rendered(clip, worldrec, [0, 1, 2], ["front"], PIXELS, "cpu")
    assert held[0].ego_times_us.tolist() == clip.times_us[:3].tolist() and len(held[0].ego_world_from_rig) == 3
    assert Timeline(held[0]).at(int(clip.times_us[7])) is not held[0]


def test_an_imitated_prior_is_near_the_pictures_and_has_no_holes() -> None:
    true = np.random.default_rng(0).uniform(0.4, 0.6, (2, 3, 32, 64, 3)).astype(np.float32)
    made = [imitated(true, np.random.default_rng(seed)) for seed in range(10)]
    assert all(np.abs(m.color - true).mean() < 0.2 and m.color.shape == true.shape for m in made)
    assert 0.4 < np.mean([m.coverage.mean() for m in made]) < 0.99 and not any(m.context.any() for m in made)
    alike = [all(np.array_equal(c, m.coverage[0, 0]) for c in m.coverage[0]) for m in made]
    assert any(alike) and not all(alike)


def test_scenes_of_worldrec_are_the_first_kinds(worlds: Path, tmp_path: Path, worldrec: WorldRec) -> None:
    part, store = Part(worlds / "city-000002", 0, 8), Store(tmp_path, {})
    replace(PREPARER, worldrec=worldrec).write(part, store)
    found = open_latents(store.path(part))
    assert found.kinds == (*KINDS, CARRIED)
    priors = [read_cut(found, Cut(0, 3, 0, 8), k)["prior"] for k in range(3)]
    assert not torch.allclose(priors[0], priors[1], atol=0.01) and not torch.allclose(priors[1], priors[2], atol=0.01)


# samples


def test_dropped_parts_are_zero(stored: Stored) -> None:
    spec = Spec(PIXELS, 2, 4)
    gone = replace(RECIPE, no_text=1.0, no_ego=1.0, no_rays=1.0, no_layout=1.0, no_prior=1.0, no_carried=1.0)
    sample = drawn_sample(stored, spec, gone, np.random.default_rng(0))
    assert not any(bool(sample[name].any()) for name in ("ego", "rays", "layout", "prior", "coverage"))
    assert sample["tags"].tolist() == [-1] * len(TAGS) and not bool(sample["has_prior"])
    full = replace(RECIPE, no_text=0.0, no_tag=0.0, no_ego=0.0, no_rays=0.0, no_layout=0.0, no_prior=0.0, ends=0.0)
    sample = drawn_sample(stored, spec, full, np.random.default_rng(0))
    assert all(bool(sample[name].any()) for name in ("ego", "rays", "layout", "prior", "coverage"))
    assert torch.equal(sample["tags"], tag_numbers(stored.tags)) and bool(sample["has_prior"])
    conditions = known_of(stacked([sample])).conditions(24, 16)
    assert conditions.concat is not None and conditions.concat.shape == (1, 2, 4, 24 + 16 + 6 + 48, 2, 4)


def test_shares_are_as_the_recipe_says(stored: Stored) -> None:
    spec, rngs = Spec(PIXELS, 1, 8), [np.random.default_rng(seed) for seed in range(400)]
    samples = [drawn_sample(stored, spec, RECIPE, rng) for rng in rngs]
    known = np.array([int((~s["noisy"]).sum()) for s in samples])
    assert np.mean(known == 0) == pytest.approx(0.25, abs=0.07) and np.mean(known == 1) == pytest.approx(0.35, abs=0.08)
    assert set(known) == {0, 1, 2, 3, 4}
    clean = [float(s["timesteps"][0]) for s, k in zip(samples, known, strict=True) if k]
    assert np.mean([t == 0.0 for t in clean]) == pytest.approx(2 / 3, abs=0.08) and 0.05 < max(clean) <= 0.1
    for sample, k in zip(samples, known, strict=True):
        times = sample["timesteps"]
        assert len(set(times[:k].tolist())) <= 1 and len(set(times[k:].tolist())) == 1 and 0.0 < times[-1] < 1.0
    assert np.mean([bool(s["has_prior"]) for s in samples]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([bool(s["layout"].any()) for s in samples]) == pytest.approx(0.3, abs=0.08)
    assert np.mean([(s["tags"] < 0).float().mean() for s in samples]) == pytest.approx(0.12 + 0.88 * 0.1, abs=0.05)
    ended = [s for s in samples if bool(s["has_prior"]) and not s["prior"][0, -1].any()]
    assert 5 < len(ended) < 60 and all(not s["coverage"][0, -1].any() for s in ended)
    holed = [s for s in samples if bool(s["prior"][0, 0].any()) and not s["prior"][0, 0].any(0).all()]
    assert len(holed) > 40


def test_without_a_scene_the_last_known_frame_is_carried(stored: Stored) -> None:
    """Only where it is what the carried prior was made of, so that no later frame is told."""
    recipe = replace(RECIPE, no_prior=1.0, no_carried=0.0, strides=(1,))
    samples = [drawn_sample(stored, Spec(PIXELS, 1, 4), recipe, np.random.default_rng(seed)) for seed in range(60)]
    whole = read_cut(stored, Cut(0, 3, 0, 8), prior=3)
    found = 0
    for sample in samples:
        known = int((~sample["noisy"]).sum())
        shown = bool(sample["prior"].any())
        assert shown == (known == 1), "the only frame that was carried is the clip's first"
        assert not bool(sample["has_prior"])
        if shown:
            found += 1
            assert any(torch.equal(sample["prior"][0], whole["prior"][view, :4]) for view in range(3))
            assert float(sample["coverage"].max()) == pytest.approx(TRUST, abs=0.01)
    assert found > 10
    plain = replace(recipe, no_carried=1.0)
    assert not drawn_sample(stored, Spec(PIXELS, 1, 4), plain, np.random.default_rng(1))["prior"].any()


def test_pictures_are_carried_from_each_span_on(worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jwmtool.training.worldgen.prepare._CARRIED_FROM", (0, 2))
    monkeypatch.setattr("jwmtool.training.worldgen.prepare._CARRIED_OVER", 3)
    part, store = Part(worlds / "city-000001", 0, 8), Store(tmp_path, {})
    PREPARER.write(part, store)
    found = open_latents(store.path(part))
    assert found.context[3].nonzero()[0].tolist() == [0, 3, 6] and found.context[4].nonzero()[0].tolist() == [2, 5]
    assert fits_carried(found, 3, Cut(0, 1, 3, 3), 1) and not fits_carried(found, 3, Cut(0, 1, 3, 4), 1)
    assert fits_carried(found, 4, Cut(0, 1, 1, 4), 2) and not fits_carried(found, 4, Cut(0, 1, 1, 4), 1)
    cut = read_cut(found, Cut(0, 1, 0, 8), prior=4)
    for source in (2, 5):  # a picture carried to its own camera is itself
        assert torch.allclose(cut["prior"][0, source], cut["latents"][0, source], atol=0.02)


def test_what_is_told_fits_the_frames(stored: Stored) -> None:
    whole = told(stored, Cut(0, 1, 0, 8), None, before=False)
    assert np.allclose(whole["times_s"], np.arange(8) / 10) and torch.allclose(whole["ego"][:, 1], torch.tensor(0.6))
    part = told(stored, Cut(0, 1, 2, 3, 2), None, before=True)
    assert np.allclose(part["times_s"], [0.0, 0.2, 0.4]) and torch.equal(part["latents"], whole["latents"][:, 2:8:2])
    assert torch.allclose(part["ego"][:, -1], torch.tensor(2.0))
    assert not told(stored, Cut(0, 1, 3, 1), None, before=False)["ego"].any()
    assert told(stored, Cut(0, 1, 3, 1), None, before=True)["ego"].any()


def test_a_step_is_of_few_pictures(stored: Stored) -> None:
    recipe = replace(RECIPE, frames=((1, 0.2), (4, 0.4), (8, 0.2), (12, 0.2)), views=0.5)
    specs = {drawn_spec(stored, recipe, np.random.default_rng(seed)) for seed in range(200)}
    assert {(spec.views, spec.frames) for spec in specs} == {(1, 1), (1, 4), (1, 8), (3, 1), (3, 4)}
    assert drawn_spec(stored, replace(recipe, frames=((30, 1.0),)), np.random.default_rng(0)).frames == 8


def test_all_of_a_step_have_one_spec_and_depend_on_their_numbers_alone(worlds: Path, tmp_path: Path) -> None:
    others = write_worlds(tmp_path / "square", 2)
    for folder in others.iterdir():
        document = json.loads((folder / "clip.json").read_text())
        for camera in document["cameras"]:
            camera["width"] = 32
        (folder / "clip.json").write_text(json.dumps(document))
        for file in folder.glob("images/*/*.png"):
            Image.open(file).crop((0, 0, 32, 32)).save(file)
    task = SmallTask(worlds, tmp_path / "cache")
    task._data = gather([worlds, others])
    PREPARER.prepare(task._data, task._store)
    batches = task.batches(0, 4, 0, 1)
    whole = [next(batches) for _ in range(16)]
    shapes = {tuple(batch["latents"].shape) for batch in whole}
    pictures = [(batch["latents"].shape[:3].numel(), batch["latents"].shape[1:3].numel()) for batch in whole]
    assert all(found == 4 * each * max(1, RECIPE.most_pictures // each) for found, each in pictures)
    assert len({each for _, each in pictures}) > 1, "videos of several lengths"
    assert all(len(batch["noise"].flatten(1).unique(dim=0)) == len(batch["noise"]) for batch in whole)
    assert {shape[-2:] for shape in shapes} == {(2, 4), (2, 2)} and {shape[1] for shape in shapes} == {1, 3}
    resumed = task.batches(20, 4, 0, 1)
    ranks = [task.batches(20, 2, rank, 2) for rank in (0, 1)]
    for batch in whole[5:8]:
        again, parts = next(resumed), [next(rank) for rank in ranks]
        for name, tensor in batch.items():
            assert torch.equal(again[name], tensor)
            videos = [part[name].unflatten(0, (2, -1)) for part in parts]
            assert torch.equal(torch.cat([videos[i % 2][i // 2] for i in range(4)]), tensor)
    task.recipe = replace(RECIPE, seed=1)
    spec = Spec(PIXELS, 1, 4)
    other = task.sample(0, spec)
    task.recipe = RECIPE
    assert not torch.equal(other["noise"], task.sample(0, spec)["noise"])


def test_coverage_is_told_in_cells(stored: Stored) -> None:
    maps = torch.zeros(1, 1, 32, 64)
    maps[..., :4, :8] = 1.0
    assert cells(maps, 16).sum() == 2.0, "two squares of 4 px"
    found = [float(read_cut(stored, Cut(0, 1, 0, 8), prior)["coverage"].mean()) for prior in stored.scenes]
    assert 0.3 < min(found) < 1.0, "the name of the file decides which of them have holes"


def test_spread_is_how_latents_lie_about_their_priors(stored: Stored) -> None:
    """Cell by cell as by a plain loop; a clip without priors tells nothing."""
    cut = read_cut(stored, Cut(0, len(stored.cameras), 0, stored.num_frames), 0)
    found = measured_spread([stored, stored])
    assert found is not None
    for kind, chosen in enumerate((lambda share: share >= 0.95, lambda share: share <= 0.05)):
        pairs = [
            (cut["prior"][v, t, :, y, x].double(), cut["latents"][v, t, :, y, x].double())
            for v, t, y, x in np.ndindex(*cut["coverage"].shape[:2], *cut["coverage"].shape[3:])
            if chosen(cut["coverage"][v, t, :, y, x].mean())
        ]
        if len(pairs) < 50:
            assert found[0][kind].unique().tolist() == pytest.approx([(COVERED, FILLED)[kind][0]])
            continue
        prior, latents = (torch.stack(part) for part in zip(*pairs, strict=True))
        for channel in (0, 5):
            gain = torch.linalg.lstsq(prior[:, channel, None], latents[:, channel, None]).solution.item()
            variance = (latents[:, channel] - gain * prior[:, channel]).square().mean().item()
            assert found[0][kind, channel].item() == pytest.approx(gain, abs=1e-3)
            assert found[1][kind, channel].item() == pytest.approx(min(0.99, max(0.01, variance)), abs=1e-3)
    assert measured_spread([replace(stored, kinds=())]) is None
