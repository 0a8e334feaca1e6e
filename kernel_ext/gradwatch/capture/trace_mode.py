"""The TorchFunctionMode of a trace: how it comes onto a thread's stack of modes, and off it again from anywhere."""

from __future__ import annotations

import threading
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode, handle_torch_function
from torch.utils._device import DeviceContext

from gradwatch.capture.lines import current_frame

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
# While it handles a call torch has it off the stack, and puts it back itself afterwards: one that is taken out in a
# call (the step ended in `loss.backward()`) is there again then, and hands calls through until it is taken out anew.


class OpMode(TorchFunctionMode):
    """Shows every call to `before` and, where that gave something, to `after`. Never raises by itself."""

    def __init__(self, before: Callable[..., Call | None], after: Callable[[Call, Any], None]) -> None:
        super().__init__()
        self._before = before
        self._after = after
        self.thread = -1
        self.awake = False
        self._handling = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = self._before(func, args, kwargs) if self.awake else None
        if type(func) not in _WRITTEN_IN_C:
            func = _as_called(func, current_frame(1))
        self._handling += 1
        try:
            result = func(*args, **kwargs) if kwargs else func(*args)
        except BaseException:
            args = kwargs = call = None  # the traceback keeps this frame, which must keep no tensor
            raise
        finally:
            self._handling -= 1
        if call is not None:
            self._after(call, result)
        return result

    def put_in(self) -> None:
        """Put it on this thread's stack, unless it is there."""
        self.thread = threading.get_ident()
        self.awake = True
        if not self._handling and not self.is_in():
            above = [_pop() for _ in range(_length())]
            if above and isinstance(above[-1], DeviceContext):
                _push(above.pop())
            _push(self)
            for mode in reversed(above):
                _push(mode)

    def take_out(self) -> bool:
        """Take it off this thread's stack, wherever it stands there. False where it is not on it now."""
        self.awake = False
        if self.thread != threading.get_ident() or not self.is_in():
            return False
        modes = [_pop() for _ in range(_length())]
        for mode in reversed(modes):
            if mode is not self:
                _push(mode)
        return True

    def is_in(self) -> bool:
        """Whether it is on this thread's stack."""
        return any(_at(position) is self for position in range(_length()))


# NOTE [Functions that the program has replaced]
# torch's functions in Python hand a mode themselves as they are found by their name in their module. Where the program
# has put a function of its own in such a place, which calls torch's, that would run a second time inside itself.


def _as_called(function: Any, frame: FrameType) -> Any:
    """The function that asked for the mode, where another stands under its name by now; else `function`."""
    asking = frame.f_back
    if asking is None or frame.f_code is not _HANDLE or getattr(function, "__code__", None) is asking.f_code:
        return function
    code = asking.f_code
    stands_in = asking.f_globals.get(code.co_name) is function or vars(torch.Tensor).get(code.co_name) is function
    return FunctionType(code, asking.f_globals) if stands_in and not code.co_freevars else function
