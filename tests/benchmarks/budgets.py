"""`python -m tests.benchmarks.budgets`: what budgets cost a charge over HTTP, as ratios to charging without any.

The same load in turns, with none, with one and with five budgets on everything: all of them blocking, which is the dearest,
or all of them for alerts only. JSON on standard output, progress on standard error.
"""

import argparse
import json
import statistics
import sys
from decimal import Decimal
from typing import Any, Final

from tests.benchmarks import metering, stage

KINDS: Final = ("single_uniform", "single_hot", "batch_uniform")
CASES: Final = {"none": (0, "block"), "1_blocking": (1, "block"), "5_blocking": (5, "block"), "5_alerting": (5, "alert")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each measurement takes its turn")
    parser.add_argument("--seconds", type=float, default=3, help="how long each measurement lasts")
    asked = parser.parse_args()
    with stage.servers():
        token = stage.fill()
        with stage.web() as port:
            rounds = [_round(port, token, asked.seconds, number) for number in range(asked.rounds)]
        metering.check()
    json.dump({"rounds": len(rounds), "ratios": _ratios(rounds), "rounds_per_second": rounds}, sys.stdout, indent=2)
    print()


def _round(port: int, token: str, seconds: float, number: int) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for case, (count, action) in CASES.items():
        made = _make(count, action)
        figures[case] = {}
        for kind in KINDS:
            batch = kind.startswith("batch")
            callers = metering.BATCH_CALLERS if batch else metering.CALLERS
            done = metering.load(kind, port, token, callers, seconds)
            figures[case][kind] = done["per_second"] * (metering.BATCH if batch else 1)
        _end(made)
    print(f"round {number + 1}: {figures}", file=sys.stderr)
    return figures


def _make(count: int, action: str) -> list[Any]:
    from django.utils import timezone

    from billing.budgeting import Action, Measure, Window
    from billing.models import Budget
    from billing.services import budgets

    measures = [Measure.CREDITS, Measure.COST, Measure.TOKENS, Measure.REQUESTS, Measure.CREDITS]
    first = Budget.objects.count()
    return [
        budgets.open_budget(
            budgets.Terms(f"Budget {first + place}", measure, Window.MONTH, Decimal(10) ** 12, action=Action(action)), now=timezone.now()
        )
        for place, measure in enumerate(measures[:count])
    ]


def _end(made: list[Any]) -> None:
    from django.utils import timezone

    from billing.services import budgets

    for budget in made:
        budgets.end_budget(budget, now=timezone.now(), reason="measured")


def _ratios(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return, for each case and kind of load, the median of what was charged in a second by that without budgets."""
    return {
        case: {kind: round(statistics.median(r[case][kind] / r["none"][kind] for r in rounds), 3) for kind in KINDS}
        for case in CASES
        if case != "none"
    }


if __name__ == "__main__":
    main()
