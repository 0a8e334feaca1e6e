"""Writes tests/golden/snapshots: what a stopped program answers, for the panel's tests. Run after the answer changes.

`--big PATH N` writes one with about N parameters and N nodes (at most 1,000 parameters) instead, for benches.
Programs run as the file /project/train.py on a machine called "machine", so that every machine makes the same ones.
"""

from __future__ import annotations

import json
import linecache
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradwatch.capture.attach import attach, detach
from gradwatch.debugger import answer
from gradwatch.json_records import record_from, to_json
from gradwatch.records import Run, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden" / "snapshots"
FILE = "/project/train.py"
START_NS = 1_760_000_000_000_000_000

MLP = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(16, 64), nn.ReLU(),
        nn.Linear(64, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def train_step(batch, target):
        optimizer.zero_grad()
        logits = model(batch)
        loss = F.cross_entropy(logits, target)
        loss.backward(retain_graph=True)
        stop()
        optimizer.step()

    for step in range(4):
        train_step(torch.randn(32, 16), torch.randint(0, 10, (32,)))
"""

TRANSFORMER = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    WIDTH, HEADS, WORDS, LENGTH = 16, 4, 50, 12

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
            self.out = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            q, k, v = (
                part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
                for part in self.qkv(x).chunk(3, -1)
            )
            scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
            weights = scores.softmax(-1)
            return self.out((weights @ v).transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(WIDTH)
            self.attention = Attention()
            self.norm2 = nn.LayerNorm(WIDTH)
            self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Transformer(nn.Module):
        def __init__(self, depth=12):
            super().__init__()
            self.embed = nn.Embedding(WORDS, WIDTH)
            self.position = nn.Parameter(torch.zeros(LENGTH, WIDTH))
            self.blocks = nn.ModuleList(Block() for _ in range(depth))
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, WORDS, bias=False)

        def forward(self, tokens):
            x = self.embed(tokens) + self.position
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    watched = False

    def on_gradient(grad):
        if watched:
            stop()
        return grad

    def train_step(tokens):
        logits = model(tokens)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        return loss

    def add_hook(module, args, output):
        output.register_hook(on_gradient)

    model.blocks[6].mlp[1].register_forward_hook(add_hook)
    for step in range(4):
        watched = step == 3
        train_step(torch.randint(0, WORDS, (4, LENGTH)))
        if step % 2:  # two batches a step
            optimizer.step()
            optimizer.zero_grad()
        else:
            stop()
"""

NAN = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            self.backbone = nn.Linear(8, 8).requires_grad_(False)
            self.scale = nn.Parameter(torch.ones(8))
            self.shift = nn.Parameter(torch.zeros(20))
            self.dead = nn.Linear(8, 8)
            self.unused = nn.Linear(8, 4)
            self.head = nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens):
            x = self.backbone(self.embed(tokens))
            dead = 0.0 * self.dead(x).sum()
            x = (x * self.scale - x).clamp(min=0).sqrt()
            return self.head(x) + dead + self.shift

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    temperature = torch.tensor(2.0, requires_grad=True)

    def train_step(batch):
        outputs = {"logits": model(batch["tokens"]) / temperature}
        outputs["loss"] = nn.functional.cross_entropy(outputs["logits"], batch["target"])
        stop()
        outputs["loss"].backward(retain_graph=True)
        stop()

    train_step({"tokens": torch.randint(0, 20, (6,)), "target": torch.randint(0, 20, (6,))})
"""

NOTHING = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2)

    def scale(values):
        factor = 2.0
        stop()
        return values * factor

    def evaluate(batch):
        with torch.no_grad():
            mean = batch.mean(0)
            return scale(mean)

    def main():
        net = model
        batch = torch.ones(8, 4)
        evaluate(batch)
        return net

    main()
"""

NO_TORCH = """
    def count(words):
        total = len(words)
        stop()
        return total

    count(["a", "b"])
"""

BIG = """
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(*(
        nn.Sequential(nn.Linear(WIDTH, WIDTH), *(nn.Tanh() for _ in range(TANHS)))
        for _ in range(LAYERS)
    ))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def train_step(batch):
        optimizer.zero_grad()
        loss = model(batch).mean()
        loss.backward(retain_graph=True)
        stop()

    for step in range(2):
        train_step(torch.randn(8, WIDTH))
"""


def run(program: str, names: dict[str, Any] | None = None) -> str:
    """Run a program whose `stop()` asks for a snapshot, as a debugger does there; return the last answer."""
    text = textwrap.dedent(program).lstrip("\n")
    linecache.cache[FILE] = (len(text), None, text.splitlines(keepends=True), FILE)
    answers: list[str] = []

    def stop() -> None:
        frame = sys._getframe(1)
        where = {"file": FILE, "line": frame.f_lineno, "function": frame.f_code.co_name}
        request = json.dumps({"question": "snapshot", "budget_ms": 60_000, "frame": where})
        # As pydevd does: in the frame's own names.
        answers.append(eval("answer(request)", {"answer": answer, "request": request}, dict(frame.f_locals)))

    attach()  # as the first stop does where a debugger is attached
    try:
        exec(compile(text, FILE, "exec"), {"__name__": "__main__", "stop": stop, **(names or {})})
    finally:
        detach()
        del linecache.cache[FILE]
    return answers[-1]


def snapshot_of(text: str) -> Snapshot:
    """The snapshot in an answer. Raises AssertionError with what came instead."""
    parsed = json.loads(text)
    if parsed["kind"] != "Snapshot":
        raise AssertionError(parsed["value"])
    return record_from(Snapshot, parsed["value"])


def without_machine(snapshot: Snapshot) -> Snapshot:
    """The snapshot without what differs from run to run: times, ids of processes and threads, the machine's names."""
    run = Run(
        format_version=snapshot.run.format_version,
        gradwatch_version="0",
        detail="modules",
        start_ns=START_NS,
        hostname="machine",
        pid=4242,
        rank=0,
        world_size=1,
        argv=[FILE],
        working_directory="/project",
        python_version="3.12.0",
        torch_version=snapshot.run.torch_version and "2.13.0",
        cuda_version=None,
        platform="Linux",
        devices=["cpu"],
        git_revision=None,
        git_dirty=None,
        line_source=snapshot.run.line_source,
    )
    backward = snapshot.backward and replace(snapshot.backward, start_ns=START_NS, thread=1)
    stop = replace(snapshot.stop, time_ns=START_NS, thread=1, number=min(snapshot.stop.number, 2))
    states = snapshot.states and replace(snapshot.states, stop=stop.number)
    cost = dict.fromkeys(sorted(snapshot.cost_ms), 1.0)
    return replace(snapshot, run=run, backward=backward, stop=stop, states=states, cost_ms=cost)


def _without_torch() -> str:
    """The answer of a program that has not loaded torch. This process has: for the while it is not found."""
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"}
    for name in hidden:
        del sys.modules[name]
    try:
        return run(NO_TORCH)
    finally:
        sys.modules.update(hidden)


PROGRAMS: dict[str, Callable[[], str]] = {
    "mlp": lambda: run(MLP),
    "transformer": lambda: run(TRANSFORMER),
    "nan": lambda: run(NAN),
    "nothing": lambda: run(NOTHING),
    "no_torch": _without_torch,
}


def big(nodes: int) -> str:
    """A snapshot with about `nodes` nodes and up to 1,000 parameters, 10 MB in all."""
    layers = min(nodes // 7, 500)  # Linear: two leaves, a transpose, an addmm
    tanhs = max(1, nodes // layers - 4)
    return run(BIG, {"WIDTH": 70, "LAYERS": layers, "TANHS": tanhs})


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PROGRAMS.items():
        text = to_json("Snapshot", without_machine(snapshot_of(make())))
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--big"]:
        Path(sys.argv[2]).write_text(big(int(sys.argv[3])), encoding="utf-8")
    else:
        write(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
