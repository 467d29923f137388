"""First pictures: what the network computes, that words and cameras decide, and that `jwm generate` begins with one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from one_line import told_in_one_line
from torch import Tensor

from jwmtool.artifacts.weights import write_weights
from jwmtool.cli.main import run
from jwmtool.errors import InputError, UsageError
from jwmtool.joint.drive import DriveRequest, resolve_drive
from jwmtool.joint.imagined import imagined
from jwmtool.worldgen.first_frame import (
    CONFIGS,
    KIND,
    FirstFrame,
    FirstFrameConfig,
    coarse_of,
    load_first_frame,
    missing_of,
    noises,
    small_of,
)
from jwmtool.worldgen.first_frame_size import describe_config
from jwmtool.worldgen.sampler import Sampling
from jwmtool.worldgen.tags import TAGS, tag_numbers
from jwmtool.worldgen.unet import Look, UNet

SMALL = FirstFrameConfig((8, 32), (8, 32), 1, 16)
SIZE = (64, 32)


def shaken(model: torch.nn.Module, by: float = 0.05) -> torch.nn.Module:
    """No longer with zeros where networks begin with zeros."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(by * torch.randn(weight.shape, generator=draw))
    return model.eval()


def small_network() -> FirstFrame:
    torch.manual_seed(0)
    network = shaken(FirstFrame(SMALL))
    assert isinstance(network, FirstFrame)
    return network


def noise(views: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    first, second, third = (torch.randn(views, *shape, generator=draw) for shape in noises(SIZE))
    return first, second, third


def told(**tags: str) -> Tensor:
    return tag_numbers(tags)[None]


RAYS = torch.rand(1, 6, 4, 8, generator=torch.Generator().manual_seed(3))


# the U-Net


def test_a_unet_is_nothing_at_first_and_takes_odd_sizes() -> None:
    net = UNet(3, 5, (8, 16, 32), (1, 2, 1), told=4, looks=(2,))
    x, words = torch.randn(2, 3, 7, 13), torch.randn(2, 4)
    assert torch.equal(net.cells(x, words), torch.zeros(2, 5, 7, 13))
    shaken(net)
    made = net.cells(x, words)
    assert made.shape == (2, 5, 7, 13) and bool(made.any())
    assert not torch.allclose(made, net.cells(x, words + 1.0)), "what it is told matters"
    assert torch.allclose(net.cells(x[1:], words[1:]), made[1:], atol=1e-5), "pictures of a batch are apart"


def test_views_of_a_sample_look_at_each_other_unless_alone() -> None:
    look = Look(32)
    shaken(look, 0.2)
    x = torch.randn(4, 32, 3, 5)
    apart, pairs = look(x), look(x, views=2)
    assert torch.allclose(look(x[2:], views=2), pairs[2:], atol=1e-5), "samples are apart"
    assert not torch.allclose(apart, pairs, atol=1e-3)
    same = torch.cat([x[:1], x[:1]])
    assert torch.allclose(look(same, views=2), look(same), atol=1e-5), "twice the same is nothing new"
    look.alone = True
    assert torch.allclose(look(x, views=2), apart, atol=1e-5)


# what it makes


def test_both_goes_together_hold_a_picture() -> None:
    pictures = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    first, second, third = noises(SIZE)
    assert coarse_of(small_of(pictures)).shape[1:] == first
    assert missing_of(pictures).shape[1:] == second and small_of(pictures).shape[1:] == third


def test_a_network_that_knows_the_picture_paints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """From any noise: what is taken for clean is where the flow ends."""
    picture = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    network = small_network()

    def knows(*given: Tensor, **_: Tensor) -> Tensor:
        return coarse_of(small_of(picture)) if len(given[0][0]) == 12 else missing_of(picture)

    monkeypatch.setattr(network, "forward", knows)
    for seed in range(2):
        made = network.paint(RAYS, told(weather="snow"), noise(seed=seed), guidance=3.0)
        assert torch.allclose(made, picture, atol=1e-4)


def test_words_cameras_and_noise_decide() -> None:
    network = small_network()
    snow = network.paint(RAYS, told(weather="snow"), noise())
    assert snow.shape == (1, 3, 32, 64) and 0.0 <= float(snow.min()) <= float(snow.max()) <= 1.0
    assert torch.equal(snow, network.paint(RAYS, told(weather="snow"), noise()))
    others = {
        "words": network.paint(RAYS, told(weather="fog"), noise()),
        "rays": network.paint(1.0 - RAYS, told(weather="snow"), noise()),
        "noise": network.paint(RAYS, told(weather="snow"), noise(seed=1)),
        "guidance": network.paint(RAYS, told(weather="snow"), noise(), guidance=3.0),
    }
    for name, other in others.items():
        assert float((snow - other).abs().mean()) > 1e-4, name
    nothing = network.paint(RAYS, told(), noise())
    assert torch.equal(nothing, network.paint(RAYS, told(), noise(), guidance=3.0)), "nothing to insist on"


def test_events_are_insisted_on_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    """At guidance 2 the difference that words make counts twice, and that of an event three times more."""
    network = small_network()
    event, none = (int(tag_numbers({"event": name})[-1]) for name in ("horse", "none"))
    snow = int(tag_numbers({"weather": "snow"})[1])

    def tells(
        noisy: Tensor, rays: Tensor, times: Tensor, tags: Tensor, small: Tensor | None = None, views: int = 1
    ) -> Tensor:
        worth = (
            0.1 * float(tags[0, 1] == snow) + 0.01 * float(tags[0, -1] == event) + 0.001 * float(tags[0, -1] == none)
        )
        return torch.full_like(noisy, worth if small is None else 0.0)

    monkeypatch.setattr(network, "forward", tells)

    def level(guidance: float, **tags: str) -> float:
        color = network.paint(RAYS, told(**tags), noise(), guidance=guidance)
        return float((color.mean() - network.paint(RAYS, told(), noise()).mean()) / 0.25)

    assert level(1.0, weather="snow", event="horse") == pytest.approx(0.11, abs=1e-4)
    assert level(2.0, weather="snow", event="horse") == pytest.approx(0.2 + 0.05, abs=1e-4)
    assert level(2.0, weather="snow") == pytest.approx(0.2, abs=1e-4)
    assert level(2.0, event="none") == pytest.approx(0.002, abs=1e-4)


def test_cameras_see_each_other_unless_one_at_a_time() -> None:
    network = small_network()
    rays, tags = torch.cat([RAYS, 1.0 - RAYS]), told(weather="rain").expand(2, -1)
    two, alone = noise(2), tuple(part[:1] for part in noise(2))
    one = network.paint(RAYS, tags[:1], (alone[0], alone[1], alone[2]))
    assert float((network.paint(rays, tags, two, views=2)[:1] - one).abs().mean()) > 1e-5
    network.one_view_at_a_time(True)
    assert torch.allclose(network.paint(rays, tags, two, views=2)[:1], one, atol=1e-4)
    network.one_view_at_a_time(False)
    assert float((network.paint(rays, tags, two, views=2)[:1] - one).abs().mean()) > 1e-5


def test_a_drive_begins_with_what_its_words_tell() -> None:
    network = small_network()

    def picture(weather: str, seed: int, temperature: float = 1.0) -> Tensor:
        drive = resolve_drive(DriveRequest(5, size=SIZE, tags={"weather": weather}))
        return imagined(drive, network, seed, Sampling(temperature=temperature), "cpu")

    snow = picture("snow", 1)
    assert snow.shape == (1, 1, 3, 32, 64) and torch.equal(snow, picture("snow", 1))
    assert not torch.equal(snow, picture("snow", 2)) and not torch.equal(snow, picture("rain", 1))


def test_high_pictures_are_made_as_high_as_was_learned() -> None:
    network = small_network()
    small, large = (
        imagined(resolve_drive(DriveRequest(2, size=size)), network, 0, Sampling(), "cpu")
        for size in ((224, 128), (448, 256))
    )
    assert large.shape == (1, 1, 3, 256, 448)
    again = torch.nn.functional.avg_pool2d(large[0], 2)
    assert float((again - small[0]).abs().mean()) < 0.05 * float(small.std())


# files and commands


def test_weights_are_read_and_others_refused(tmp_path: Path) -> None:
    network = small_network()
    path = tmp_path / "model.safetensors"
    write_weights(path, network.state_dict(), {"task": KIND, "config": SMALL.to_dict()})
    read = load_first_frame(tmp_path)
    assert torch.equal(read.paint(RAYS, told(), noise()), network.paint(RAYS, told(), noise()))
    write_weights(path, network.state_dict(), {"task": "repair", "config": {}}, force=True)
    with pytest.raises(InputError, match="repair"):
        load_first_frame(tmp_path)


def test_generate_makes_up_a_first_picture_unless_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["generate", "--frames", "2", "--size", "64x32", "--weather", "snow", "--dry-run", "-o", "run.mp4"]
    assert run(asked) == 0
    assert "first-frame-mini" in capsys.readouterr().err
    assert run([*asked, "--first-frame-model", "none"]) == 0
    assert "first-frame-mini" not in capsys.readouterr().err
    told_in_one_line(capsys, [*asked, "--first-frame-model", "repair-mini"], 3, "a first-frame network")
    told_in_one_line(capsys, [*asked, "--first-frame-model", "nowhere"], 3, "--first-frame-model PATH")
    given = ["--first-frame-model", "first-frame-mini", "--first-frame", "street.png"]
    told_in_one_line(capsys, [*asked, *given], 2, "expected neither --prior nor --first-frame")


def test_info_tells_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--config", "first-frame-mini", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    total = sum(p.numel() for p in FirstFrame(CONFIGS["mini"]).parameters())
    assert found["parameters"]["total"] == total and 0.5 < found["gflops"]["coarse"] < 2.0
    with pytest.raises(UsageError, match="first-frame-mini"):
        describe_config("first-frame-huge")


def test_the_shipped_one_tells_weathers_apart(shipped_pictures: Callable[..., Tensor]) -> None:
    """In fog little is seen that stands out from what is beside it, and night is darker than day."""
    fog, clear = shipped_pictures(weather="fog"), shipped_pictures(weather="clear", time_of_day="day")
    night = shipped_pictures(weather="clear", time_of_day="night")
    assert float(night.mean()) < float(clear.mean()) - 0.1
    assert float(fog.diff(dim=3).abs().mean()) < 0.8 * float(clear.diff(dim=3).abs().mean())


@pytest.fixture(scope="module")
def shipped_pictures() -> Callable[..., Tensor]:
    from jwmtool.joint.models import FIRST_FRAME, find_checkpoint

    network = load_first_frame(find_checkpoint(None, FIRST_FRAME, "--first-frame-model"))

    def pictures(**tags: str) -> Tensor:
        drive = resolve_drive(DriveRequest(1, size=(224, 128), tags=tags))
        return torch.cat([imagined(drive, network, seed, Sampling(), "cpu")[0] for seed in range(3)])

    return pictures


def test_every_tag_has_a_place() -> None:
    network = small_network()
    assert network.coarse.tags.num_embeddings == sum(map(len, TAGS.values()))
