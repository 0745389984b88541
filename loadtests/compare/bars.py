"""The bars of the comparison: what must hold between the runs of a round."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from loadtests.bench.ratios import Bar, Line
from loadtests.compare.contenders import FASTREG_COLD, FASTREG_LOCAL, PEER, Contender
from loadtests.compare.matrix import HERD, MIXED, NODES, PUSHES
from loadtests.compare.runs import Run

NODES_OF_THE_HERD = 200
MOST_LAST, MOST_CPU = 0.8, 0.5
MOST_SENT, MOST_LAST_COLD = 1.1, 1.5
MOST_GROWTH = 1.1
"""Not growing, but for what one run differs from the next."""
MOST_P99 = 2.0

ByRound = dict[int, float]


def lines(runs: Sequence[Run]) -> list[Line]:
    """Return a line for every bar that the runs say something about."""
    nodes = sorted({run.nodes for run in runs if run.what == NODES and run.nodes > 1})
    herd = NODES_OF_THE_HERD if NODES_OF_THE_HERD in nodes else max(nodes, default=0)
    found = of_pushes(runs)
    if herd:
        found = [*of_the_herd(runs, herd), *of_a_cold_herd(runs, herd), *found]
    if len(nodes) > 1:
        found.append(of_growth(runs, nodes[0], nodes[-1]))
    return [line for line in found if line.values]


def of_the_herd(runs: Sequence[Run], nodes: int) -> list[Line]:
    def of(contender: Contender, value: Callable[[Run], float]) -> ByRound:
        return by_round(runs, value, contender, NODES, HERD, nodes)

    ours = among(runs, FASTREG_LOCAL, NODES, HERD, nodes)
    work = f"herd of {nodes} nodes"
    return [
        Line(
            f"{work}: the last",
            Bar(MOST_LAST, "× docker-registry's"),
            ratios(of(FASTREG_LOCAL, last_s), of(PEER, last_s)),
        ),
        Line(
            f"{work}: registry CPU",
            Bar(MOST_CPU, "× docker-registry's"),
            ratios(of(FASTREG_LOCAL, cpu_s), of(PEER, cpu_s)),
        ),
        Line(f"{work}: failures", Bar(0, "failures"), total(map(failures, ours))),
    ]


def of_a_cold_herd(runs: Sequence[Run], nodes: int) -> list[Line]:
    def of(contender: Contender, nodes: int) -> ByRound:
        return by_round(runs, last_s, contender, NODES, HERD, nodes)

    cold, local, alone = of(FASTREG_COLD, nodes), of(FASTREG_LOCAL, nodes), of(FASTREG_COLD, 1)
    allowed = {
        number: MOST_LAST_COLD * local[number] + alone[number]
        for number in local.keys() & alone.keys()
    }
    sent = by_round(runs, sent_share, FASTREG_COLD, NODES, HERD, nodes)
    work = f"cold herd of {nodes} nodes"
    limit = f"× ({MOST_LAST_COLD:g} × the herd from disk + one cold pull)"
    return [
        Line(f"{work}: sent by Azure", Bar(MOST_SENT, "× the image"), list(sent.values())),
        Line(f"{work}: the last", Bar(1, limit), ratios(cold, allowed)),
    ]


def of_growth(runs: Sequence[Run], few: int, many: int) -> Line:
    a_node = [
        by_round(runs, lambda run: cpu_s(run) / run.nodes, FASTREG_LOCAL, NODES, HERD, nodes)
        for nodes in (many, few)
    ]
    return Line(
        f"registry CPU a node, {many} nodes",
        Bar(MOST_GROWTH, f"× with {few} nodes"),
        ratios(*a_node),
    )


def of_pushes(runs: Sequence[Run]) -> list[Line]:
    runs = [run for run in runs if run.what == PUSHES and not is_without_pushes(run)]
    growth = by_round(runs, p99_growth, FASTREG_LOCAL, PUSHES, MIXED)
    failed = total(map(failed_pushes, among(runs, FASTREG_LOCAL, PUSHES, MIXED)))
    return [
        Line("pushes during pulls: failures", Bar(0, "failures"), failed),
        Line(
            "pulls during pushes: p99",
            Bar(MOST_P99, "× without pushes"),
            list(growth.values()),
        ),
    ]


def among(
    runs: Sequence[Run], contender: Contender, what: str, shape: str, nodes: int = 0
) -> list[Run]:
    """Return the runs of one kind, in the order of their rounds; `nodes` 0 is any number."""
    return [
        run
        for run in runs
        if (run.contender, run.what, run.shape) == (contender.name, what, shape)
        and nodes in (0, run.nodes)
    ]


def by_round(
    runs: Sequence[Run],
    value: Callable[[Run], float],
    contender: Contender,
    what: str,
    shape: str,
    nodes: int = 0,
) -> ByRound:
    """Return what was measured in each round, without the runs that failed."""
    kind = among(runs, contender, what, shape, nodes)
    return {run.round: value(run) for run in kind if run.error is None}


def ratios(ours: ByRound, theirs: ByRound) -> list[float]:
    """Return ours by theirs, of the rounds that have both."""
    return [ours[number] / theirs[number] for number in sorted(ours.keys() & theirs.keys())]


def total(counts: Iterable[int]) -> list[int]:
    """Return the sum over all rounds, if there are any: no median makes up for a failure."""
    found = list(counts)
    return [sum(found)] if found else []


def last_s(run: Run) -> float:
    return float(run.measured["time_to_image"]["last"])


def p99_growth(run: Run) -> float:
    phases = run.measured["time_to_image"]["by_phase"]
    return float(phases["pushing"]["p99"] / phases["quiet"]["p99"])


def cpu_s(run: Run) -> float:
    assert run.server_cpu_s is not None
    return run.server_cpu_s


def sent_share(run: Run) -> float:
    assert run.egress_bytes is not None
    return run.egress_bytes / run.image_bytes


def failures(run: Run) -> int:
    """Return how many requests failed, or pulls where more did; whatever else is wrong with a
    run counts as one."""
    least = int(run.error is not None)
    if run.result is None:
        return least
    return max(least, int(run.result["errors"]), len(run.result["failures"]))


def is_without_pushes(run: Run) -> bool:
    """Return whether nobody pushed in a run that came to its end: it says nothing of pushes."""
    if run.result is None or not run.result["complete"]:
        return False
    return not run.result["pushes"]["count"] + run.result["pushes"]["failed"]


def failed_pushes(run: Run) -> int:
    """Return how many pushes failed; a run that did not come to its end counts as one."""
    if run.result is None or not run.result["complete"]:
        return 1
    return int(run.result["pushes"]["failed"])
