"""Imports point down the floors of docs/architecture.md, also those inside functions and those named in strings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jwmtool

PACKAGE = Path(jwmtool.__file__).parent
FLOORS = [  # top to bottom; packages in one inner tuple count as one
    [("cli", "commands")],
    [("joint",)],
    [("training",)],
    [("worldrec",), ("worldgen",), ("metrics",)],
    [("readers",), ("worlds",), ("rendering",), ("fitting",)],
    [("artifacts",)],
    [("gaussians",), ("stereo",)],
    [("geometry",), ("imaging",)],
    [("errors", "console", "device", "interrupt", "pool", "threads", "")],  # "" is jwmtool/__init__.py
]
PLACE = {name: (floor, group) for floor, row in enumerate(FLOORS) for group in row for name in group}


def imported(source: str) -> set[str]:
    """Top-level parts of jwmtool that a module imports or names in a string ("jwmtool.readers.dgp")."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [node.module or ""]
            if node.module == "jwmtool":
                names = [f"jwmtool.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if re.fullmatch(r"jwmtool(\.\w+)+", node.value) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "jwmtool":
                part = parts[1] if len(parts) > 1 else ""
                found.add("" if part.startswith("__") else part)
    return found


def violation(place: str, target: str) -> str | None:
    (floor, group), (target_floor, target_group) = PLACE[place], PLACE[target]
    if target_floor < floor:
        return f"{place} imports {target}, which is above it"
    if target_floor == floor and group != target_group:
        return f"{place} imports {target}, which stands beside it"
    return None


def test_every_package_has_a_floor() -> None:
    names = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    names |= {p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__"}
    assert names <= set(PLACE)


def test_imports_point_down() -> None:
    problems = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        place = "" if parts == ("__init__",) else parts[0]
        for target in imported(path.read_text()):
            assert target in PLACE, f"{path} imports jwmtool.{target}, which does not exist"
            problem = violation(place, target)
            if problem is not None:
                problems.append(f"{path.relative_to(PACKAGE)}: {problem}")
    assert problems == []


def test_the_rule_sees_what_it_must() -> None:
    source = (
        "import jwmtool.metrics.psnr\n"
        "def f():\n    from jwmtool.cli import main\n"
        "from jwmtool import console\n"
        "x = 'jwmtool.worlds.a'"
    )
    assert imported(source) == {"metrics", "cli", "console", "worlds"}
    assert violation("artifacts", "rendering") and violation("metrics", "worldrec") and violation("gaussians", "stereo")
    assert (
        not violation("commands", "cli") and not violation("readers", "artifacts") and not violation("device", "errors")
    )
