"""Fusion: what was observed well is never overwritten by what was seen worse, window to window and scene to scene."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import random_scene
from small_fusion import clip_of_a_street, fused, model_that_knows_it, views_of  # noqa: F401
from torch import Tensor
from true_depth import TrueDepth, knowing

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_info import describe_scene
from jwmtool.artifacts.scene_io import read_scene, scene_content_sha256, write_scene
from jwmtool.artifacts.tokens import NEVER_S, TOKEN_FIELDS, Tokens
from jwmtool.errors import InputError, UsageError
from jwmtool.gaussians.model import STATIC_SIGMA_S
from jwmtool.gaussians.rasterize import rasterize
from jwmtool.gaussians.sky import sample_sky
from jwmtool.geometry import se3
from jwmtool.rendering.timeline import Timeline
from jwmtool.worldrec.alignment import align, corrected
from jwmtool.worldrec.extend import extend_scene
from jwmtool.worldrec.fusion import fuse_window, unroll
from jwmtool.worldrec.gate import FINER, Facts, Gate
from jwmtool.worldrec.join import join_scenes
from jwmtool.worldrec.model import WorldRec
from jwmtool.worldrec.state import State
from jwmtool.worldrec.stream import reconstruct_clip

HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def halves(clip: Clip, model: WorldRec) -> tuple[Scene, Scene]:
    """Scenes of the first and of the last ten frames."""
    given = clip.images(withheld=False)
    return (
        reconstruct_clip(clip, model, keys=[key for key in given if key[0] < 10]),
        reconstruct_clip(clip, model, keys=[key for key in given if key[0] >= 6]),
    )


def picture(scene: Scene, clip: Clip, frame: int) -> Tensor:
    scene = Timeline(scene).at(clip.frames[frame].time_us, clip.camera_at(frame, "front"), "front")
    camera = scene.local(clip.camera_at(frame, "front"))
    bare = rasterize(scene.gaussians, camera, scene.seconds(clip.frames[frame].time_us))
    assert scene.sky is not None
    sky = sample_sky(scene.sky, torch.from_numpy(camera.rays()).float())
    return (bare.color + (1.0 - bare.alpha)[..., None] * sky).clamp(0.0, 1.0)


def psnr(scene: Scene, clip: Clip, frame: int) -> float:
    truth = torch.from_numpy(clip.load_image(frame, "front") / 255.0)
    return float(-10.0 * ((picture(scene, clip, frame) - truth) ** 2).mean().log10())


# From window to window


def test_the_untrained_gate_is_the_rule() -> None:
    def facts(residual: float = 0.0, error: float = 0.0, finer: float = 0.5, unlike: float = 0.0) -> Facts:
        return Facts(*(torch.tensor([v]) for v in (residual, error, finer, unlike, 3.0, 0.5)))

    def says(**values: float) -> tuple[bool, bool]:
        same, better = Gate()(facts(**values))
        return bool(same > 0), bool(better > 0)

    assert says() == (True, True)
    assert says(finer=FINER - 0.01) == (True, False) and says(finer=-1.0) == (True, False)
    assert not says(error=1.01)[0] and says(error=0.99)[0]
    assert not says(unlike=0.11)[0] and says(unlike=0.09)[0]
    assert not says(residual=0.11, finer=0.0)[0] and says(residual=-0.09, finer=0.0)[0]
    assert says(residual=0.11, finer=0.5)[0], "a token seen from afar may be off by more"


def test_a_window_fused_twice_adds_next_to_nothing(clip: Clip, model: WorldRec) -> None:
    views = views_of(clip, 0, 2, 4, 6)
    once, twice = fused(model, views), fused(model, views, views)
    assert len(once.gaussians) > 2000
    assert len(twice.gaussians) < 1.15 * len(once.gaussians)


def test_coarse_never_overwrites_fine(clip: Clip, model: WorldRec) -> None:
    near, far = views_of(clip, 12, 13, 14, 15), views_of(clip, 4, 5, 6, 7)
    before, after = fused(model, near), fused(model, near, far)
    # Whatever stood there in more than one picture, and finer than from afar, is still there.
    eye = far.scene_from_cam[:, :3, 3]
    nearest_m = (before.tokens.anchor[:, None] - eye).norm(dim=-1).amin(1)
    finer = before.tokens.footprint_m < 0.8 * nearest_m / far.Ks[0, 0, 0]
    sure = finer & (before.tokens.support >= 2)
    left = (after.tokens.anchor[None] - before.tokens.anchor[sure][:, None]).norm(dim=-1).amin(1) < 1e-5
    assert int(sure.sum()) > 200 and float(left.float().mean()) > 0.99
    # Near first or far first, the same places end up with patches of the same fineness.
    turned = fused(model, far, near)
    assert len(turned.gaussians) < 1.1 * len(after.gaussians) and len(after.gaussians) < 1.1 * len(turned.gaussians)
    # And where near ones follow at once they take over.
    far, near = views_of(clip, 6, 7, 8, 9), views_of(clip, 10, 11, 12, 13)
    alone, turned = fused(model, far), fused(model, far, near)
    kept = (turned.tokens.anchor[None] - alone.tokens.anchor[:, None]).norm(dim=-1).amin(1) < 1e-5
    assert 0.3 < float(kept.float().mean()) < 0.95


def test_who_is_over_covers_nothing(clip: Clip, model: WorldRec) -> None:
    first, second = views_of(clip, 6, 8, 10), views_of(clip, 7, 9, 11)
    with torch.no_grad():
        state, found = fused(model, first), model(second)
        short = state.gaussians.replace(time_sigma=torch.full_like(state.gaussians.time_sigma, 0.01))
        alone = fuse_window(State.empty(), found, second, model.gate)
        joined = fuse_window(state, found, second, model.gate)
        near = replace(state.tokens, way_m=torch.zeros_like(state.tokens.way_m))  # nor may they live on
        apart = fuse_window(replace(state, gaussians=short, tokens=near), found, second, model.gate)
    assert len(joined.tokens) < 0.9 * (len(state.tokens) + len(alone.tokens))
    # All new patches come; whether old ones go is decided by the new ones' lives.
    new = (apart.tokens.anchor[None] - alone.tokens.anchor[:, None]).norm(dim=-1).amin(1) < 1e-5
    assert bool(new.all())


def test_what_confirms_a_token_is_told_to_it(clip: Clip, model: WorldRec) -> None:
    near, far = views_of(clip, 12, 13, 14, 15), views_of(clip, 4, 5, 6, 7)
    before, after = fused(model, near), fused(model, near, far)
    distance = (after.tokens.anchor[None] - before.tokens.anchor[:, None]).norm(dim=-1)
    there, row = distance.amin(1) < 1e-5, distance.argmin(1)
    seen = there & (after.tokens.support[row] > before.tokens.support)
    assert int(seen.sum()) > 100
    assert bool((after.tokens.first_s[row[seen]] < 0.8).all()), "the far pictures are earlier"
    assert bool((after.tokens.asked[row[seen]] > before.tokens.asked[seen]).all())


def test_seeing_through_shortens_life(clip: Clip, model: WorldRec) -> None:
    first, second = views_of(clip, 0, 2, 4), views_of(clip, 8, 9, 11)
    true_depth = model.depth
    model.depth = TrueDepth(clip, scale=0.6)  # type: ignore[assignment]
    with torch.no_grad():
        wrong = model(first)
    model.depth = true_depth
    with torch.no_grad():
        state = fuse_window(State.empty(), wrong, first, model.gate)
        after = fuse_window(state, model(second), second, model.gate)
    distance = (after.tokens.anchor[None] - state.tokens.anchor[:, None]).norm(dim=-1)
    there, row = distance.amin(1) < 1e-5, distance.argmin(1)
    cut = there & (after.tokens.until_s[row] < NEVER_S) & (state.tokens.until_s >= NEVER_S)
    assert int(cut.sum()) > 100
    tokens = row[cut]
    assert bool((after.tokens.until_s[tokens] >= 0.8 - 1e-4).all())
    mine = torch.isin(after.tokens.of_gaussian.long(), tokens)
    g, owner = after.gaussians.select(mine), after.tokens.of_gaussian[mine].long()
    until = after.tokens.until_s[owner]
    fade = torch.exp(-0.5 * ((until - g.time_mid) / g.time_sigma) ** 2)
    assert float(fade.max()) < 0.5, "when something is seen through it, it is more gone than there"
    # What was never confirmed and is seen through by several is no surface at all.
    lost = ~there & (state.tokens.support < 1)
    assert int(lost.sum()) > 0


def test_moving_tokens_are_never_merged_by_position(clip: Clip, model: WorldRec) -> None:
    first, second = views_of(clip, 0, 2, 4), views_of(clip, 6, 8, 10)
    with torch.no_grad():
        found = model(first)
        moving = torch.zeros_like(found.gaussians.velocity)
        moving[:, 0] = 5.0
        state = fuse_window(
            State.empty(), replace(found, gaussians=found.gaussians.replace(velocity=moving)), first, model.gate
        )
        assert bool(state.tokens.moving.all())
        alone = fuse_window(State.empty(), model(second), second, model.gate)
        after = fuse_window(state, model(second), second, model.gate)
    assert len(after.gaussians) == len(state.gaussians) + len(alone.gaussians)
    n = len(state.gaussians)
    for f in fields(state.gaussians):
        assert torch.equal(getattr(after.gaussians, f.name)[:n], getattr(state.gaussians, f.name)), f.name


def test_unrolled_windows_train_the_gate(clip: Clip) -> None:
    model = knowing(clip)
    windows = [views_of(clip, 0, 2, 4), views_of(clip, 6, 8, 10), views_of(clip, 12, 14, 15)]
    scenes = unroll(model, windows)
    assert len(scenes) == 3
    assert len(scenes[0].gaussians) < len(scenes[1].gaussians) < len(scenes[2].gaussians)
    camera = windows[0].camera(1)
    early, _ = scenes[2].render(camera, float(windows[0].times_s[1]))  # an earlier window's view, after all updates
    loss = (early - windows[0].images[1].permute(1, 2, 0)).abs().mean()
    loss.backward()
    for name, parameter in model.gate.named_parameters():
        if name.startswith("judge.2"):
            assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
    # Softly or not, the same rule decides.
    hard = fused(model, *windows)
    assert abs(len(hard.gaussians) / int((scenes[2].gaussians.opacities > 0.4).sum()) - 1.0) < 0.1


# Tokens in scenes


def token_scene() -> Scene:
    scene = random_scene(40)
    rng = torch.Generator().manual_seed(1)
    values = {
        f: torch.rand(12, 3, generator=rng) if f in ("anchor", "eye", "color") else torch.rand(12, generator=rng)
        for f in TOKEN_FIELDS
    }
    values["moving"] = values["moving"] > 0.5
    values["until_s"] = torch.full((12,), NEVER_S)
    owner = torch.randint(-1, 12, (40,), generator=rng).int()
    tokens = Tokens(**values, of_gaussian=owner)
    return replace(scene, tokens=tokens, sky_weight=torch.rand(6, 4, 4, generator=rng))


def test_tokens_survive_a_file(tmp_path: Path) -> None:
    scene = token_scene()
    write_scene(scene, tmp_path / "s.h5")
    back = read_scene(tmp_path / "s.h5")
    assert back.tokens is not None and scene.tokens is not None
    for name in (*TOKEN_FIELDS, "of_gaussian"):
        ours, theirs = getattr(scene.tokens, name), getattr(back.tokens, name)
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), name
    assert back.sky_weight is not None and scene.sky_weight is not None
    assert torch.equal(back.sky_weight, scene.sky_weight)
    assert scene_content_sha256(back) == scene_content_sha256(scene)
    assert scene_content_sha256(replace(scene, tokens=None)) != scene_content_sha256(scene)
    assert describe_scene(back)["num_tokens"] == 12
    write_scene(replace(scene, tokens=None), tmp_path / "t.h5")
    assert read_scene(tmp_path / "t.h5").tokens is None


def test_damaged_tokens_are_refused(tmp_path: Path) -> None:
    import h5py

    write_scene(token_scene(), tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["tokens/of_gaussian"][3] = 12
    with pytest.raises(InputError, match="of_gaussian"):
        read_scene(tmp_path / "s.h5")


def test_a_scene_whose_gaussians_were_chosen_has_no_tokens() -> None:
    scene = token_scene()
    assert replace(scene, gaussians=scene.gaussians.select(torch.arange(10))).tokens is None
    assert replace(scene, gaussians=scene.gaussians.detach()).tokens is not None


def test_tokens_keep_their_gaussians() -> None:
    tokens = token_scene().tokens
    assert tokens is not None
    keep = torch.arange(12) % 2 == 0
    some, stays = tokens.select(keep)
    owner = tokens.of_gaussian.long()
    assert torch.equal(stays, (owner < 0) | keep[owner.clamp(min=0)])
    known = some.of_gaussian >= 0
    assert torch.equal(some.anchor[some.of_gaussian[known].long()], tokens.anchor[owner[stays][known]])
    both = Tokens.concat([some, tokens])
    last = both.of_gaussian[len(some.of_gaussian) :]
    assert torch.equal(both.anchor[last[last >= 0].long()], tokens.anchor[owner[owner >= 0]])


# From scene to scene


def test_disjoint_scenes_add(halves: tuple[Scene, Scene]) -> None:
    a, b = halves
    away = replace(b, world_from_scene=se3.translation([600.0, 0.0, 0.0]) @ b.world_from_scene)
    for one, other in ((a, away), (replace(a, tokens=None), away)):
        both = join_scenes([one, other])
        assert len(both.gaussians) == len(a.gaussians) + len(b.gaussians)
        far = both.gaussians.means[len(a.gaussians) :] - b.gaussians.means
        assert torch.allclose(far, far[:1].expand_as(far), atol=1e-3)
        assert both.tokens is not None and len(both.tokens.of_gaussian) == len(both.gaussians)
    times_us = {int(time_us) for scene in halves for time_us in scene.exposure["front"].times_us}
    assert both.exposure["front"].times_us.tolist() == sorted(times_us)


def test_who_saw_the_sky_speaks_for_it() -> None:
    one, other = random_scene(5), random_scene(5)
    half = torch.zeros(6, 4, 4)
    half[:3] = 5.0
    a = replace(one, sky=torch.full((6, 4, 4, 3), 0.2), sky_weight=half)
    b = replace(other, sky=torch.full((6, 4, 4, 3), 0.8), sky_weight=5.0 - half)
    both = join_scenes([a, b])
    assert both.sky is not None and both.sky_weight is not None
    assert torch.allclose(both.sky[:3], torch.tensor(0.2), atol=0.02)
    assert torch.allclose(both.sky[3:], torch.tensor(0.8), atol=0.02)
    assert torch.allclose(both.sky_weight, torch.tensor(5.0))
    plain = join_scenes([replace(a, sky_weight=None), replace(b, sky_weight=None)])
    assert plain.sky is not None and plain.sky_weight is None
    assert torch.allclose(plain.sky, torch.tensor(0.5), atol=0.02)


@pytest.mark.parametrize("with_tokens", [True, False])
def test_the_order_of_scenes_does_not_matter(halves: tuple[Scene, Scene], clip: Clip, with_tokens: bool) -> None:
    a, b = halves if with_tokens else [replace(scene, tokens=None) for scene in halves]
    ab, ba = join_scenes([a, b]), join_scenes([b, a])
    assert len(ab.gaussians) < 0.95 * (len(a.gaussians) + len(b.gaussians)), "they overlap"
    for frame in (2, 6, 10, 14):
        assert abs(psnr(ab, clip, frame) - psnr(ba, clip, frame)) < 0.3
    assert psnr(ab, clip, 2) > psnr(b, clip, 2) + 1.0 and psnr(ab, clip, 14) > psnr(a, clip, 14) + 1.0


def test_a_scene_joined_with_itself_is_itself(halves: tuple[Scene, Scene], clip: Clip) -> None:
    a, _ = halves
    for scene in (a, replace(a, tokens=None)):
        twice = join_scenes([scene, scene])
        assert len(twice.gaussians) < 1.1 * len(a.gaussians)
        assert abs(psnr(twice, clip, 2) - psnr(scene, clip, 2)) < 0.7


def test_scenes_of_other_worlds_or_days(halves: tuple[Scene, Scene]) -> None:
    a, b = halves
    with pytest.raises(UsageError, match="within 20 km"):
        join_scenes([a, replace(b, world_from_scene=se3.translation([5e5, 0, 0]))])
    with pytest.raises(UsageError, match="two scenes"):
        join_scenes([a])
    week_us = 7 * 86_400_000_000
    later = replace(b, time_origin_us=b.time_origin_us + week_us)
    both = join_scenes([a, later])
    assert both.time_origin_us == later.time_origin_us
    assert float(both.gaussians.time_mid.abs().max()) < 10.0, "float32 seconds stay exact"
    assert int((both.gaussians.time_sigma >= STATIC_SIGMA_S).sum()) > 1000


def test_alignment_finds_a_wrong_pose(halves: tuple[Scene, Scene], clip: Clip) -> None:
    a, b = halves
    off = se3.translation([0.4, -0.3, 0.1]) @ se3.rotation_z(0.01)
    wrong = replace(b, world_from_scene=off @ b.world_from_scene, ego_world_from_rig=off @ b.ego_world_from_rig)
    found = align(wrong, a, Path("b.h5"))
    left = found.world_from_world @ off
    assert np.abs(left[:3, 3]).max() < 0.05 and np.abs(left[:3, :3] - np.eye(3)).max() < 2e-3
    assert found.residual_m < 0.5 * found.before_m
    right = corrected(wrong, found)
    assert np.allclose(right.ego_world_from_rig, b.ego_world_from_rig, atol=0.08)
    assert psnr(join_scenes([a, right]), clip, 14) > psnr(join_scenes([a, wrong]), clip, 14) + 0.5


def test_alignment_refuses_strangers(halves: tuple[Scene, Scene]) -> None:
    a, b = halves
    away = replace(b, world_from_scene=se3.translation([300.0, 0.0, 0.0]) @ b.world_from_scene)
    with pytest.raises(InputError, match="in common"):
        align(away, a, Path("b.h5"))


def test_a_drive_streamed_into_a_scene(halves: tuple[Scene, Scene], clip: Clip, model: WorldRec) -> None:
    a, _ = halves
    keys = [key for key in clip.images(withheld=False) if key[0] >= 6]
    grown = extend_scene(a, clip, model, keys=keys)
    assert np.array_equal(grown.world_from_scene, a.world_from_scene)
    assert psnr(grown, clip, 14) > psnr(a, clip, 14) + 1.0
    assert psnr(grown, clip, 2) > psnr(a, clip, 2) - 1.0, "what was there stays"
    joined = join_scenes(list(halves))
    assert len(grown.gaussians) < 1.1 * len(joined.gaussians)
    times_us = {int(time_us) for scene in halves for time_us in scene.exposure["front"].times_us}
    assert set(grown.exposure["front"].times_us.tolist()) == times_us


def test_a_second_drive_over_the_same_road(halves: tuple[Scene, Scene], clip: Clip, model: WorldRec) -> None:
    """Little is added where the first one was, nothing that it showed is lost, and what is new comes along."""
    a, b = halves
    frames = [
        replace(f, time_us=f.time_us + HOUR_US, images={
            name: replace(image, time_us=image.time_us + HOUR_US) for name, image in f.images.items()
        })
        for f in clip.frames
    ]  # fmt: skip
    later = replace(clip, frames=frames)
    keys = clip.images(withheld=False)
    again = extend_scene(a, later, model, keys=[key for key in keys if key[0] < 10])
    assert len(again.gaussians) < 1.15 * len(a.gaussians)
    for frame in (2, 6):
        assert psnr(again, clip, frame) > psnr(a, clip, frame) - 0.1
        assert psnr(again, later, frame) > psnr(a, clip, frame) - 1.0
    further = extend_scene(a, later, model, keys=keys)
    assert len(further.gaussians) > len(a.gaussians) + 0.3 * len(b.gaussians)
    assert psnr(further, later, 14) > psnr(b, clip, 14) - 1.0
    assert psnr(further, later, 14) > psnr(a, later, 14) + 1.0
    assert psnr(further, clip, 2) > psnr(a, clip, 2) - 0.1


def test_command(halves: tuple[Scene, Scene], tmp_path: Path) -> None:
    for name, scene in zip("ab", halves, strict=True):
        write_scene(scene, tmp_path / f"{name}.h5")

    def fuse(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jwmtool.cli.main", "fuse", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = fuse("a.h5", "b.h5", "--align", "-o", "ab.h5")
    assert done.returncode == 0 and done.stdout.strip() == "ab.h5" and "in common" in done.stderr
    scene = read_scene(tmp_path / "ab.h5")
    assert scene.tokens is not None and scene.history[-1]["argv"][:2] == ["jwm", "fuse"]
    assert fuse("a.h5", "b.h5", "-o", "ab.h5").returncode == 4
    assert fuse("a.h5", "-o", "c.h5").returncode == 2
    assert fuse("a.h5", "nothing.h5", "-o", "c.h5").returncode == 3
    assert fuse(str(tmp_path), "a.h5", "-o", "c.h5").returncode == 2
    done = fuse("a.h5", str(tmp_path), "--model", "none", "-o", "c.h5")
    assert done.returncode == 3 and "--model PATH" in done.stderr
