"""A debug adapter protocol client for tests: drives `debugpy.adapter` as an editor does, over stdio or a socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

WAIT_SECONDS = 60
Message = dict[str, Any]


class AdapterError(Exception):
    """The adapter refused a request, or ended; the message is its own."""


@dataclass(frozen=True)
class StoppedAt:
    """Where a thread stands: its topmost frame."""

    thread: int
    reason: str
    frame: int
    function: str
    path: str
    line: int


class DebugAdapter:
    """One connection to an adapter. A wait that fails names what did not come, and what the program printed."""

    def __init__(self, address: tuple[str, int] | None = None) -> None:
        self._sequence = 0
        self._responses: dict[int, Message] = {}
        self._events: list[Message] = []
        self._taken: set[int] = set()
        self._arrived = threading.Condition()
        self._closed = False
        self._process = None if address else _adapter()
        self._reader, self._writer = _streams(self._process, address)
        threading.Thread(target=self._read, name="dap reader", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def request(self, command: str, *, wait: float = WAIT_SECONDS, **arguments: Any) -> Message:
        """Send a request and return its response's body. Raises AdapterError when it is refused."""
        return self.response(self.send(command, **arguments), wait)

    def send(self, command: str, **arguments: Any) -> int:
        self._sequence += 1
        message = {"seq": self._sequence, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(message).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        self._writer.flush()
        return self._sequence

    def response(self, number: int, wait: float = WAIT_SECONDS) -> Message:
        message = self._wait_for(lambda: self._responses.pop(number, None), f"the response to request {number}", wait)
        if not message["success"]:
            raise AdapterError(message.get("message") or str(message))
        return message.get("body") or {}

    def event(self, name: str, accept: Callable[[Message], bool] = lambda _: True) -> Message:
        """The body of the next event of that name that was not given out before."""

        def take() -> Message | None:
            for number, message in enumerate(self._events):
                if number not in self._taken and message["event"] == name and accept(message["body"]):
                    self._taken.add(number)
                    return message["body"]
            return None

        return self._wait_for(take, f"the event {name}")

    def launch(self, program: Path, breakpoints: Mapping[Path, Iterable[int]], **configuration: Any) -> None:
        """Start a program under the debugger and let it run."""
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        environment |= configuration.pop("env", {})
        self.configure(
            "launch",
            breakpoints,
            program=str(program),
            python=[sys.executable],
            console="internalConsole",
            cwd=str(program.parent),
            env=environment,
            **configuration,
        )

    def configure(self, request: str, breakpoints: Mapping[Path, Iterable[int]], **configuration: Any) -> None:
        """`launch` or `attach`, with breakpoints by file."""
        self.request("initialize", clientID="test", adapterID="debugpy", linesStartAt1=True, pathFormat="path")
        number = self.send(request, type="debugpy", request=request, **configuration)
        self.event("initialized")
        for path, lines in breakpoints.items():
            places = [{"line": line} for line in lines]
            self.request("setBreakpoints", source={"path": str(path)}, breakpoints=places)
        self.request("setExceptionBreakpoints", filters=[])
        self.request("configurationDone")
        self.response(number)

    def stopped(self) -> StoppedAt:
        """The next stop of any thread."""
        body = self.event("stopped")
        thread = body["threadId"]
        frame = self.request("stackTrace", threadId=thread, startFrame=0, levels=1)["stackFrames"][0]
        path = frame.get("source", {}).get("path", "")
        return StoppedAt(thread, body["reason"], frame["id"], frame["name"], path, frame["line"])

    def resume(self, stopped: StoppedAt) -> None:
        self.request("continue", threadId=stopped.thread)

    def child(self) -> DebugAdapter:
        """Connect to the next subprocess that asks for a debugger and attach to it, as an editor does."""
        configuration = dict(self.event("debugpyAttach"))
        connect = configuration["connect"]
        child = DebugAdapter((connect["host"], connect["port"]))
        child.attach_configuration = configuration
        return child

    attach_configuration: Message = {}  # noqa: RUF012  # replaced as a whole, never changed in place

    def evaluate(self, expression: str, frame: int | None, wait: float = WAIT_SECONDS) -> str:
        """The string that an expression gives, untouched: as the extension asks."""
        arguments: Message = {"expression": expression, "context": "watch", "format": {"rawString": True}}
        if frame is not None:
            arguments["frameId"] = frame
        return self.request("evaluate", wait=wait, **arguments)["result"]

    def ask(self, frame: int | None, /, **question: Any) -> Message:
        """Ask gradwatch at a stop; returns what came back: its kind and value."""
        expression = f"__import__('gradwatch.debugger').debugger.answer({json.dumps(question)!r})"
        return json.loads(self.evaluate(expression, frame))

    def printed(self) -> str:
        return "".join(each["body"].get("output", "") for each in self._events if each["event"] == "output")

    def close(self) -> None:
        with contextlib.suppress(AdapterError, TimeoutError, OSError, ValueError):
            self.request("disconnect", wait=10, terminateDebuggee=True)
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _wait_for(self, take: Callable[[], Message | None], what: str, wait: float = WAIT_SECONDS) -> Message:
        found: list[Message] = []

        def arrived() -> bool:
            message = take()
            found.extend([message] if message is not None else [])
            return bool(found) or self._closed

        with self._arrived:
            if not self._arrived.wait_for(arrived, wait):
                raise TimeoutError(f"{what} did not come in {wait} s. The program printed: {self.printed()[-2000:]}")
        if not found:
            raise AdapterError(f"The adapter ended before {what}. The program printed: {self.printed()[-2000:]}")
        return found[0]

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError, ValueError):
            while True:
                self._take(_message(self._reader))
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def _take(self, message: Message) -> None:
        with self._arrived:
            if message["type"] == "response":
                self._responses[message["request_seq"]] = message
            elif message["type"] == "event":
                self._events.append({**message, "body": message.get("body") or {}})
            self._arrived.notify_all()


def line_of(program: Path, mark: str) -> int:
    """The number of the line of a program that ends in a comment with that mark."""
    lines = program.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if line.endswith(f"# {mark}"))


def _adapter() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "debugpy.adapter"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _streams(process: subprocess.Popen[bytes] | None, address: tuple[str, int] | None) -> tuple[BinaryIO, BinaryIO]:
    if process is not None:
        assert process.stdin
        assert process.stdout
        return cast("BinaryIO", process.stdout), cast("BinaryIO", process.stdin)
    assert address is not None
    connection = _connected(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return cast("BinaryIO", connection.makefile("rb")), cast("BinaryIO", connection.makefile("wb"))


def _connected(address: tuple[str, int]) -> socket.socket:
    """Connect as soon as somebody listens: an adapter serves its first connection only, so nobody may knock before."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        connection = socket.socket()
        if connection.connect_ex(address) == 0:
            return connection
        connection.close()
        time.sleep(0.1)
    raise TimeoutError(f"nobody listens on {address} after {WAIT_SECONDS} s")


def _message(stream: BinaryIO) -> Message:
    size = 0
    while (line := stream.readline()) != b"\r\n":
        if not line:
            raise EOFError
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    return json.loads(stream.read(size))
