"""%gradwatch and %%gradwatch."""

from __future__ import annotations

import difflib
import shutil
import sys
import tempfile
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError as MagicUsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display  # pyright: ignore[reportUnknownVariableType]  # untyped

from gradwatch.errors import GradwatchError, MissingDependency, UsageError
from gradwatch.notebook import cell as inner_cell
from gradwatch.notebook.ledger import CellLedger
from gradwatch.notebook.options import COMMANDS, TRIALS, USAGE, parse_cell, parse_line, print_help
from gradwatch.notebook.panels import Panels, first_file
from gradwatch.reporters import numbers

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Generator

    from IPython.core.interactiveshell import InteractiveShell

    from gradwatch.capture.recorder import Recorder
    from gradwatch.notebook.panels import ShownPanel
    from gradwatch.session.session import Session

NEXT = "Next: %gradwatch why · gradients · held --by module · graph"
NO_STEP_YET = "No step is over yet; this picture is drawn when it ends: %gradwatch stop"
KEPT = f"{NEXT}. Kept until the next %%gradwatch; -o FILE keeps it for good."


def register(shell: Any) -> None:
    """Add the magics to an InteractiveShell, unless they are there."""
    if _magics_of(shell) is None:
        shell.register_magics(GradwatchMagics)
        magics = _magics_of(shell)
        if magics is not None:
            magics.ledger.start()
        shell.set_hook("complete_command", _complete, str_key="%gradwatch")


def unregister(shell: Any) -> None:
    """Take the magics out of an InteractiveShell, and end what they have under way."""
    magics = _magics_of(shell)
    if magics is None:
        return
    magics.close()
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("gradwatch", None)
    shell.magics_manager.registry.pop(GradwatchMagics.__name__, None)
    shell.configurables[:] = [part for part in shell.configurables if part is not magics]
    shell.strdispatchers["complete_command"].strs.pop("%gradwatch", None)


def _magics_of(shell: Any) -> GradwatchMagics | None:
    return shell.magics_manager.registry.get(GradwatchMagics.__name__)


def _complete(shell: object, event: Any) -> list[str]:
    words = event.line.split()
    position = len(words) - (not event.line.endswith(" "))
    if position == 2 and words[1] == "why":
        magics = _magics_of(shell)
        return [] if magics is None else magics.names_to_ask_of()
    return list(COMMANDS) if position < 2 else []


@contextmanager
def _one_line_errors() -> Generator[None, None, None]:
    """Show what we raise on purpose as IPython shows wrong use of a magic: a sentence, no traceback."""
    try:
        yield
    except GradwatchError as error:
        raise MagicUsageError(str(error)) from None
    except OSError as error:
        raise MagicUsageError(f"{error.filename or 'The file'} cannot be used: {error.strerror or error}.") from None


@magics_class
class GradwatchMagics(Magics):
    """The magics of one shell, with the session that they looked at last."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell: Any = shell
        self._started: Recorder | None = None
        self._latest: Path | None = None
        self._scratch: Path | None = None
        self._forget_scratch: weakref.finalize[..., Any] | None = None
        self._cells = 0
        self._panels = Panels(shell)
        self.ledger = CellLedger(shell)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def gradwatch(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> None:
        with _one_line_errors():
            if cell is not None:
                options = parse_cell(line)
                if options is not None:
                    self._record_cell(line, cell, options)
                return
            options = parse_line(line)
            if options is not None:
                scope = {**self._shell.user_ns, **(local_ns or {})}
                self._run(options, scope)

    gradwatch.__doc__ = f"Record training, and look at gradients, graphs and held memory.\n\n{USAGE}"

    def close(self) -> None:
        """Stop the recording that was started here, and delete the sessions of cells."""
        self.ledger.stop()
        if self._started is not None:
            self._started.stop()
            self._started = None
        self._panels.rest()
        if self._forget_scratch is not None:
            self._forget_scratch()

    def names_to_ask_of(self) -> list[str]:
        """What `%gradwatch why` can be asked of in the latest session; nothing where there is none."""
        from gradwatch.findings.why import known_names  # noqa: PLC0415  # loads numpy

        try:
            with self._session(or_empty=True) as session:
                return known_names(session)
        except (GradwatchError, OSError):
            return []

    def _run(self, options: Namespace, scope: dict[str, Any]) -> None:
        command = options.command
        if command is None:
            print(USAGE, end="")
        elif command == "help":
            print_help(options.about)
        elif command == "watch":
            self._watch(options, scope)
        elif command in ("memory", "release"):
            print(self.ledger.report() if command == "memory" else self.ledger.release())
        elif command in ("status", "stop"):
            self._status() if command == "status" else self._stop()
        elif command == "try":
            self._try(options)
        elif command in ("panel", "open"):
            self._panel(options.step) if command == "panel" else self._open(options)
        elif options.command in ("held", "graph") and options.variable is not None:
            self._look_at_tensor(options, scope)
        else:
            self._look_at_session(options)

    def _watch(self, options: Namespace, scope: dict[str, Any]) -> None:
        models = [_evaluated(word, scope) for word in options.models]
        path = Path(options.output) if options.output else _free_path()
        recorder = self._start(models, path, options)
        self._started = recorder
        self._latest = path
        what = ", ".join(options.models) or "whatever trains"
        print(f"Recording {what} to {path}, detail {options.detail}. Look: %gradwatch panel. End: %gradwatch stop")

    def _start(self, models: list[Any], path: Path, options: Namespace) -> Recorder:
        recorder = _running()
        if recorder is not None:
            raise UsageError(f"{recorder.path} is being recorded already. End that first: %gradwatch stop")
        try:
            from gradwatch.closing import watch  # noqa: PLC0415  # loads torch
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "torch":
                raise
            raise MissingDependency("Recording", "torch", "torch") from None
        if path.exists() and not options.force:
            raise UsageError(f"{path} is there already. Choose another name with -o, or overwrite it with --force.")
        model = None if not models else models[0] if len(models) == 1 else models
        return watch(model, path, detail=options.detail, overwrite=options.force)

    def _status(self) -> None:
        recorder = _running()
        if recorder is None:
            print("Nothing is being recorded. Begin with: %gradwatch watch model")
            if self._latest is not None:
                of_cell = self._latest.parent == self._scratch
                what = "that of a cell" if of_cell else str(self._latest)
                print(f"The latest session is {what}. Look: %gradwatch show")
            return
        recorder.flush()
        size = recorder.path.stat().st_size if recorder.path.exists() else 0
        steps = numbers.counted(max(recorder.step_number, 0), "step")
        print(f"Recording to {recorder.path}, detail {recorder.options.detail}: {steps}, {numbers.size(size)}.")

    def _stop(self) -> None:
        recorder = _running()
        if recorder is None:
            raise UsageError("Nothing is being recorded. Begin with: %gradwatch watch model")
        recorder.stop()
        self._started = None
        self._latest = recorder.path
        with self._session() as session:
            steps = numbers.counted(len(session.steps), "step")
            self._panels.renew_picture(recorder.path, lambda: self._picture(session, None, NEXT))
        print(f"Recorded {steps} to {recorder.path}. Look: %gradwatch show")

    def _try(self, options: Namespace) -> None:
        recorder = _running()
        if recorder is None:
            raise UsageError("Nothing is being recorded. Begin with: %gradwatch watch model")
        recorder.try_next(TRIALS[options.change], options.modules)
        print("The next step is measured as it is, the one after it with the change. Then look: %gradwatch show")

    def _panel(self, step: int | None) -> None:
        """Show the session that is recorded, or the latest, and a picture of it, which is renewed when it ends."""
        from gradwatch.notebook import bundle  # noqa: PLC0415  # loads numpy and rich

        recorder = _running()
        with self._session(or_empty=True) as session:
            if step is None and recorder is not None and not len(session.steps):
                shown = bundle.picture_of_message(f"{session.path} is being recorded. {NO_STEP_YET}")
            else:
                shown = self._picture(session, step, NEXT)
            self._panels.show(session.path, step=step)
            self._panels.show_picture(session.path, shown, is_live=recorder is not None)

    def _open(self, options: Namespace) -> None:
        opened = Path(options.file)
        hint = f"Compare: gradwatch diff {options.file} {options.other}" if options.other else NEXT
        if options.other:
            with self._session(first_file(Path(options.other))):
                pass  # that it can be read is known before anything is shown
        with self._session(first_file(opened)) as session:
            shown = self._picture(session, options.step, hint)
            self._latest = session.path
        self._panels.show(opened, Path(options.other) if options.other else None, step=options.step)
        _display(shown)

    def _picture(self, session: Session, step: int | None, hint: str) -> dict[str, str]:
        from gradwatch.notebook import bundle  # noqa: PLC0415  # loads numpy and rich

        return bundle.picture(session, self._name_of_cell, step, hint)

    def _look_at_session(self, options: Namespace) -> None:
        from gradwatch.notebook import bundle  # noqa: PLC0415  # loads numpy and rich

        with self._session() as session:
            if options.command == "show":
                shown = bundle.show(session, self._name_of_cell, options.step, NEXT)
            elif options.command == "why":
                shown = bundle.why(session, self._name_of_cell, options)
            elif options.command == "gradients":
                shown = bundle.gradients(session, self._name_of_cell, options)
            elif options.command == "held":
                shown = bundle.held(session, self._name_of_cell, options.step, options.by or "line")
            else:
                shown = bundle.graph(session, self._name_of_cell, options.step)
        _display(shown)

    def _look_at_tensor(self, options: Namespace, scope: dict[str, Any]) -> None:
        if options.step is not None:
            raise UsageError(f"--step is of a session; {options.variable} is looked at as it is now.")
        value = _evaluated(options.variable, scope)
        try:
            from gradwatch.capture.late import snapshot  # noqa: PLC0415  # loads torch
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "torch":
                raise
            raise MissingDependency(f"%gradwatch {options.command}", "torch", "torch") from None
        from gradwatch.notebook import bundle  # noqa: PLC0415  # loads numpy and rich

        session = snapshot(value, names=scope, label=options.variable)
        if options.command == "held":
            _display(bundle.held_now(session, self._name_of_cell, options.variable, options.by))
        else:
            _display(bundle.graph_now(session, self._name_of_cell, options.variable))

    def _record_cell(self, line: str, cell: str, options: Namespace) -> None:
        models = [_evaluated(word, self._shell.user_ns) for word in options.models]
        path = Path(options.output) if options.output else self._scratch_path()
        recorder = self._start(models, path, options)
        reason = "stopped"
        try:
            panel = self._panels.show(path)
            result = inner_cell.run_inside(self._shell, f"%%gradwatch {line}".rstrip(), cell)
            error = result.error_before_exec or result.error_in_exec
            if error is not None:
                recorder.failed(error)
            reason = "the cell ended" if error is None else f"{type(error).__name__}: {error}"
        finally:
            recorder.stop(reason)
        self._latest = path
        if panel is not None or result.error_before_exec is None:
            self._show_cell("" if options.output else KEPT, panel)

    def _show_cell(self, hint: str, panel: ShownPanel | None) -> None:
        """Show what a cell trained, if anything. Its own error is out already, so ours must not be another one."""
        from gradwatch.notebook import bundle  # noqa: PLC0415  # loads numpy and rich

        try:
            with self._session() as session:
                if len(session.steps):
                    return _display(self._picture(session, None, hint or NEXT))
            shown = bundle.picture_of_message(bundle.NOT_TRAINED, bundle.NOT_TRAINED_HINT)
        except GradwatchError as error:
            shown = bundle.picture_of_message(str(error))
        _display(shown) if panel is None else panel.replace(shown)
        return None

    @contextmanager
    def _session(self, path: Path | None = None, *, or_empty: bool = False) -> Generator[Session, None, None]:
        """Open `path`, or the session that runs, or the latest. `or_empty`: one without a step yet will do."""
        from gradwatch.session.session import Session  # noqa: PLC0415  # loads numpy and msgspec

        recorder = _running()
        if path is None and recorder is not None:
            recorder.flush()
            path = recorder.path
        path = path or self._latest
        if path is None:
            raise UsageError("There is no session yet. Record one: %gradwatch watch model. Or: %gradwatch open FILE")
        with Session(path) as session:
            if recorder is not None and path == recorder.path and not len(session.steps) and not or_empty:
                raise UsageError(f"{path} is being recorded, and no step is over yet. Train, then look again.")
            yield session

    def _scratch_path(self) -> Path:
        """Give the session of a cell that is not kept a file, instead of the cell before it."""
        if self._forget_scratch is None or not self._forget_scratch.alive:
            self._scratch = Path(tempfile.mkdtemp(prefix="gradwatch-"))
            self._forget_scratch = weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        folder = self._scratch
        assert folder is not None  # noqa: S101  # made above
        for old in folder.iterdir():
            with suppress(OSError):  # Windows keeps a file that a panel reads at this moment
                old.unlink()
        self._cells += 1
        return folder / f"cell-{self._cells}.gradwatch"

    def _name_of_cell(self, file: str) -> str | None:
        """Return "In[3]" for a file name that IPython gave to a cell."""
        named: tuple[str, str] | None = self._shell.compile.format_code_name(file)
        return None if named is None else named[1]


def _display(shown: dict[str, str]) -> None:
    display(shown, raw=True)


def _running() -> Recorder | None:
    """Return this process's recorder. One can only run where its module is loaded already."""
    module = sys.modules.get("gradwatch.capture.recorder")
    return None if module is None else module.running()


def _evaluated(expression: str, scope: dict[str, Any]) -> Any:
    try:
        return eval(expression, scope)  # noqa: S307  # the user's own words, in their own namespace
    except NameError as error:
        name = str(getattr(error, "name", "") or expression)
        near = difflib.get_close_matches(name, [known for known in scope if not known.startswith("_")], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no variable {name}.{hint}") from None
    except SyntaxError:
        raise UsageError(f"{expression} is not a Python expression. Put one with spaces in quotes.") from None
    except Exception as error:  # noqa: BLE001  # whatever the expression raises is the answer
        raise UsageError(f"{expression} raised {type(error).__name__}: {error}") from None


def _free_path() -> Path:
    """Find a name that no file has: run.gradwatch, run-2.gradwatch, ..."""
    path, number = Path("run.gradwatch"), 2
    while path.exists():
        path, number = Path(f"run-{number}.gradwatch"), number + 1
    return path
