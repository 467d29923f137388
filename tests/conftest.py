"""Shared fixtures: where the real recordings are, a small street, and settings that tests must not inherit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("jwm", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jwm")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings, from JWM_DATA; skips without it."""
    value = os.environ.get("JWM_DATA")
    if not value:
        pytest.skip("JWM_DATA names no folder of recordings")
    if not Path(value).is_dir():
        pytest.fail(f"JWM_DATA={value} is no folder")
    return Path(value)


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the user's configuration file nor their JWM_ variables may change a test."""
    for name in list(os.environ):
        if name.startswith("JWM_") and name not in ("JWM_DATA", "JWM_THREADS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` skip where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
