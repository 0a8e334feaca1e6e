"""Which parameters never get a gradient, and what cuts them off: one finding for all that one line cuts off."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradwatch.findings import words
from gradwatch.findings.cuts import Culprit, culprit_of
from gradwatch.findings.reach import Reach
from gradwatch.records import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradwatch.findings.thresholds import Thresholds
    from gradwatch.records import Severity
    from gradwatch.session.names import ParameterView
    from gradwatch.session.session import Session


@dataclass(frozen=True, slots=True)
class Words:
    """How a cause is told: `{name}` is the Python name, `{op}` the function, `{those}` the parameters."""

    why: str
    fix: str


_WORDS: dict[str, Words] = {
    "never called": Words(
        "its module was never called",
        "Call the module in forward(), or remove it; under DDP unused parameters need find_unused_parameters=True.",
    ),
    "detached": Words(
        "{op} takes {name} off the graph",
        "Remove the detach, or freeze {those} with requires_grad_(False) if this is meant.",
    ),
    "data": Words(
        ".data of {name} has no graph",
        "Use the tensor itself instead of .data; inside torch.no_grad() where it is only to be changed.",
    ),
    "number": Words(
        "{op} makes {name} a Python number, which has no graph",
        "Compute the loss with tensors; call .item() only for what is printed or logged.",
    ),
    "numpy": Words(
        "{op} hands {name} to numpy, which autograd does not see",
        "Use the torch function of the same name instead of numpy's.",
    ),
    "no_grad": Words(
        "{op} runs under torch.no_grad()",
        "Take it out of torch.no_grad(), or freeze {those} with requires_grad_(False) if this is meant.",
    ),
    "reentrant checkpoint": Words(
        "{op} ran without grad, as in a reentrant checkpoint whose inputs need none",
        "Call checkpoint(..., use_reentrant=False), which lets gradients through whatever its inputs are.",
    ),
    "inference_mode": Words(
        "{op} runs under torch.inference_mode()",
        "Take it out of torch.inference_mode(), or freeze {those} with requires_grad_(False) if this is meant.",
    ),
    "not differentiable": Words(
        "{op} has no derivative",
        "Use a differentiable one in its place, such as softmax for argmax, or a straight-through estimator.",
    ),
    "rebuilt": Words(
        "{op} copies the values of {name} into a new tensor without their graph",
        "Use {name} itself, or torch.stack for a list of tensors.",
    ),
    "unused output": Words(
        "{name} is computed from it, and no backward call goes through {name}",
        "Add {name} to the loss, or do not compute it.",
    ),
    "not used": Words(
        "its module is called and no operation is given it",
        "Use it in forward(), or remove it.",
    ),
    "no gradient returned": Words(
        "{op} is in the graph and its backward returns None for it",
        "Return the gradient of every input that needs one from backward().",
    ),
    "unknown": Words(
        "no backward call leads to it",
        "Record the run again from its start: its first step is traced op by op.",
    ),
}


def find(session: Session, _: Thresholds) -> Iterator[Finding]:
    """Every parameter that wants a gradient and never got one, by what cuts it off."""
    reach = Reach.of(session)
    if not reach.fed_steps or not reach.asks_for_gradients:
        return
    groups: defaultdict[Culprit, list[ParameterView]] = defaultdict(list)
    for view in reach.trainable:
        if view.id not in reach.reached and not _is_used_otherwise(reach, view):
            groups[culprit_of(reach, view)].append(view)
    for culprit, views in groups.items():
        for severity, part in _by_severity(reach, culprit, views).items():
            yield _finding(reach, culprit, part, severity)


def _is_used_otherwise(reach: Reach, view: ParameterView) -> bool:
    """Whether the program may take its gradient from autograd.grad(), which leaves `.grad` alone."""
    return reach.takes_gradients and view.id not in (reach.optimized or ())


def _by_severity(reach: Reach, culprit: Culprit, views: Sequence[ParameterView]) -> dict[Severity, list[ParameterView]]:
    """What an optimizer is to train and cannot is an alarm; what none has may be meant so."""
    found: defaultdict[Severity, list[ParameterView]] = defaultdict(list)
    for view in views:
        found[_severity(reach, culprit, view)].append(view)
    return found


def _severity(reach: Reach, culprit: Culprit, view: ParameterView) -> Severity:
    if reach.optimized is not None:
        return "warning" if view.id in reach.optimized else "note"
    trains = {each.root for each in reach.trainable if each.id in reach.reached}
    return "warning" if view.root in trains and culprit.cause != "unknown" else "note"


def _finding(reach: Reach, culprit: Culprit, views: Sequence[ParameterView], severity: Severity) -> Finding:
    many = len(views) > 1
    told = _told(culprit, many=many)
    who = words.names([view.name for view in views])
    steps = reach.fed_steps
    get = "get" if many else "gets"
    return Finding(
        kind="unreached",
        severity=severity,
        title=f"{words.counted(len(views), 'parameter')} without a gradient",
        sentence=f"{who} {get} no gradient in {_all(len(steps))}: {told.why}.",
        cause=culprit.cause,
        fix=told.fix,
        steps=[steps[0], steps[-1]],
        graph=culprit.graph,
        nodes=[culprit.node] if culprit.node >= 0 else [],
        parameters=[view.id for view in views],
        modules=[culprit.module] if culprit.module >= 0 else [],
        site=culprit.site,
        name=culprit.name,
        bytes=culprit.bytes,
        evidence=[*words.by_module(views), *culprit.evidence, *_of_optimizers(reach, views)],
        certainty=culprit.certainty,
    )


def _all(steps: int) -> str:
    return "the one step" if steps == 1 else f"any of {steps:,} steps"


def _told(culprit: Culprit, *, many: bool) -> Words:
    known = _WORDS.get(culprit.cause, _WORDS["unknown"])
    name, op = culprit.name or "its result", culprit.op or "the operation"
    those = "these parameters" if many else "the parameter"
    why = known.why.format(name=culprit.name or "the tensor", op=op, those=those)
    if culprit.cause == "unused output" and not culprit.name:
        why = f"{op} is computed from it, and no backward call goes through its result"
    if many:
        why = why.replace("its module was", "their modules were").replace("its module is", "their modules are")
        why = (
            why.replace("given it", "given them")
            .replace("from it", "from them")
            .replace("leads to it", "leads to them")
        )
        why = why.replace("None for it", "None for them")
    return Words(why, known.fix.format(name=name, op=op, those=those))


def _of_optimizers(reach: Reach, views: Sequence[ParameterView]) -> list[str]:
    if reach.optimized is None:
        return []
    inside = sum(view.id in reach.optimized for view in views)
    if not inside:
        return ["in no optimizer"]
    return ["in an optimizer" if inside == len(views) else f"{inside} of {len(views)} in an optimizer"]
