"""Build the man pages from the commands: `python -m jwmtool.cli.man man/ [--check]`."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from typing import Any

import jwmtool
from jwmtool import console
from jwmtool.cli.group import load_command
from jwmtool.cli.table import VERBS

EXIT_CODES = {
    "0": "Success.",
    "1": "Failure: the disk is full, and the like.",
    "2": "Usage: a flag or a combination of flags makes no sense.",
    "3": "An input is missing, damaged or of another version.",
    "4": "The output exists; \\-\\-force replaces it.",
    "5": "An optional part is missing: an extra, a GPU, a weights file.",
    "6": "A \\-\\-fail\\-if condition held.",
    "130": "Interrupted.",
}
FILES = {
    "jwm.toml": "Defaults for flags, in the working folder: sections [defaults] and one for each verb.",
    "~/.config/jwm/config.toml": "The same for every folder; jwm.toml wins, key by key.",
}
VARIABLES = {
    "JWM_CONFIG": "Configuration file to read instead of those under FILES.",
    "JWM_DEVICE, JWM_SEED, JWM_QUIET, JWM_VERBOSE": "Defaults of the shared flags.",
    "JWM_<VERB>_<FLAG>": "Default of any other flag, JWM_RENDER_SIZE=416x128 for instance.",
    "JWM_THREADS": "CPU threads to use.",
}


def pages() -> dict[str, str]:
    """File name to roff text of every page."""
    found = {"jwm.1": _main_page()}
    return found | {f"jwm-{verb}.1": _verb_page(verb) for verb in VERBS}


def out_of_step(folder: Path) -> list[str]:
    """Names of pages that are missing, outdated, or of no command."""
    wanted = pages()
    stale = [name for name, text in wanted.items() if not _same(folder / name, text)]
    return stale + sorted(path.name for path in folder.glob("*.1") if path.name not in wanted)


def main() -> None:
    """Write the pages, or with --check compare them."""
    parser = argparse.ArgumentParser(prog="python -m jwmtool.cli.man", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="fail if a page is out of step; write nothing")
    args = parser.parse_args()
    if args.check:
        stale = out_of_step(args.folder)
        if stale:
            console.notice(f"man pages out of step with the commands: {', '.join(stale)}; run `make man`")
            raise SystemExit(1)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    for path in args.folder.glob("*.1"):
        path.unlink()
    for name, text in pages().items():
        (args.folder / name).write_text(text, encoding="utf-8")


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _main_page() -> str:
    lines = [_title("jwm"), ".SH NAME", r"jwm \- open joint world model for autonomous driving"]
    lines += [".SH SYNOPSIS", r".B jwm", r"\fIVERB\fR [\fIINPUT\fR]... [\fB\-o\fR \fIOUTPUT\fR] [\fIOPTIONS\fR]"]
    lines += [".SH DESCRIPTION", "Turns driving recordings into Gaussian scenes, and scenes into driving video."]
    lines += ["With \\-o, a verb prints the path that it wrote; an input of \\- reads such paths from stdin,"]
    lines += ["so that verbs can be piped. Results go to stdout, everything else to stderr."]
    lines += [".SH COMMANDS"]
    for verb, entry in VERBS.items():
        lines += [".TP", rf".BR jwm\-{verb} (1)", _escape(entry.summary)]
    lines += [".SH EXIT STATUS", *_definitions(EXIT_CODES, escape=False)]
    lines += [".SH ENVIRONMENT", *_definitions(VARIABLES), ".SH FILES", *_definitions(FILES)]
    return "\n".join(lines) + "\n"


def _verb_page(verb: str) -> str:
    command = load_command(verb)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    summary = VERBS[verb].summary.rstrip(".")
    summary = summary[0].lower() + summary[1:]
    lines = [_title(f"jwm-{verb}"), ".SH NAME", rf"jwm\-{verb} \- {_escape(summary)}"]
    usage = " ".join(rf"\fI{_escape(_argument_name(p))}\fR" for p in arguments)
    required = " ".join(rf"\fB{_escape(p.opts[0])}\fR \fI{_escape(_value(p))}\fR" for p in options if p.required)
    lines += [
        ".SH SYNOPSIS",
        rf".B jwm {verb}",
        " ".join(part for part in (usage, required, r"[\fIOPTIONS\fR]") if part),
    ]
    lines += [".SH DESCRIPTION", *_paragraphs(inspect.cleandoc(command.help or ""))]
    if arguments:
        lines += [".SH ARGUMENTS"]
        for p in arguments:
            lines += [".TP", rf".I {_escape(_argument_name(p))}", _escape(getattr(p, "help", "") or "")]
    lines += [".SH OPTIONS"]
    for p in options:
        names = ", ".join(rf"\fB{_escape(name)}\fR" for name in [*p.opts, *p.secondary_opts])
        value = _value(p)
        lines += [".TP", names + (rf" \fI{_escape(value)}\fR" if value else ""), _escape(_option_help(p))]
    lines += [".SH EXAMPLES"]
    for example in command.examples:
        lines += [".PP", ".nf", ".RS", _escape(example), ".RE", ".fi"]
    others = ", ".join(rf"\fBjwm\-{other}\fR(1)" for other in VERBS if other != verb)
    lines += [".SH SEE ALSO", rf"\fBjwm\fR(1), {others}"]
    return "\n".join(lines) + "\n"


def _title(name: str) -> str:
    return f'.TH {_escape(name.upper())} 1 "" "jwm {jwmtool.__version__}" "User Commands"'


def _argument_name(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _value(param: Any) -> str:
    """What an option takes: its metavar, its choices, or the kind of value; empty for a switch."""
    if param.is_flag or getattr(param, "count", False):
        return ""
    choices = getattr(getattr(param, "type_descriptor", None) or getattr(param, "type", None), "choices", None)
    return str(param.metavar or ("|".join(map(str, choices)) if choices else "VALUE"))


def _option_help(param: Any) -> str:
    text = (param.help or "").strip()
    default = param.default
    if param.required:
        text += " Required."
    elif default not in (None, False, (), []) and not callable(default):
        shown = ", ".join(map(str, default)) if isinstance(default, (list, tuple)) else default
        text += f" Default: {shown}."
    if param.multiple:
        text += " May be repeated."
    variable = param.envvar if isinstance(param.envvar, str) else None
    return f"{text} Environment: {variable}." if variable else text


def _definitions(entries: dict[str, str], escape: bool = True) -> list[str]:
    rows: list[str] = []
    for name, text in entries.items():
        rows += [".TP", rf"\fB{_escape(name)}\fR", _escape(text) if escape else text]
    return rows


def _paragraphs(text: str) -> list[str]:
    """Blank lines part paragraphs; indented blocks stay as they are."""
    rows: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        block = block.replace("\b\n", "")
        if block.startswith(" "):
            rows += [".PP", ".nf", *(_escape(line) for line in block.splitlines()), ".fi"]
        else:
            rows += [".PP", _escape(" ".join(block.split()))]
    return rows


def _escape(text: str) -> str:
    """Roff reads a backslash, a minus that must stay one, and a leading dot or quote in its own way."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + escaped if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()
