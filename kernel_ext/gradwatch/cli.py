"""The command line: one class a command, its docstring is its help. Nothing here imports torch."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, get_args

from gradwatch import launch
from gradwatch._version import __version__
from gradwatch.errors import GradwatchError, MissingDependency, RecordingError, UsageError
from gradwatch.records import Detail, SubjectKind
from gradwatch.reporters.exports.targets import Target
from gradwatch.reporters.json import HeldKey, Sort

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from gradwatch.session.repair import RepairResult

FAILED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

SHOWN_HELD = 20


class Command(Protocol):
    """A command; its name is the class's in lower case, its help the docstring."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, options: argparse.Namespace) -> int: ...


class Run:
    """Run a Python program and record what it trains, without changing it.

    Options end at the program's name; what follows is the program's own. So are its output, exit code
    and tracebacks. Child processes are not recorded: a launcher starts gradwatch, which records each rank to a file
    of its own: torchrun --nproc-per-node 2 -m gradwatch run train.py, or accelerate launch -m gradwatch run train.py.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.usage = "gradwatch run [options] (program.py | -m module) [arguments ...]"
        add = parser.add_argument
        add("-o", "--output", metavar="FILE", help="session file (default: PROGRAM.gradwatch)")
        add("--detail", choices=get_args(Detail), default="modules", help="how much to record (default: %(default)s)")
        add(
            "--held",
            action=argparse.BooleanOptionalAction,
            help="record the graph and the memory held for backward (default: yes, except at parameters)",
        )
        add("--force", action="store_true", help="overwrite the session file")
        add("-q", "--quiet", action="store_true", help="do not say at the end where the session is")
        add("-m", dest="is_module", action="store_true", help="the program is a module, as for python -m")
        add("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    def run(self, options: argparse.Namespace) -> int:
        if not options.program:
            raise UsageError("There is no program to run. Name one: gradwatch run train.py")
        name, *arguments = options.program
        launch.run(
            launch.Request(
                launch.Program(name, tuple(arguments), is_module=options.is_module),
                path=options.output,
                detail=options.detail,
                held=options.held,
                overwrite=options.force,
                quiet=options.quiet,
            )
        )


class Try:
    """Try a change that lowers held memory on a program: one step without it, the next one with it, both measured.

    The program then ends, as sys.exit(0) would end it. Where optimizers end the steps, these are seen to begin from the
    third on. Options end at the program's name; what follows is its own.
    Exit code: 0 both steps were measured, 2 they were not.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.usage = "gradwatch try CHANGE [options] (program.py | -m module) [arguments ...]"
        change = parser.add_mutually_exclusive_group(required=True)
        change.add_argument("--checkpoint", metavar="MODULES", help="recompute these modules in backward: 'blocks.*'")
        for option, kind, text in _CHANGES:
            change.add_argument(option, dest="change", action="store_const", const=kind, help=text)
        add = parser.add_argument
        add("--at", type=int, default=1, metavar="N", help="measure from step N on (default: %(default)s)")
        add("-o", "--output", metavar="FILE", help="session file (default: PROGRAM.try.gradwatch, overwritten)")
        add("--force", action="store_true", help="overwrite FILE")
        add("--json", action="store_true", help="print JSON (its shape: gradwatch.reporters.terminal_trial)")
        add("-m", dest="is_module", action="store_true", help="the program is a module, as for python -m")
        add("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    def run(self, options: argparse.Namespace) -> int:
        if not options.program:
            raise UsageError("There is no program to run. Name one: gradwatch try --checkpoint 'blocks.*' train.py")
        name, *arguments = options.program
        program = launch.Program(name, tuple(arguments), is_module=options.is_module)
        path = options.output or f"{program.stem}.try.gradwatch"
        request = launch.Request(program, path, overwrite=options.force or options.output is None)
        change = options.change or "checkpoint"
        trial = launch.TrialRequest(change, options.checkpoint or "*", max(0, options.at))
        return importlib.import_module("gradwatch.trying").run(request, trial, as_json=options.json)


_CHANGES = (
    ("--bf16", "bf16 saving", "keep float32 activations in bfloat16 until backward"),
    ("--save-on-cpu", "save_on_cpu", "keep what is saved in the CPU's memory until backward"),
    ("--inplace", "in-place activation", "let activations work in place"),
    ("--fused-attention", "fused attention", "let scaled_dot_product_attention take a fused kernel"),
)


class Show:
    """Show what a session holds: loss, gradients, memory held for backward, graph, and what could not be seen.

    Of a folder with the files of several ranks: a row of each, and which are unlike the others.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_session(parser)

    def run(self, options: argparse.Namespace) -> int:
        _reports().show(options)
        return 0


class Gradients:
    """Show the gradient of every parameter, module output or autograd node at one step.

    Of the kind "local" is each parameter's gradient on this rank, before it was reduced over the ranks.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_session(parser)
        add = parser.add_argument
        add("--kind", choices=get_args(SubjectKind), default="parameter", help="of what (default: %(default)s)")
        add("--sort", choices=get_args(Sort), default="model", help="order of the rows (default: the model's own)")
        add("--only-trouble", action="store_true", help="only those that are not finite: NaN, Inf, None, zero")
        add("--backward", type=int, metavar="N", help="which backward call of the step (default: the last of each)")

    def run(self, options: argparse.Namespace) -> int:
        _reports().gradients(options)
        return 0


class Held:
    """Show the memory that autograd held for backward, by module, source line, operation and more."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_session(parser)
        _add_backward(parser)
        add = parser.add_argument
        add(
            "--by", choices=get_args(HeldKey), default="line", help="what the bytes are split by (default: %(default)s)"
        )
        add("--top", type=int, default=SHOWN_HELD, metavar="K", help="rows shown; 0 is all (default: %(default)s)")

    def run(self, options: argparse.Namespace) -> int:
        _reports().held(options)
        return 0


class Graph:
    """Show the autograd graph of one step: modules in forward order, repeated blocks folded."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_session(parser)
        _add_backward(parser)
        add = parser.add_argument
        add("--module", metavar="NAME", help="only the inside of this module")
        add("--depth", type=int, metavar="N", help="levels of modules shown; 0 is all (default: what fits)")
        add("--nodes", action=argparse.BooleanOptionalAction, help="show single operations (default: where they fit)")

    def run(self, options: argparse.Namespace) -> int:
        _reports().graph(options)
        return 0


class Why:
    """Say why a gradient is None, zero, stale or not finite: the line, the name and the fix.

    Without a name: everything that was found in the session.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("file", metavar="FILE", help="session file")
        add("name", metavar="NAME", nargs="?", help="a parameter or a module, such as encoder.0.weight")
        add("--step", type=int, metavar="N", help="only what was so at this step (default: all steps)")
        add("--json", action="store_true", help="print JSON (its shape: gradwatch.reporters.findings_json)")

    def run(self, options: argparse.Namespace) -> int:
        _reports().why(options)
        return 0


class Diff:
    """Compare two sessions, two ranks, or two steps of one: the first step and node where gradients part.

    Two folders are compared rank by rank; of one folder, every rank with its lowest. Different ranks see different
    data: of those only the gradients of parameters are compared, which data parallel training averages.

    Statistics of gradients are compared, not their values. Exit code: 0 no difference seen in losses and
    gradients, 1 they part, 2 bad input, or a rank that cannot be compared while none parts. Other lengths, graphs
    and held memory are shown and do not count.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("file", metavar="A", help="session file, or a folder of rank files")
        add("other", metavar="B", nargs="?", help="another, or none to compare two steps of A, or the ranks in it")
        add("--step", metavar="N[:M]", help="only step N of A, with step M of B (default: every step that both have)")
        add("--rtol", type=float, metavar="R", help="what counts as the same, as a share (default: 1e-4)")
        add("--atol", type=float, metavar="X", help="and as what one element may be off by (default: 1e-8)")
        add("--exact", action="store_true", help="every statistic must be the same number")
        add("--json", action="store_true", help="print JSON (its shape: gradwatch.reporters.diff_json)")

    def run(self, options: argparse.Namespace) -> int:
        return importlib.import_module("gradwatch.reporters.diff").diff(options)


class Repair:
    """Repair a session whose recording was killed: drop the torn end, keep every whole part, close the file."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="session file")
        parser.add_argument("--force", action="store_true", help="also where a process may still be writing to it")

    def run(self, options: argparse.Namespace) -> int:
        from gradwatch.session.repair import repair  # noqa: PLC0415 -- as in _reports

        print(_repaired(options.file, repair(options.file, force=options.force)))
        return 0


class Export:
    """Write a session as a page that replays it, or in another tool's format: tables, TensorBoard, Perfetto, torch's.

    csv, parquet   a folder of tables, or one with --table; columns.csv, or the Parquet schema, says what is in them
    tensorboard    a log folder: loss, gradient norms, update ratios, held memory, histograms
    perfetto       a Chrome trace for ui.perfetto.dev: steps, backward calls, held memory
    html           one page with the session in it, for any browser: no server, no network
    memory-viz     a snapshot for pytorch.org/memory_viz: what one step held, and which line saved it
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("file", metavar="FILE", help="session file")
        add("--to", required=True, choices=get_args(Target), help="the format")
        add("-o", "--output", metavar="OUT", help="file or folder to write (default: beside the session)")
        add("--force", action="store_true", help="overwrite it")
        add("--steps", metavar="A:B", help="steps A to B, both included; A: or :B or one (default: all)")
        add("--table", metavar="NAME", help="only this table, as one file: steps, gradients, held, nodes and more")

    def run(self, options: argparse.Namespace) -> int:
        from gradwatch.reporters.exports.export import Request, export  # noqa: PLC0415 -- as in _reports

        done = export(
            Request(options.file, options.to, options.output, options.steps, options.table, overwrite=options.force)
        )
        print(f"{done.path}: {done.text}")
        for note in done.notes:
            print(f"gradwatch: {note}", file=sys.stderr)
        return 0


class Replay:
    """Run a kept step again and say whether its gradients came out the same.

    Record with gradwatch.watch(model, path, keep_steps=...). The entry is a function of yours, called with nothing:
    it returns the model, the optimizer and the step function, as they were before training.
    Exit code: 0 the same gradients, 1 they parted, 2 they cannot be compared.
    """

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("file", metavar="FILE", help="session file; its kept steps lie beside it")
        add("--step", type=int, metavar="N", required=True, help="which step")
        add("--entry", metavar="MODULE:FUNCTION", required=True, help="what builds model, optimizer and step function")
        exactness = parser.add_mutually_exclusive_group()
        exactness.add_argument(
            "--exact", dest="tolerance", action="store_const", const=0.0, help="compare to the last bit (default)"
        )
        exactness.add_argument("--tolerance", type=float, metavar="X", help="relative tolerance")
        add("-o", "--output", metavar="FILE", help="session of the replay (default: FILE's name with .replay-N)")
        add("--conditions", metavar="JSON", help="where to stop in backward, under a debugger: a list of Conditions")
        add("--json", action="store_true", help="print JSON (its shape: gradwatch.replay.ReplayReport)")
        parser.set_defaults(tolerance=0.0)

    def run(self, options: argparse.Namespace) -> int:
        module = importlib.import_module("gradwatch.replay")  # as in _reports
        return module.from_command_line(options)


class Demo:
    """Train a small net on handwritten digits, record it to digits.gradwatch, and show the recording."""

    SESSION = "digits.gradwatch"
    PROGRAM = Path(__file__).parent / "examples" / "digits.py"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--detail", choices=get_args(Detail), default="modules", help="how much to record")

    def run(self, options: argparse.Namespace) -> int:
        for module, install in (("torch", "torch"), ("sklearn", "scikit-learn")):
            if importlib.util.find_spec(module) is None:
                raise MissingDependency("gradwatch demo", install, install)
        program = launch.Program(str(self.PROGRAM))
        request = launch.Request(program, self.SESSION, options.detail, overwrite=True, quiet=True)
        print(f"$ gradwatch run -o {self.SESSION} {self.PROGRAM.name}", flush=True)
        code = subprocess.call(launch.command(request), env=launch.environment(request))  # noqa: S603 -- our own program
        if code:
            raise RecordingError(f"The demo's program {self.PROGRAM} ended with exit code {code}.")
        print(f"\n$ gradwatch show {self.SESSION}", flush=True)
        return main(["show", self.SESSION])


COMMANDS: tuple[type[Command], ...] = (Run, Try, Show, Why, Gradients, Held, Graph, Diff, Repair, Replay, Export, Demo)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. `gradwatch run` does not return: the program takes the process over."""
    try:
        options = parser().parse_args(argv)
        return options.command.run(options) if options.command else _help()
    except SystemExit as exit_:  # argparse's way to end
        return exit_.code if isinstance(exit_.code, int) else FAILED
    except GradwatchError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Python flushes stdout once more at exit, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return _fail(f"{error.filename or 'The file'} cannot be used: {error.strerror or error}.")


def _reports() -> ModuleType:
    """Import what reports need (numpy, rich) where one is made: `gradwatch run` starts without."""
    return importlib.import_module("gradwatch.reports")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "gradwatch",
        description="Record what a PyTorch program's gradients, graph and held memory are, and look at it later.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gradwatch {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        text = command.__doc__ or ""
        name = command.__name__.lower()
        head = text.partition("\n")[0].rstrip(".")
        made = commands.add_parser(name, help=head[0].lower() + head[1:], description=text, allow_abbrev=False)
        made.set_defaults(command=command())
        made.formatter_class = argparse.RawDescriptionHelpFormatter
        command().add_arguments(made)
    return parser


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="session file")
    parser.add_argument("--step", type=int, metavar="N", help="which step (default: the last)")
    parser.add_argument("--json", action="store_true", help="print JSON (its shape: gradwatch.reporters.json)")


def _add_backward(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backward", type=int, metavar="N", help="which backward call of the step (default: the one that held most)"
    )


def _repaired(file: str, result: RepairResult) -> str:
    if result.was_finished:
        return f"{file} is whole; there was nothing to repair."
    lost = f"{result.bytes_dropped:,} bytes of a torn end were dropped" if result.bytes_dropped else "nothing was lost"
    return f"{file} is repaired: {result.chunks:,} whole parts kept, {lost}."


def _help() -> int:
    parser().print_help()
    return 0


def _fail(message: str) -> int:
    print(f"gradwatch: {message}", file=sys.stderr)
    return FAILED
