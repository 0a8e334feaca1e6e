"""Real autograd nodes against the truth: a comment `# makes: A B` names the nodes that its line makes."""

# The layout of these lines and their odd statements are what is tested.
# fmt: off
# ruff: noqa: ANN001, ANN002, ANN201, ANN204, ANN205, PLW2901
# pyright: basic, reportUnusedExpression=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportCallIssue=false, reportMissingImports=false, reportArgumentType=false, reportPrivateImportUsage=false
from __future__ import annotations

import re
import sys
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gradwatch.capture.line_clock import LineClock
from gradwatch.capture.sites import SiteTable

table = SiteTable()
clock = LineClock(torch.autograd._get_sequence_nr, table)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.project(x).chunk(3, -1)  # makes: AddmmBackward0 SplitBackward0
        scores = q @ k.transpose(-1, -2)  # makes: BmmBackward0
        scores = scores / 4.0  # makes: DivBackward0
        weights = scores.softmax(-1)  # makes: SoftmaxBackward0
        mixed = weights @ v  # makes: BmmBackward0
        return self.out(mixed)  # makes: AddmmBackward0


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU())

    def forward(self, x):
        x = x + self.attention(self.norm(x))  # makes: NativeLayerNormBackward0 AddBackward0
        return x + self.mlp(x)  # makes: AddmmBackward0 GeluBackward0 AddBackward0


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        a = 3 * x  # makes: MulBackward0
        b = a * x  # makes: MulBackward0
        return grad * b  # makes: MulBackward0


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.blocks = nn.ModuleList([Block(16) for _ in range(3)])
        self.head = nn.Linear(16, 11, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)  # makes: EmbeddingBackward0
        for block in self.blocks:
            x = block(x)
        x = Cube.apply(x)  # makes: CubeBackward
        x = x.clone()  # makes: CloneBackward0
        x[0] = 0.0  # makes: CopySlices
        return self.head(x)  # makes: MmBackward0


def clipped(values):
    return [v.clamp(-5, 5) for v in values]  # makes: ClampBackward1


def graph(*roots):
    seen, left = set(), [root.grad_fn for root in roots]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left.extend(source for source, _ in node.next_functions)
    return [node for node in seen if "AccumulateGrad" not in node.name()]


def found_lines(nodes, thread):
    numbers = np.array([node._sequence_nr() for node in nodes], dtype=np.int64)
    users, projects = clock.resolve(thread, numbers)
    assert (users == projects).all()
    ids = table.site_ids(users)
    sites.update({site.id: site for site in table.new_sites()})
    lines = defaultdict(set)
    for node, site in zip(nodes, ids.tolist(), strict=True):
        assert site >= 0, node.name()
        assert sites[site].file == __file__
        lines[sites[site].line].add(node.name().rsplit("::", 1)[-1])
    return lines


VIEWS = {"View", "UnsafeView", "ReshapeAlias", "Expand", "Transpose", "T"}
"""Which of these a matmul makes differs between versions of torch; their line must make something."""


def check(lines):
    for line, names in lines.items():
        allowed = expected.get(line)
        assert allowed is not None, f"line {line} made {names}"
        names = {name for name in names if name.removesuffix("Backward0") not in VIEWS}
        assert "anything" in allowed or names == allowed - {"views"}, f"line {line}: {names} not in {allowed}"
    missing = set(expected) - set(lines)
    assert not missing, f"no nodes at lines {sorted(missing)}"


text = Path(__file__).read_text(encoding="utf-8").splitlines()
marks = ((number, re.search(r"  # makes: ([\w ]+)$", line)) for number, line in enumerate(text, 1))
expected = {number: set(mark[1].split()) for number, mark in marks if mark}
sites = {}
tokens = torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(0))


def step(model):
    logits = model(tokens)
    flat = logits.view(-1, 11)  # makes: views
    loss = functional.cross_entropy(flat, tokens.view(-1))  # makes: LogSoftmaxBackward0 NllLossBackward0
    low, high = clipped([loss * 2, loss.exp()])  # makes: MulBackward0 ExpBackward0
    return (
        low  # makes: AddBackward0
        + high.sqrt()  # makes: SqrtBackward0 MulBackward0
        * 3
    )


def train():
    torch.manual_seed(0)
    model = Model()
    total = step(model)
    parameters = list(model.parameters())
    total.backward(retain_graph=True)
    grads = torch.autograd.grad(total, parameters, create_graph=True)  # makes: anything
    penalty = sum(g.pow(2).sum() for g in grads)  # makes: PowBackward0 SumBackward0 AddBackward0
    total.backward(retain_graph=True)
    lines = found_lines(graph(penalty, total), threading.get_ident())
    penalty.backward()
    return lines


clock.start()
check(train())
results = []
worker = threading.Thread(target=lambda: results.append((threading.get_ident(), train())))
worker.start()
worker.join()
clock.stop()
assert clock.failure is None, clock.failure
check(results[0][1])
[source] = table.new_sources()
assert source.path == __file__
print(f"{sum(map(len, results[0][1].values()))} kinds of nodes right on Python {sys.version_info[:2]}")
