"""The notebook's panel from the kernel's side: what it sends, answers and never does to the training beside it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comm
import pytest

from gradwatch.errors import GradwatchError, SessionNotFound, UsageError
from gradwatch.notebook import feed as feed_module
from gradwatch.notebook.feed import Feed
from gradwatch.notebook.shared_file import LARGEST_READ, SharedFile, session_files
from gradwatch.session.container import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Open = Callable[..., Any]

GOLDEN = Path(__file__).parent / "golden"
SEED = GOLDEN / "seed.gradwatch"


# Files


def test_a_file_is_read_by_range_and_never_more_than_a_message_holds(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (LARGEST_READ // 128))
    file = SharedFile(path)
    assert file.read(3, 2) == b"\x03\x04"
    assert len(file.read(0, 1 << 40)) == LARGEST_READ
    assert file.read(path.stat().st_size - 1, 10) == b"\xff"
    assert file.read(-5, 1) == b"\x00"
    assert file.read(0, -1) == b""


def test_a_file_that_is_gone_or_replaced_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    with pytest.raises(SessionNotFound):
        SharedFile(path)
    path.write_bytes(b"first")
    file = SharedFile(path)
    other = tmp_path / "other"
    other.write_bytes(b"second")
    other.replace(path)
    with pytest.raises(UsageError, match="is another file now"):
        file.read(0, 1)
    path.unlink()
    with pytest.raises(UsageError, match="not there any more"):
        file.size()


def test_a_folder_stands_for_its_sessions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file in it ends in"):
        session_files(tmp_path)
    for rank in (1, 0):
        (tmp_path / f"run.rank{rank}.gradwatch").touch()
    assert [path.name for path in session_files(tmp_path)] == ["run.rank0.gradwatch", "run.rank1.gradwatch"]


# What is sent unasked


class Page:
    """Takes messages as the page does."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.bytes: dict[int, bytearray] = {}
        self.sizes: dict[int, int] = {}
        self.open = True

    def __call__(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        self.messages.append(message)
        if message["type"] != "bytes":
            return
        file, offset = message["file"], message["offset"]
        kept = self.bytes.setdefault(file, bytearray())
        kept.extend(bytes(max(0, offset + len(buffers[0]) - len(kept))))
        kept[offset : offset + len(buffers[0])] = buffers[0]
        self.sizes[file] = max(self.sizes.get(file, -1), message["size"])

    def has(self, path: Path, file: int = 0) -> bool:
        return bytes(self.bytes.get(file, b"")) == path.read_bytes()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(feed_module, "INTERVAL_S", 0.001)
    monkeypatch.setattr(feed_module, "IDLE_INTERVAL_S", 0.001)
    monkeypatch.setattr(feed_module, "RESENT_AFTER_S", (0.01,))
    return Page()


@pytest.fixture
def feed_of(page: Page) -> Iterator[Callable[..., Feed]]:
    made: list[Feed] = []

    def feed_of(*paths: Path) -> Feed:
        made.append(Feed([SharedFile(path) for path in paths], page, lambda: page.open))
        return made[-1]

    yield feed_of
    for each in made:
        each.stop()
        assert each.join(30)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that comes, however slow the machine is."""
    import time

    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_finished_session_is_sent_whole_and_then_the_thread_ends(page: Page, feed_of: Callable[..., Feed]) -> None:
    feed = feed_of(SEED)
    feed.start()
    assert feed.join(60)
    assert page.has(SEED)
    assert page.sizes == {0: SEED.stat().st_size}


def test_its_size_is_told_when_all_of_it_is_there(
    page: Page, feed_of: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LARGEST_READ", 1000)
    feed = feed_of(SEED)
    feed.heard([-1])
    assert feed.join(60)
    sizes = [message["size"] for message in page.messages]
    assert len(sizes) == -(-SEED.stat().st_size // 1000)
    assert set(sizes[:-1]) == {-1}
    assert sizes[-1] == SEED.stat().st_size


def test_of_a_large_one_the_end_comes_first_and_the_rest_is_left_to_be_asked_for(
    page: Page, feed_of: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MOST_PUSHED", 2000)
    monkeypatch.setattr(feed_module, "TAIL", 500)
    feed = feed_of(SEED)
    feed.heard([-1])
    assert feed.join(60)
    size = SEED.stat().st_size
    first = page.messages[0]
    assert (first["offset"], first["size"]) == (size - 500, size)
    assert page.bytes[0][:2000] == SEED.read_bytes()[:2000]
    assert page.bytes[0][-500:] == SEED.read_bytes()[-500:]
    assert not page.has(SEED)


def test_what_is_written_meanwhile_follows_until_the_session_ends(
    page: Page, feed_of: Callable[..., Feed], tmp_path: Path
) -> None:
    path = tmp_path / "run.gradwatch"
    path.write_bytes(MAGIC + b"some")
    feed = feed_of(path)
    feed.heard([-1])
    wait_until(lambda: page.has(path))
    assert page.sizes[0] == path.stat().st_size
    for part in (b"more", bytes(5000), b"end" + MAGIC):
        with path.open("ab") as file:
            file.write(part)
        wait_until(lambda: page.has(path))
    assert feed.join(60)
    offsets = [message["offset"] for message in page.messages]
    assert offsets == sorted(set(offsets)), "nothing is sent twice to a page that hears"


def test_a_page_that_has_not_answered_is_sent_everything_again(page: Page, feed_of: Callable[..., Feed]) -> None:
    feed = feed_of(SEED)
    feed.start()
    assert feed.join(60)
    assert [message["offset"] for message in page.messages] == [0, 0]


def test_a_page_that_was_loaded_anew_gets_the_whole_session(page: Page, feed_of: Callable[..., Feed]) -> None:
    feed = feed_of(SEED)
    feed.heard([-1])
    assert feed.join(60)
    page.bytes.clear()
    feed.heard([-1])
    assert feed.join(60)
    assert page.has(SEED)


def test_several_files_are_sent_in_turn(page: Page, feed_of: Callable[..., Feed]) -> None:
    paths = [SEED, GOLDEN / "torn.gradwatch"]
    feed = feed_of(*paths)
    feed.heard([-1, -1])
    wait_until(lambda: page.has(paths[0], 0) and page.has(paths[1], 1))


def test_an_error_is_a_notice_and_ends_the_thread_only(
    page: Page, feed_of: Callable[..., Feed], tmp_path: Path
) -> None:
    path = tmp_path / "run.gradwatch"
    path.write_bytes(MAGIC)
    feed = feed_of(path)
    feed.heard([-1])
    wait_until(lambda: page.has(path))
    path.unlink()
    assert feed.join(60)
    assert page.messages[-1]["type"] == "notice"
    assert "not there any more" in page.messages[-1]["text"]


def test_it_ends_when_nobody_is_there_to_send_to(page: Page, feed_of: Callable[..., Feed], tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    path.write_bytes(MAGIC)
    feed = feed_of(path)
    feed.heard([-1])
    page.open = False
    assert feed.join(60)


# The widget


class FakeComm:
    """What stands for the front end: keeps what is sent to it."""

    kernel = "a kernel"

    def __init__(self, **opened: Any) -> None:
        self.comm_id = "one"
        self.opened = opened
        self.page = Page()
        self.callback: Any = None
        self.pinned: list[bool] = []

    def on_msg(self, callback: Any) -> None:
        self.callback = callback

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        self.pinned.append(hasattr(self, "_reply_subshell_id"))
        self._reply_subshell_id = "main"  # as ipykernel 7.4 does
        if data["method"] == "custom":
            self.page(data["content"], [bytes(each) for each in buffers or []])

    def close(self, *_: Any, **__: Any) -> None:
        pass

    def say(self, **content: Any) -> None:
        self.callback({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> list[FakeComm]:
    made: list[FakeComm] = []

    def create(**given: Any) -> FakeComm:
        made.append(FakeComm(**given))
        return made[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return made


@pytest.fixture
def open_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comms: list[FakeComm]) -> Iterator[Open]:
    """Open a panel with a page that says nothing."""
    from gradwatch import widget

    built = tmp_path / "static"
    built.mkdir()
    (built / "widget.js").write_text("export default {}")
    (built / "widget.css").write_text(".x{}")
    monkeypatch.setattr(widget, "STATIC", built)
    made: list[Any] = []

    def open_panel(*given: Any, **options: Any) -> Any:
        made.append(widget.SessionWidget(*given, **options))
        return made[-1]

    yield open_panel
    for each in made:
        each.close()
        assert each._feed.join(60)


def test_the_page_is_told_its_files_and_gets_their_bytes(open_panel: Open, comms: list[FakeComm]) -> None:
    panel = open_panel(SEED, GOLDEN / "variants.gradwatch", step=1)
    state = next(each for each in comms if "_esm" in each.opened["data"]["state"]).opened["data"]["state"]
    assert state["_esm"] == "export default {}"
    assert state["name"] == "seed.gradwatch"
    assert state["at"] == 1
    assert [(file["name"], file["other"]) for file in state["files"]] == [
        ("seed.gradwatch", False),
        ("variants.gradwatch", True),
    ]
    front = panel.comm.page
    wait_until(lambda: front.has(SEED) and front.has(GOLDEN / "variants.gradwatch", 1))
    assert repr(panel) == "gradwatch panel of seed.gradwatch"


def test_it_answers_what_is_asked_for(open_panel: Open) -> None:
    panel = open_panel(SEED)
    front = panel.comm
    front.say(type="ready", sizes=[SEED.stat().st_size])
    front.page.messages.clear()
    front.say(type="read", file=0, offset=100, length=20)
    assert {"type": "bytes", "file": 0, "offset": 100, "size": -1} in front.page.messages
    assert front.page.bytes[0][100:120] == SEED.read_bytes()[100:120]


def test_what_cannot_be_read_is_answered_with_the_reason(open_panel: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    path.write_bytes(SEED.read_bytes())
    panel = open_panel(path)
    path.unlink()
    panel.comm.say(type="read", file=0, offset=0, length=20)
    (failed,) = [message for message in panel.comm.page.messages if message["type"] == "failed"]
    assert "not there any more" in failed["reason"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"type": "read"},
        {"type": "read", "file": 7, "offset": 0, "length": 1},
        {"type": "read", "file": "x", "offset": None, "length": 1},
        {"type": "ready", "sizes": None},
        {"type": "ready", "sizes": ["a"]},
        {"type": "ready", "sizes": list(range(100))},
    ],
)
def test_nonsense_from_the_page_harms_nothing(open_panel: Open, content: dict[str, Any]) -> None:
    panel = open_panel(SEED)
    panel.comm.say(**content)
    panel.comm.say(type="read", file=0, offset=0, length=8)
    assert panel.comm.page.bytes[0][:8] == SEED.read_bytes()[:8]


def test_after_each_message_the_page_can_reach_a_busy_kernel(open_panel: Open) -> None:
    panel = open_panel(SEED)
    front = panel.comm
    wait_until(lambda: front.page.has(SEED))
    panel.close()
    assert panel._feed.join(60)
    assert front.pinned
    assert not any(front.pinned), "what ipykernel pinned was there at the next message"


def test_a_closed_panel_sends_nothing_more(open_panel: Open, tmp_path: Path) -> None:
    path = tmp_path / "run.gradwatch"
    path.write_bytes(MAGIC)
    panel = open_panel(path)
    front = panel.comm
    wait_until(lambda: front.page.has(path))
    panel.close()
    assert panel._feed.join(60)
    sent = len(front.page.messages)
    with path.open("ab") as file:
        file.write(b"more")
    front.say(type="ready", sizes=[-1])
    assert panel._feed.join(60)
    assert len(front.page.messages) == sent


def test_a_checkout_without_the_page_says_how_to_build_it(
    open_panel: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gradwatch.widget.STATIC", tmp_path / "nothing")
    with pytest.raises(GradwatchError, match="make widget"):
        open_panel(SEED)


def test_without_anywidget_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from gradwatch.errors import MissingDependency\n"
        "try: import gradwatch.widget\n"
        "except MissingDependency as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("The panel in a notebook needs anywidget, which is not installed.\n")
    assert out.endswith("pip install gradwatch[notebook]\n")


def test_the_magics_load_no_widgets_before_one_is_shown() -> None:
    code = "import sys, gradwatch.notebook.magics; print({'anywidget', 'ipywidgets', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# Wheels


def test_a_wheel_without_the_page_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "kernel_ext" / "build_statistics.py"
    specification = importlib.util.spec_from_file_location("build_statistics_of_wheel", script)
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "PAGE", tmp_path)
    hook = module.StatisticsBuildHook.__new__(module.StatisticsBuildHook)
    with pytest.raises(FileNotFoundError, match=r"widget\.js is not there.* make widget"):
        hook.initialize("standard", {})
