"""What may stand behind %gradwatch: its commands, their options, and the help made from them."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, NoReturn, get_args

from gradwatch.errors import UsageError
from gradwatch.records import Detail, SubjectKind
from gradwatch.reporters.json import HeldKey, Sort

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = """\
%gradwatch watch [MODEL ...] [-o FILE] [--detail parameters|modules|nodes] [--force]
                            record from here on; without a model whatever trains
%gradwatch status           what is being recorded, and where
%gradwatch stop             end the recording
%gradwatch show [--step N]  gradient flow and held memory of the latest session
%gradwatch why [NAME] [--step N]
                            why a gradient is None, zero or stale; without a name all findings
%gradwatch gradients [--step N] [--kind parameter|module|node]
%gradwatch held [VARIABLE] [--by line|module|op|node|class|dtype] [--step N]
                            bytes held for backward; of a live tensor with no recording
%gradwatch try CHANGE [MODULES]
                            try one change with the step after the next: checkpoint blocks.3, bf16, save-on-cpu, ...
%gradwatch graph [VARIABLE] [--step N]
                            the autograd graph, by module; of a live tensor with no recording
%gradwatch memory           which variables and cells hold memory and graphs, and what an exception keeps
%gradwatch release          let go of the last exception and what its frames hold
%gradwatch panel            the session as in the editor, live while it is recorded
%gradwatch open FILE [OTHER] [--step N]
                            look at a session file in that panel, beside another one
%gradwatch help [COMMAND]   all options of a command

%%gradwatch [MODEL ...] [-o FILE] [--detail ...] [--force]
                            record this cell, with its panel above and its picture below
"""


class _HelpAsked(Exception):  # not an error
    pass


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would exit with."""

    def format_help(self) -> str:
        return USAGE if self.prog == "%gradwatch" else super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog.split(' ', maxsplit=1)[0]} help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002  # argparse's signature
        raise _HelpAsked


def parse_line(line: str) -> argparse.Namespace | None:
    """Read a %gradwatch line; None when it asked for help, which has been printed. Raises UsageError."""
    return _parse(_line_parser(), line)


def parse_cell(line: str) -> argparse.Namespace | None:
    """Read what stands behind %%gradwatch. As `parse_line`."""
    return _parse(_cell_parser(), line)


def print_help(command: str | None) -> None:
    """Print the help of one command, or of all. Raises UsageError for one that is not known."""
    if command is None:
        print(USAGE, end="")
    else:
        parse_line(f"{command} --help")


def unquoted(word: str) -> str:
    """Take off the quotes that keep a word with spaces together."""
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def _parse(parser: _Parser, line: str) -> argparse.Namespace | None:
    # Without POSIX rules quotes inside an expression, as in models["a"], stay.
    words = shlex.shlex(line, posix=False)
    words.whitespace_split, words.commenters = True, ""
    try:
        return parser.parse_args([unquoted(word) for word in words])
    except ValueError:
        raise UsageError(f"a quote is not closed in: {line}") from None
    except _HelpAsked:
        return None


def _line_parser() -> _Parser:
    parser = _Parser("%gradwatch", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="%gradwatch")
    for name, (text, add_options) in COMMANDS.items():
        made = commands.add_parser(name, description=text, allow_abbrev=False)
        add_options(made)
    return parser


def _cell_parser() -> _Parser:
    parser = _Parser("%%gradwatch", description="Record this cell and show what it trained.", allow_abbrev=False)
    _add_recording(parser)
    return parser


def _add_recording(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="what to record (default: everything that trains)")
    add("-o", "--output", metavar="FILE", help="session file")
    add("--detail", choices=get_args(Detail), default="modules", help="how much to record (default: %(default)s)")
    add("--force", action="store_true", help="overwrite FILE")


def _add_gradients(parser: argparse.ArgumentParser) -> None:
    _add_step(parser)
    add = parser.add_argument
    add("--kind", choices=get_args(SubjectKind), default="parameter", help="of what (default: %(default)s)")
    add("--sort", choices=get_args(Sort), default="model", help="order of the rows (default: %(default)s)")


def _add_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a parameter or module, such as encoder.0.weight")
    parser.add_argument("--step", type=int, metavar="N", help="only what was so at this step (default: all steps)")


def _add_held(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variable", nargs="?", metavar="VARIABLE", help="a tensor, such as loss: what its graph holds")
    parser.add_argument("--by", choices=get_args(HeldKey), help="what the bytes are split by")
    _add_step(parser)


TRIALS: dict[str, str] = {
    "checkpoint": "checkpoint",
    "bf16": "bf16 saving",
    "save-on-cpu": "save_on_cpu",
    "inplace": "in-place activation",
    "fused-attention": "fused attention",
}
"""What stands behind `%gradwatch try`, and the change that it names."""


def _add_try(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("change", choices=tuple(TRIALS), help="what to change")
    parser.add_argument("modules", nargs="?", default="*", metavar="MODULES", help="names of modules, such as blocks.*")


def _add_graph(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variable", nargs="?", metavar="VARIABLE", help="a tensor, such as loss: the graph behind it")
    _add_step(parser)


def _add_step(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--step", type=int, metavar="N", help="which step of the session (default: the last)")


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="session file, or a folder with those of ranks")
    parser.add_argument("other", nargs="?", metavar="OTHER", help="a session to compare with")
    _add_step(parser)


def _add_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("about", nargs="?", metavar="COMMAND", help="a command")


def _add_nothing(_: argparse.ArgumentParser) -> None:
    pass


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "watch": ("Record from here on, until %gradwatch stop.", _add_recording),
    "status": ("Say what is being recorded, and where.", _add_nothing),
    "stop": ("End the recording.", _add_nothing),
    "show": ("Show gradient flow and held memory of the latest session.", _add_step),
    "why": ("Say why a gradient is None, zero, stale or not finite.", _add_why),
    "gradients": ("Show every gradient at one step of the latest session.", _add_gradients),
    "held": ("Show the bytes held for backward, in the latest session or by a live tensor.", _add_held),
    "try": ("Try a change that lowers held memory on the recording that runs.", _add_try),
    "graph": ("Show the autograd graph, of the latest session or behind a live tensor.", _add_graph),
    "memory": (
        "Show which variables and cells hold memory and graphs, and what the last exception keeps.",
        _add_nothing,
    ),
    "release": ("Let go of the last exception and of what its frames hold.", _add_nothing),
    "panel": ("Show the session that is recorded, or the latest, as in the editor.", _add_step),
    "open": ("Look at a session file as in the editor.", _add_file),
    "help": ("Say what the commands are, or what options one has.", _add_command),
}
