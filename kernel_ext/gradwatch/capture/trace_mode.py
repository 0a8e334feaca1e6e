"""The TorchFunctionMode of a trace: how it comes onto a thread's stack of modes, and off it again from anywhere."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode, handle_torch_function
from torch.utils._device import DeviceContext

from gradwatch.capture.lines import current_frame
from gradwatch.capture.trace_places import called_from, without_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from gradwatch.capture.trace_flow import Call

_C: Any = torch._C
_length: Callable[[], int] = _C._len_torch_function_stack
_at: Callable[[int], Any] = _C._get_function_stack_at
_push: Callable[[Any], None] = _C._push_on_torch_function_stack
_pop: Callable[[], Any] = _C._pop_torch_function_stack

_HANDLE: CodeType = handle_torch_function.__code__
_WRITTEN_IN_C = (BuiltinFunctionType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType)

# NOTE [Where it stands]
# Below all modes of the program: a `with` block of one pops whatever is on top, which must be its own. Above a
# DeviceContext alone, which torch keeps at the bottom and whose end takes out the lowest.
# While it handles a call torch has it off the stack, and puts it back itself afterwards, also where it was taken out
# in that call (the step, or the recording, ended in `loss.backward()`); and a stack is its thread's own, so that
# another thread cannot take it out. Wherever a call of its ends that it should no longer be there for, a profile
# function, the one thing that Python calls once torch is through with it, takes it out right behind the call.


class OpMode(TorchFunctionMode):
    """Shows every call to `before` and, where that gave something, to `after`. Never raises by itself."""

    def __init__(self, before: Callable[..., Call | None], after: Callable[[Call, Any], None]) -> None:
        super().__init__()
        self._before = before
        self._after = after
        self.thread = -1
        self.awake = False
        self._handling: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        thread = threading.get_ident()
        call = self._before(func, args, kwargs) if self.awake and thread == self.thread else None
        caller: FrameType | None = current_frame(1)
        if type(func) not in _WRITTEN_IN_C:
            func, caller = _as_called(func, caller)
        self._handling.add(thread)
        try:
            result = called_from(caller, func)(func, args, kwargs or {})
        except BaseException as error:
            # The program's traceback shows no frame of ours, and so keeps no tensor by one.
            args = kwargs = call = caller = None
            error.__traceback__ = without_frames(error.__traceback__)
            raise
        finally:
            self._handling.discard(thread)
            if not self._belongs():
                self._leave_soon()
        if call is not None:
            self._after(call, result)
        return result

    def put_in(self) -> None:
        """Put it on this thread's stack, unless it is there."""
        self.thread = threading.get_ident()
        self.awake = True
        if self.thread not in self._handling and not self.is_in():
            above = [_pop() for _ in range(_length())]
            if above and isinstance(above[-1], DeviceContext):
                _push(above.pop())
            _push(self)
            for mode in reversed(above):
                _push(mode)

    def take_out(self) -> bool:
        """Take it off this thread's stack, wherever it stands there. False where it is not on it now."""
        self.awake = False
        return self._come_out()

    def is_in(self) -> bool:
        """Whether it is on this thread's stack."""
        return any(_at(position) is self for position in range(_length()))

    def _belongs(self) -> bool:
        return self.awake and self.thread == threading.get_ident()

    def _come_out(self) -> bool:
        if not self.is_in():
            return False
        modes = [_pop() for _ in range(_length())]
        for mode in reversed(modes):
            if mode is not self:
                _push(mode)
        return True

    def _leave_soon(self) -> None:
        if sys.getprofile() is None:  # the program's own stays; then it leaves behind a later call
            sys.setprofile(self._leave)

    def _leave(self, *_: Any) -> None:
        """Python calls this at whatever this thread does next: the first events are still inside of torch."""
        if threading.get_ident() not in self._handling and (self._belongs() or self._come_out()):
            sys.setprofile(None)


# NOTE [Functions that the program has replaced]
# torch's functions in Python hand a mode themselves as they are found by their name in their module. Where the program
# has put a function of its own in such a place, which calls torch's, that would run a second time inside itself.


_originals: dict[CodeType, weakref.ref[FunctionType]] = {}


def _as_called(function: Any, frame: FrameType) -> tuple[Any, FrameType | None]:
    """The function that asked for the mode, where another stands under its name by now, and the frame that called."""
    asking = frame.f_back
    if asking is None or frame.f_code is not _HANDLE:
        return function, frame
    code = asking.f_code
    if getattr(function, "__code__", None) is not code and (
        asking.f_globals.get(code.co_name) is function or vars(torch.Tensor).get(code.co_name) is function
    ):
        function = _function_of(code) or function
    return function, asking.f_back


def _function_of(code: CodeType) -> Any:
    """The function whose code this is, with its defaults: only its holders lead to it."""
    known = _originals.get(code)
    found = None if known is None else known()
    if found is None:
        holders = (each for each in gc.get_referrers(code) if type(each) is FunctionType)
        found = next((each for each in holders if each.__code__ is code), None)
        if found is not None:
            _originals[code] = weakref.ref(found)
    return found
