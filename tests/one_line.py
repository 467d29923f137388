"""What goes wrong is told in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from jwmtool.cli.main import run


def told_in_one_line(capsys: pytest.CaptureFixture[str], words: Sequence[str], code: int, message: str) -> None:
    """`jwm WORDS` ends with a code and a last line on stderr that has the message, and leaves no `run` behind."""
    assert run(list(words)) == code
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not Path("run").exists()
