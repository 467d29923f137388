"""Repair: renders beside what was seen from the nearest recorded place, and what a network makes of both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from one_line import told_in_one_line
from street_scene import lifted_scene, street_clip

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.scene import Scene
from jwmtool.artifacts.scene_io import write_scene
from jwmtool.artifacts.weights import write_weights
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry.trajectory import Offset
from jwmtool.joint.drive import DriveRequest, resolve_drive
from jwmtool.joint.prior import PriorRenderer, kept
from jwmtool.rendering.timeline import Timeline
from jwmtool.worldgen.carry import TRUST
from jwmtool.worldgen.reference import Reference, References, stacked
from jwmtool.worldgen.repair import (
    FAR_M,
    KIND,
    NEAR_M,
    Repair,
    RepairConfig,
    Seen,
    joined,
    load_repair,
    repaired,
    seen_of,
)
from jwmtool.worldgen.repair_size import describe_config

SMALL = RepairConfig((8, 16, 16), (1, 1, 1))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return street_clip(tmp_path_factory.mktemp("street") / "clip")


@pytest.fixture(scope="module")
def scene(clip: Clip) -> Scene:
    return lifted_scene(clip)


def some(count: int = 2, height: int = 32, width: int = 64) -> Seen:
    rng = np.random.default_rng(0)

    def maps(channels: int) -> torch.Tensor:
        return torch.from_numpy(rng.random((count, channels, height, width), np.float32))

    return Seen(maps(3), maps(1), maps(3), maps(1), maps(3))


@pytest.mark.parametrize("size", [(32, 64), (16, 16), (48, 80), (112, 208)])
def test_untrained_it_mixes_what_it_is_given(size: tuple[int, int]) -> None:
    """Whatever the size; most of it is the render."""
    seen, model = some(2, *size), Repair(SMALL)
    shares = model.shares.detach().softmax(0)
    expected = sum(share * part for share, part in zip(shares, (seen.color, seen.carried, seen.still), strict=True))
    with torch.no_grad():
        made = model(seen)
    assert torch.allclose(made, torch.as_tensor(expected), atol=1e-5)
    assert shares.argmax() == 0 and float(shares[0]) > 0.5


def test_pictures_do_not_look_at_each_other() -> None:
    torch.manual_seed(0)
    model = Repair(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    seen = some(3)
    one = Seen(**{name: part[1:2] for name, part in seen.maps().items()})
    assert torch.allclose(repaired(model, seen)[1:2], repaired(model, one), atol=1e-5)
    again = joined([one, one])
    assert again.color.shape[0] == 2 and torch.equal(again.still[1], seen.still[1])


def test_darker_pictures_are_repaired_alike() -> None:
    """Night or day: what is seen at half the brightness becomes what it would have become, at half of it."""
    torch.manual_seed(0)
    model = Repair(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    seen = some()
    dark = replace(seen, color=seen.color / 2, carried=seen.carried / 2, still=seen.still / 2)
    with torch.no_grad():
        assert torch.allclose(model(dark), model(seen) / 2, atol=1e-4)


def test_the_reference_is_the_nearest_recorded_place(clip: Clip, scene: Scene) -> None:
    references = References(scene, Timeline(scene))
    drive = resolve_drive(DriveRequest(5, size=(160, 96)), scene)
    color = PriorRenderer(scene).render(drive, range(5)).color[0].permute(0, 2, 3, 1).numpy()
    for frame in (3, 1):
        pose = drive.path.world_from_rig[frame]
        found = references.of(drive.camera_at(0, frame), pose, drive.cameras[0].name, int(drive.path.times_us[frame]))
        assert float(found.away_m) < 0.01
        assert np.abs(found.still - color[frame]).mean() < 2e-3, "on the path it is the render itself"
        assert np.abs(found.carried - color[frame]).mean() < 5e-3
        assert float(found.coverage.mean()) > 0.95
    beside = resolve_drive(DriveRequest(5, size=(160, 96), offset=Offset(y_m=1.0)), scene)
    place = beside.camera_at(0, 2), beside.path.world_from_rig[2], beside.cameras[0].name
    found = references.of(*place, int(beside.path.times_us[2]))
    assert float(found.away_m) == pytest.approx(1.0, abs=0.1)
    assert np.isinf(references.of(*place, int(scene.ego_times_us.max()) + 1).away_m), "nobody saw what is then"
    assert np.abs(found.still - color[2]).mean() < 2e-3
    assert np.abs(found.carried - found.still).mean() > 0.01, "carried to the side"
    both = stacked([[found, found, found]])
    assert both.carried.shape == (1, 3, 96, 160, 3) and both.coverage.shape == (1, 3, 96, 160)
    seen = seen_of(np.stack([color[:3]]), np.ones((1, 3, 96, 160), np.float32), both)
    assert seen.color.shape == (3, 3, 96, 160) and seen.carried_coverage.shape == (3, 1, 96, 160)
    assert np.array_equal(seen.still[1].permute(1, 2, 0).numpy(), found.still)


def test_of_places_as_near_the_latest_counts(scene: Scene) -> None:
    standing = replace(scene, ego_world_from_rig=np.repeat(scene.ego_world_from_rig[:1], len(scene.ego_times_us), 0))
    drive = resolve_drive(DriveRequest(1, size=(64, 32)), standing)
    asked: list[int] = []

    class Watched(Timeline):
        def at(self, time_us: int, *others: object, **named: object) -> Scene:
            asked.append(time_us)
            return super().at(time_us, *others, **named)  # type: ignore[arg-type]

    References(standing, Watched(standing)).of(drive.camera_at(0, 0), standing.ego_world_from_rig[0], "front", 0)
    assert asked == [int(standing.ego_times_us[-1])]


class Whitening(torch.nn.Module):
    """Makes everything white."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, seen: Seen) -> torch.Tensor:
        return torch.ones_like(seen.color) + self.nothing


def test_renders_are_repaired_and_shown_bare(scene: Scene) -> None:
    scene = replace(scene, sky=None)
    drive = resolve_drive(DriveRequest(2, size=(64, 32), offset=Offset(y_m=FAR_M)), scene)
    plain = PriorRenderer(scene).render(drive, range(2))
    made = PriorRenderer(scene, Whitening()).render(drive, range(2))  # type: ignore[arg-type]
    assert float(made.color.min()) == 1.0 and float(plain.color.min()) < 0.9
    assert torch.equal(made.bare, plain.bare) and torch.equal(made.coverage, plain.coverage)
    assert torch.equal(plain.trust, plain.coverage) and float(plain.coverage.min()) < TRUST
    assert torch.equal(made.trust, made.coverage.clamp(min=TRUST)), "a repaired hole is no hole"
    assert float(kept(0 * made.color, made, 1.0).min()) == pytest.approx(TRUST)
    pathless = replace(scene, ego_times_us=scene.ego_times_us[:0], ego_world_from_rig=scene.ego_world_from_rig[:0])
    left = PriorRenderer(pathless, Whitening()).render(drive, range(1))  # type: ignore[arg-type]
    assert float(left.color.min()) < 0.9 and not left.repaired, "nobody was there to look"


def test_near_a_recorded_place_what_is_covered_stays() -> None:
    seen = replace(some(3), away_m=torch.tensor([0.0, (NEAR_M + FAR_M) / 2, 2 * FAR_M]))
    seen = replace(seen, coverage=torch.ones_like(seen.coverage))
    seen.coverage[:, :, :4] = 0.0
    made = repaired(Whitening(), seen)
    assert float(made[:, :, :4].min()) == 1.0, "holes are filled everywhere"
    assert torch.equal(made[0, :, 4:], seen.color[0, :, 4:]) and float(made[2].min()) == 1.0
    assert torch.allclose(made[1, :, 4:], (1.0 + seen.color[1, :, 4:]) / 2)


def test_weights_are_those_that_were_written_and_others_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Repair(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "model.safetensors"
    write_weights(path, model.state_dict(), {"task": KIND, "config": SMALL.to_dict()})
    seen = some()
    assert torch.equal(repaired(load_repair(tmp_path), seen), repaired(model, seen))
    write_weights(path, model.state_dict(), {"task": "autoencoder", "config": {}}, force=True)
    with pytest.raises(InputError, match="autoencoder"):
        load_repair(tmp_path)


def test_generate_repairs_unless_told_not_to(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(scene, tmp_path / "scene.h5")
    monkeypatch.chdir(tmp_path)
    asked = ["generate", "--prior", "scene.h5", "--frames", "2", "--size", "64x32", "--dry-run", "-o", "run"]
    assert run(asked) == 0
    assert "repair-mini" in capsys.readouterr().err
    assert run([*asked, "--repair", "none"]) == 0
    assert "repair-mini" not in capsys.readouterr().err
    told_in_one_line(capsys, [*asked, "--repair", "autoencoder-mini"], 3, "a repair network")
    told_in_one_line(capsys, ["generate", "--repair", "repair-mini", "-o", "run"], 2, "expected --prior SCENE")


def test_info_tells_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--config", "repair-mini", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] == sum(p.numel() for p in Repair(RepairConfig()).parameters())
    assert 1.0 < told["gflops"] < 10.0
    with pytest.raises(UsageError, match="repair-mini"):
        describe_config("repair-huge")


def test_a_reference_has_the_shapes_it_says() -> None:
    one = Reference(*(np.zeros(shape, np.float32) for shape in ((4, 6, 3), (4, 6), (4, 6, 3), ())))
    assert stacked([[one], [one]]).still.shape == (2, 1, 4, 6, 3)
