"""The house: what the Makefile, the pin and the package metadata promise each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import pytest

import jwmtool

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_versions_agree() -> None:
    assert re.search(rf"^## {re.escape(jwmtool.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert distribution("jwmtool").version == jwmtool.__version__


def test_the_core_does_not_ask_for_what_pins_numpy() -> None:
    core = PROJECT["project"]["dependencies"]
    assert not any("nuscenes" in line for line in core)
    assert PROJECT["project"]["optional-dependencies"]["nuscenes"][0].startswith("nuscenes-devkit")
    # nuscenes-devkit asks for numpy below 2: the core must leave room for it, or the extra cannot be installed.
    assert "numpy>=1.26" in core


def test_the_cpu_pin_stands_in_one_place() -> None:
    pin = [line for line in (ROOT / "constraints/torch-cpu.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(pin) == 1 and pin[0].startswith("torch==")
    version = pin[0].removeprefix("torch==")
    for name in ("Makefile", "pyproject.toml", ".ci/run", "README.md"):
        assert version not in (ROOT / name).read_text(), name


def test_schemas_are_shipped() -> None:
    assert (files("jwmtool") / "artifacts" / "clip.schema.json").is_file()
    assert (files("jwmtool") / "py.typed").is_file()


@pytest.mark.parametrize("target", ["demo", "test", "check", "man", "clean"])
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["samples/pipeline.sh", "samples/pipeline_cuda.sh", ".ci/run"])
def test_scripts_are_sound(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", script], cwd=ROOT).returncode == 0


def test_the_license_is_apache() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT).as_posix() for p in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
)
def test_links_in_the_docs_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
