"""A Jupyter client that debugs: a kernel of its own, and the debug adapter protocol over its control channel."""

from __future__ import annotations

import contextlib
import json
import queue
import time
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

WAIT_SECONDS = 60


class KernelDebugger:
    """One ipykernel with a debugger attached to it. A failed wait says what was waited for."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self._sequence = 0
        self._messages: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT_SECONDS)
        self.request("initialize", clientID="test", adapterID="", pathFormat="path", linesStartAt1=True)
        self.request("attach")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a debug request and wait for its response, successful or not."""
        self._sequence += 1
        content = {"type": "request", "seq": self._sequence, "command": command, "arguments": arguments}
        message = self.client.session.msg("debug_request", content)
        self.client.control_channel.send(message)

        def answered() -> dict[str, Any] | None:
            with contextlib.suppress(queue.Empty):
                reply = self.client.get_control_msg(timeout=0.2)
                if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                    return reply["content"]
            return None

        return wait_for(answered, f"the response to {command}")

    def run(self, code: str) -> None:
        """Execute a cell to its end. Raises AssertionError with the cell's own error."""
        reply = self.client.execute_interactive(code, timeout=WAIT_SECONDS, output_hook=self._messages.append)
        content = reply["content"]
        assert content["status"] == "ok", "\n".join(content.get("traceback", []))

    def run_to_line(self, code: str, line: int) -> int:
        """Execute a cell that stops at a line of it; returns the id of the stopped thread's frame."""
        path = self.request("dumpCell", code=code)["body"]["sourcePath"]
        self.request("setBreakpoints", breakpoints=[{"line": line}], source={"path": path}, sourceModified=False)
        self.request("configurationDone")
        self.client.execute(code)
        thread = self._wait_for_stop()
        frames = self.request("stackTrace", threadId=thread)["body"]["stackFrames"]
        assert (frames[0]["source"]["path"], frames[0]["line"]) == (path, line)
        return frames[0]["id"]

    def evaluate(self, expression: str, frame: int) -> str:
        """The string that an expression gives, untouched: as the extension asks."""
        arguments: dict[str, Any] = {"expression": expression, "context": "watch", "format": {"rawString": True}}
        response = self.request("evaluate", frameId=frame, **arguments)
        assert response["success"], response.get("message")
        return response["body"]["result"]

    def ask(self, frame: int, /, **question: Any) -> dict[str, Any]:
        """Ask gradwatch at a stop; returns what came back: its kind and value."""
        expression = f"__import__('gradwatch.debugger').debugger.answer({json.dumps(question)!r})"
        return json.loads(self.evaluate(expression, frame))

    def _wait_for_stop(self) -> int:
        def stopped() -> int | None:
            with contextlib.suppress(queue.Empty):
                content = self.client.get_iopub_msg(timeout=0.2)["content"]
                if content.get("event") == "stopped":
                    return content["body"]["threadId"]
            return None

        return wait_for(stopped, "a stop")


def wait_for(answer: Callable[[], Any], what: str) -> Any:
    """Ask until something comes back. Raises TimeoutError naming what did not come."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        found = answer()
        if found is not None:
            return found
    raise TimeoutError(f"{what} did not come in {WAIT_SECONDS} s")
