"""Runs in the interpreter of `gradwatch run`, before the program: waits for torch, then starts the recording.

Python imports a module of this name at startup. This one takes itself out of the way (environment,
sys.path, the user's own sitecustomize) and leaves one finder on sys.meta_path until torch is loaded.
It imports nothing that a bare interpreter has not loaded already: what the program imports, and when, stays its own.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False  # typing.TYPE_CHECKING would import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from gradwatch.launch import Recording
else:
    ModuleSpec = type(sys.__spec__)

PREFIX = "GRADWATCH_RUN_"
HERE = os.path.dirname(__file__)  # noqa: PTH120 -- pathlib is not loaded yet


def take_settings() -> dict[str, str]:
    """Take the settings that launch.py left in the environment, which is then as the user had it."""
    names = [name for name in os.environ if name.startswith(PREFIX)]
    settings = {name.removeprefix(PREFIX): os.environ.pop(name) for name in names}
    if "PYTHONPATH" in settings:
        os.environ["PYTHONPATH"] = settings.pop("PYTHONPATH")
    else:
        os.environ.pop("PYTHONPATH", None)
    return settings


def step_aside() -> None:
    """Leave sys.path and sys.modules as they are without us, and run the user's own sitecustomize.

    Raises ImportError where there is none: the import system then forgets this module, as site expects.
    """
    sys.path.remove(HERE)
    sys.path_importer_cache.pop(HERE, None)
    del sys.modules["sitecustomize"]
    import sitecustomize  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] -- now another file


class WatchedSpec(ModuleSpec):
    """Says when its module has been executed.

    The import system sets `_initializing` to False then. A wrapped loader would say so too, but its
    frame would stand in the traceback of a failing import.
    """

    when_loaded: Callable[[], None]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            when_loaded = self.when_loaded
            del self.when_loaded
            self.__class__ = ModuleSpec  # pyright: ignore[reportAttributeAccessIssue] -- back to what it was
            when_loaded()


class TorchFinder:
    """Finds torch as the other finders do, and calls back once when it is loaded."""

    def __init__(self, when_loaded: Callable[[], None]) -> None:
        self._when_loaded = when_loaded

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torch":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                return self._watched(spec)
        return None

    def _watched(self, spec: ModuleSpec) -> ModuleSpec:
        if type(spec) is ModuleSpec:
            spec.__class__ = WatchedSpec
            vars(spec)["when_loaded"] = self._loaded
        return spec

    def _loaded(self) -> None:
        # Also reached when the import failed, which leaves no module; a second try is watched again.
        if "torch" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            self._when_loaded()


def import_launch() -> ModuleType:
    """gradwatch.launch of the copy this file belongs to, wherever the program's sys.path leads."""
    if "gradwatch" not in sys.modules:
        from importlib import util  # noqa: PLC0415 -- torch has loaded it by now

        package = os.path.dirname(HERE)  # noqa: PTH120 -- as above
        init = os.path.join(package, "__init__.py")  # noqa: PTH118 -- as above
        spec = util.spec_from_file_location("gradwatch", init, submodule_search_locations=[package])
        if spec is None or spec.loader is None:
            raise ImportError(f"no gradwatch in {package}")
        sys.modules["gradwatch"] = module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
    from gradwatch import launch  # noqa: PLC0415 -- only now there is a use for it

    return launch


class Program:
    """The program's process, seen from its two ends: torch is loaded, the program is over."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._pid = os.getpid()
        self._recording: Recording | None = None
        self._failed = False

    def torch_is_loaded(self) -> None:
        try:
            self._recording = import_launch().start(self._settings)
        except Exception as error:  # noqa: BLE001 -- nothing of ours may reach the program
            self._failed = True
            say(f"nothing is recorded: {error}")

    def is_over(self) -> None:
        # A forked child that ends by itself runs its parent's exit handlers.
        if os.getpid() != self._pid or self._failed:
            return
        if self._recording is not None:
            last_word = self._recording.end()
        else:
            last_word = f"{self._settings['PROGRAM']} did not import torch, so nothing was recorded."
        if last_word and not self._settings["QUIET"]:
            say(last_word)


def say(text: str) -> None:
    """One line on the stderr that the program was started with."""
    try:
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"gradwatch: {text}\n")
            sys.__stderr__.flush()
    except (OSError, ValueError):
        pass  # it is closed, so nobody listens


def begin() -> None:
    settings = take_settings()
    if settings:
        program = Program(settings)
        # Exit handlers run last in, first out: registered before the program's, this one runs after all of them.
        atexit.register(program.is_over)
        sys.meta_path.insert(0, TorchFinder(program.torch_is_loaded))  # pyright: ignore[reportArgumentType] -- a finder by its method


begin()
step_aside()
