"""Training settings: JSON round trip, refusals, the schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwmtool.errors import InputError, UsageError
from jwmtool.training.settings import TrainSettings, read_settings, write_settings


@given(
    st.builds(
        TrainSettings,
        batch=st.integers(1, 4096),
        lr=st.floats(1e-8, 1.0),
        lr_floor=st.floats(0.0, 1.0),
        save_every_s=st.floats(0.0, 1e6),
        seed=st.integers(0, 2**62),
        precision=st.sampled_from(["fp32", "bf16"]),
    )
)
def test_round_trip(settings: TrainSettings) -> None:
    assert TrainSettings.from_dict(settings.to_dict()) == settings


def test_file_round_trip_and_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write_settings(path, TrainSettings(lr=0.5))
    assert read_settings(path) == TrainSettings(lr=0.5)
    path.write_text('{"grad_clip": 1}')
    assert type(read_settings(path).grad_clip) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"learning_rate": 1}', "settings.json: expected keys from batch.*found 'learning_rate'"),
        ('{"batch": 2.5}', "batch as int, found 2.5"),
        ('{"batch": true}', "batch as int, found True"),
        ('{"precision": 16}', "precision as str"),
        ("[]", "a JSON object"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings(path)


@pytest.mark.parametrize(
    "values",
    [{"batch": 0}, {"lr": 0.0}, {"ema_decay": 1.0}, {"precision": "fp16"}, {"lr_floor": 1.5}, {"log_every": 0}],
)
def test_bad_values(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        TrainSettings.from_dict(values)


def test_schedule() -> None:
    s = TrainSettings(lr=1.0, lr_floor=0.1, warmup=10)
    assert s.learning_rate(0, 0.0) == pytest.approx(0.1)
    assert s.learning_rate(9, 0.0) == s.learning_rate(50, 0.0) == 1.0
    assert s.learning_rate(50, 0.5) == pytest.approx(0.55)
    assert s.learning_rate(99, 1.0) == s.learning_rate(99, 2.0) == pytest.approx(0.1)
    assert TrainSettings(lr=1.0, warmup=0).learning_rate(0, 0.0) == 1.0
