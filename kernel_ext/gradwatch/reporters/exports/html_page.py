"""One page that replays a session: the replay UI and the session's bytes in one HTML file, which asks no network.

No text of the session stands in the page but as base64; the file's name is escaped. A content security policy lets
the page's own script and sheet run, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gradwatch
from gradwatch.errors import GradwatchError
from gradwatch.records import Backward, Gradients, Step
from gradwatch.reporters.exports.thinned_session import SessionCopy, copy_session

if TYPE_CHECKING:
    from typing import BinaryIO

    from gradwatch.reporters.exports.source import Source

READS: tuple[type, ...] = (Gradients, Backward, Step)
LARGEST_BYTES = 64 << 20
"""A session above this is thinned: browsers hold the page as text, in base64, and its bytes beside it."""

_BLOCK_BYTES = 3 << 20  # a multiple of 3, so that each block is whole base64; a page unpacks one at a time
_STATIC = Path(gradwatch.__file__).parent / "static"
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{name} · gradwatch</title>
<style>{sheet}</style>
</head>
<body>
<div id="root">
<noscript><p class="page-note">This page replays a recorded session, and needs JavaScript.</p></noscript>
</div>
{note}"""


@dataclass(frozen=True, slots=True)
class PageWritten:
    """How many steps the page shows the details of, and what the reader must be told."""

    steps: int
    notes: tuple[str, ...]


def require_bundle() -> None:
    """Raise GradwatchError where this installation lacks the page's script."""
    if not (_STATIC / "page.js").is_file():
        raise GradwatchError(
            f"{_STATIC / 'page.js'} is not there: this installation was made without the replay page.\n"
            "Install gradwatch from a wheel, or build it in the source folder: make page"
        )


def write_page(source: Source, path: Path, largest: int = LARGEST_BYTES) -> PageWritten:
    """Write the page to `path`. Raises GradwatchError where the bundle is missing."""
    require_bundle()
    beside = path.with_name(f"{path.name}.session")
    try:
        copied = copy_session(source, beside, largest)
        with path.open("wb") as page, beside.open("rb") as session:
            _write(page, session, source.session.path.name, copied)
    finally:
        beside.unlink(missing_ok=True)
    return PageWritten(copied.steps, copied.notes)


def _write(page: BinaryIO, session: BinaryIO, name: str, copied: SessionCopy) -> None:
    script, sheet = _embedded("page.js", "</script"), _embedded("page.css", "</style")
    policy = _policy(script, sheet)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in copied.notes)
    note = f'<div class="page-note" role="note">{notes}</div>\n' if notes else ""
    page.write(_HEAD.format(policy=policy, name=html.escape(name), sheet=sheet, note=note).encode())
    while block := session.read(_BLOCK_BYTES):
        page.write(f'<script type="application/octet-stream;base64" data-file="{html.escape(name)}">'.encode())
        page.write(base64.b64encode(block))
        page.write(b"</script>\n")
    page.write(f"<script>{script}</script>\n</body>\n</html>\n".encode())


def _policy(script: str, sheet: str) -> str:
    """Nothing but what stands in the page: as `data:` the WebAssembly that unpacks chunks, which is no network."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, sheet)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'wasm-unsafe-eval'; style-src 'sha256-{hashes[1]}'; "
        "img-src data:; connect-src data:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _embedded(name: str, end: str) -> str:
    """Return a file of the bundle, which must not end its element, nor open a comment that hides the end."""
    text = (_STATIC / name).read_text(encoding="utf-8").replace("\r\n", "\n")
    if end in text.lower() or "<!--" in text:
        raise GradwatchError(f"{_STATIC / name} cannot stand in a page: it holds {end} or a comment's start.")
    return text
