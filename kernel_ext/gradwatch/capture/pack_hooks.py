"""Saved-tensor hooks for `detail="nodes"`, as transparent as pack hooks can be.

NOTE [What a pack hook changes]
Any default pack hook switches autograd's in-place version check off, makes torch.func.grad raise, and
returning the tensor itself leaks saved outputs for ever. So: pack returns a detached alias in a handle,
unpack compares versions and raises autograd's own error, and the hooks step aside where the program
disables saved-tensor hooks. The program's own hooks stay on top of ours and alone are called, as
without us: what they hold is read by the walk. What stays different: plain subclasses and Python
attributes of saved tensors are dropped by autograd before pack is called.
"""

from __future__ import annotations

import re
import sys
import threading
import weakref
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch
import torch.utils.checkpoint

from gradwatch.capture.deaths import Deaths
from gradwatch.capture.recomputation import Recomputation
from gradwatch.capture.torch_internals import (
    current_node,
    dispatch_modes,
    function_modes,
    hook_stack,
    is_compiling,
    is_functorch,
    sequence_number,
    without_dispatch,
    without_function,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradwatch.capture.probes import Cost, Probe


PackEvent = tuple[int, int, int, int, tuple[int, int]]
"""A save or a release: time (perf_counter_ns), storage address, bytes (a release: -1 - bytes), the sequence
number of the node that saved it, and raw site keys of its line (user, project)."""

_CHECKPOINT_FILE = torch.utils.checkpoint.__file__
_FUNCTION_FILE = torch.autograd.function.__file__

OWN_OUTPUT = -1
"""The saver of what an operation of autograd's saved of its own result: its node has the handle's number."""
NO_SITES = (-1, -1)
NO_NODE = -(1 << 40)
"""The number of a save by no node that a graph can have."""


class SavedHandle:
    """What autograd holds in place of a saved tensor. Its end is the moment autograd lets go."""

    __slots__ = ("__weakref__", "number", "origin", "output_nr", "saver", "sites", "tensor", "version")

    tensor: torch.Tensor
    version: int | None
    origin: Callable[[], torch.Tensor | None] | None
    saver: int
    output_nr: int
    number: int
    sites: tuple[int, int]


class PackHooks:
    """Our pair on top of this thread's stack of saved-tensor hooks, unless the program's own is there."""

    def __init__(self, probe: Probe, cost: Cost, call_site: Callable[[], tuple[int, int]] | None) -> None:
        self._saves: list[PackEvent] = []
        self._held: dict[weakref.ref[SavedHandle], PackEvent] = {}
        self._releases = Deaths()
        self._probe = probe
        self._cost = cost
        self._call_site = call_site
        self._stepped_aside = threading.local()
        self._thread = 0
        self._original: tuple[Any, Any] | None = None
        self._recomputation = Recomputation(self._recomputed)
        self.sees_recomputation = False
        self.pair = (self._pack, self._unpack)

    def start(self) -> str | None:
        """Push our pair. Returns why not, when the program's hooks or its refusal stand in the way."""
        if hook_stack._top_saved_tensors_default_hooks(True) is not None:  # read the stack
            return "saved-tensor hooks of the program were active when the recording started"
        if hook_stack._saved_tensors_hooks_get_disabled_error_message() is not None:  # likewise
            return "saved-tensor hooks were disabled when the recording started"
        self._thread = threading.get_ident()
        self._push()
        self._original = (
            hook_stack._saved_tensors_hooks_disable,
            hook_stack._saved_tensors_hooks_enable,
        )  # to step aside
        hook_stack._saved_tensors_hooks_disable = self._disable  # likewise
        hook_stack._saved_tensors_hooks_enable = self._enable  # likewise
        self.sees_recomputation = self._recomputation.start()
        return None

    def stop(self) -> None:
        """Take our pair off the stack. From another thread than start()'s: at that one's next saved tensor."""
        if self._original is None:
            return
        hook_stack._saved_tensors_hooks_disable, hook_stack._saved_tensors_hooks_enable = self._original  # give back
        self._original = None
        self._recomputation.stop()
        if threading.get_ident() == self._thread:
            self._take_out()

    def take_events(self) -> list[PackEvent]:
        """What happened since the last call."""
        # Releases first: whatever is released was saved by then.
        released = self._releases.take()
        events = self._saves[:]
        del self._saves[: len(events)]
        for ref, time in released:
            _, address, size, number, sites = self._held.pop(ref)
            events.append((time, address, -1 - size, number, sites))
        return sorted(events, key=lambda event: event[0])

    def _push(self) -> None:
        hook_stack._push_saved_tensors_default_hooks(*self.pair)  # the context manager cannot be patched around

    def _take_out(self) -> None:
        above: list[Any] = []
        while (top := hook_stack._top_saved_tensors_default_hooks(True)) is not None:  # read the stack
            hook_stack._pop_saved_tensors_default_hooks()  # ours may lie under the program's
            if top[0] == self._pack:
                break
            above.append(top)
        for pack, unpack in reversed(above):
            hook_stack._push_saved_tensors_default_hooks(pack, unpack)  # put the program's back

    def _disable(self, *arguments: Any) -> None:
        assert self._original is not None  # noqa: S101 # patched only while started
        top = hook_stack._top_saved_tensors_default_hooks(True)  # read the stack
        if top is not None and top[0] == self._pack:
            hook_stack._pop_saved_tensors_default_hooks()  # step aside
            self._stepped_aside.yes = True
        self._original[0](*arguments)

    def _enable(self) -> None:
        assert self._original is not None  # noqa: S101 # patched only while started
        self._original[1]()
        if getattr(self._stepped_aside, "yes", False):
            self._stepped_aside.yes = False
            self._push()

    def _pack(self, tensor: torch.Tensor) -> SavedHandle:
        start = perf_counter_ns()
        handle = SavedHandle()
        handle.origin = None
        handle.saver = 0
        handle.version = None
        handle.sites = NO_SITES
        handle.tensor = _alias(tensor)
        if self._original is None:
            self._take_out()  # stopped on another thread, which could not reach this one's stack
        elif self._probe.enabled:
            try:
                if function_modes():
                    with torch._C.DisableTorchFunction():
                        self._note(handle, tensor)
                else:
                    self._note(handle, tensor)
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                self._probe.failed()
        self._cost.since(start)
        return handle

    def _note(self, handle: SavedHandle, tensor: torch.Tensor) -> None:
        if not tensor.is_inference():
            handle.version = tensor._version
        handle.number = sequence_number() - 1
        handle.output_nr = tensor.output_nr
        _remember_origin(handle, tensor)
        if is_functorch(tensor) or (type(tensor) is not torch.Tensor and hasattr(tensor, "__tensor_flatten__")):
            return
        if tensor.layout is not torch.strided:
            return  # it has no storage of its own; the walk finds those of its parts
        if self._call_site is not None:
            handle.sites = self._call_site()
        self._saved(tensor, handle, handle.number, handle.sites)

    def _saved(self, tensor: torch.Tensor, until: object, number: int, sites: tuple[int, int]) -> None:
        """Note that a storage is held from now on, until `until` dies."""
        storage: Any = tensor.untyped_storage()
        event = (perf_counter_ns(), storage._cdata, storage.nbytes(), number, sites)
        self._held[self._releases.watch(until)] = event
        self._saves.append(event)

    def _recomputed(self, tensor: torch.Tensor, until: object) -> None:
        start = perf_counter_ns()
        if self._original is not None and self._probe.enabled:
            try:
                with torch._C.DisableTorchFunction():
                    if type(tensor) is torch.Tensor and tensor.layout is torch.strided and not is_functorch(tensor):
                        self._saved(tensor, until, NO_NODE, NO_SITES)
            except Exception:  # noqa: BLE001 # whatever failed is ours, never the program's
                self._probe.failed()
        self._cost.since(start)

    def _unpack(self, handle: SavedHandle) -> torch.Tensor:
        tensor = handle.tensor
        if is_compiling():
            return tensor
        if handle.version is not None and tensor._version != handle.version:  # the version counter
            raise RuntimeError(_version_message(handle))
        return tensor


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    # A detach that the program's own modes would see is a change to the program.
    if type(tensor) is torch.Tensor:
        if not dispatch_modes() and not function_modes():
            return tensor.detach()
        with torch._C.DisableTorchFunction(), without_dispatch():
            return tensor.detach()
    with without_function():
        return tensor.detach()


def _remember_origin(handle: SavedHandle, tensor: torch.Tensor) -> None:
    """Keep what autograd's error message is made of: the saved variable, asked at unpack what made it.

    Never strongly where it may be an output of the saving node, which would then keep itself alive: what
    pack is given is no longer the node's own output tensor, but its grad_fn is the node.
    """
    grad_fn = tensor.grad_fn
    if grad_fn is None:
        if not tensor.requires_grad:
            handle.origin = weakref.ref(tensor)
    elif isinstance(grad_fn, torch.autograd.function.BackwardCFunction):
        if grad_fn._sequence_nr() == handle.number or _caller_file() == _FUNCTION_FILE:
            # A custom Function saves it, which may have made it.
            handle.saver = id(grad_fn)
            handle.origin = weakref.ref(tensor)
        else:
            handle.origin = _Constant(tensor)
    elif grad_fn._sequence_nr() == handle.number and _caller_file() != _CHECKPOINT_FILE:
        handle.saver = OWN_OUTPUT
    else:
        handle.origin = _Constant(tensor)


def _caller_file() -> str:
    """Where the innermost Python function stands that saves: an op's own caller, `Function.apply`, or a checkpoint.

    A checkpoint saves its inputs by no node: the latest node may well have made one, without saving it.
    """
    frame = sys._getframe(1)  # what called us, wherever it is
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename


class _Constant:
    """Gives back what it holds, as a weak reference does."""

    __slots__ = ("_value",)

    def __init__(self, value: torch.Tensor) -> None:
        self._value = value

    def __call__(self) -> torch.Tensor:
        return self._value


def _version_message(handle: SavedHandle) -> str:
    """Autograd's own words for this tensor: they differ between releases, so a small case provokes them."""
    tensor = handle.tensor
    words = _provoked_words()
    grad_fn, output_nr = _made_by(handle)
    origin = ""
    if grad_fn is not None:
        name: str = grad_fn.name()
        if f"of {_PROVOKED_NODE}" not in words:  # since 2.13 the op is named as in the forward
            name = re.sub(r"Backward(?:0|(\d+))?$", r"\1", name)
        origin = f", which is output {output_nr} of {name},"
    words = re.sub(r"\[[\w.]+ \[2, 3\]\]", lambda _: f"[{tensor.type()} {list(tensor.shape)}]", words, count=1)
    words = re.sub(r", which is output 0 of \w+,", lambda _: origin, words, count=1)
    return words.replace(
        "at version 1; expected version 0", f"at version {tensor._version}; expected version {handle.version}"
    )


def _made_by(handle: SavedHandle) -> tuple[Any, int]:
    """The node that made the saved variable, as of now, and which of its outputs it is."""
    running = current_node()
    if handle.saver and running is not None:
        by_number = handle.saver == OWN_OUTPUT and handle.number == running._sequence_nr()
        if by_number or handle.saver == id(running):
            return running, handle.output_nr
    origin = handle.origin() if handle.origin is not None else None
    return (None, 0) if origin is None else (origin.grad_fn, origin.output_nr)


_PROVOKED_NODE = "ExpBackward0"


def _provoked_words() -> str:
    above: list[Any] = []
    while (top := hook_stack._top_saved_tensors_default_hooks(True)) is not None:  # read the stack
        hook_stack._pop_saved_tensors_default_hooks()  # hooks would switch the check off
        above.append(top)
    try:
        with torch.enable_grad():
            changed = torch.ones(2, 3, requires_grad=True).exp()
            saver: Any = changed.grad_fn
            changed.mul_(2)
        _ = saver._saved_result  # unpacks, and so checks the version
    except RuntimeError as error:
        return str(error)
    finally:
        for pack, unpack in reversed(above):
            hook_stack._push_saved_tensors_default_hooks(pack, unpack)  # put them back
    raise AssertionError("autograd did not notice an in-place change")
