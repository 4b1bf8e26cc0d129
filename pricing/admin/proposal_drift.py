"""How the margin of one event went from what it was to what it is: as bars that hang on each other, and as a sum.

What is shown is rounded so that it still adds up: the running totals are rounded, and a part is shown as the difference
of the two totals that it lies between.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

from config.base.admin import share
from config.base.exact import CONTEXT, Rounding, plain, round_to

PART_WORDS: Final = {
    "provider_price": "Provider prices",
    "model_mix": "Model mix",
    "tokens": "Tokens per event",
    "cache": "Cache hits",
    "retries": "Retries and failures",
    "credits": "Credits per event",
    "credit_value": "Value of a credit",
}
_TOTAL, _LESS, _MORE, _SAME = "var(--color-primary-600)", "#dc2626", "#16a34a", "#9ca3af"
_DIGITS: Final = 4  # of the largest total


@dataclass(frozen=True, slots=True)
class Step:
    """One bar, from `start` to `end`; a total starts at nothing."""

    words: str
    start: Decimal
    end: Decimal
    share: Decimal | None
    sentence: str
    is_total: bool = False

    @property
    def amount(self) -> Decimal:
        return CONTEXT.subtract(self.end, self.start)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table under the chart."""

    words: str
    amount: str
    share: str
    sentence: str
    is_total: bool


def steps(recommendation: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the bars, from the margin of an event at the baseline to the margin now; none without a baseline."""
    drift, baseline = recommendation["drift"], recommendation["per_event"]["baseline"]
    if not drift or not baseline:
        return ()
    at = CONTEXT.subtract(Decimal(baseline["value"]), Decimal(baseline["cost"]))
    amounts = [Decimal(part["amount"]) for part in drift["parts"]]
    totals = list(accumulate(amounts, CONTEXT.add, initial=at))
    exact = list(zip(drift["parts"], totals, totals[1:], strict=False))
    size = max(map(abs, totals))
    step = Decimal(1).scaleb(-max(2, _DIGITS - 1 - size.adjusted())) if size else Decimal("0.01")
    parts = [
        Step(
            PART_WORDS.get(part["name"], part["name"]),
            round_to(start, step, Rounding.HALF_UP),
            round_to(end, step, Rounding.HALF_UP),
            Decimal(part["share"]) if part["share"] is not None else None,
            part["sentence"],
        )
        for part, start, end in exact
    ]
    first, last = (round_to(total, step, Rounding.HALF_UP) for total in (totals[0], totals[-1]))
    none = Decimal(0)
    return (
        Step("Margin per event then", none, first, None, "", is_total=True),
        *parts,
        Step("Margin per event now", none, last, None, "", is_total=True),
    )


def lines(bars: tuple[Step, ...], currency: str) -> tuple[Line, ...]:
    """Return the bars as rows whose amounts add up from the first to the last, all with the same places."""
    return tuple(
        Line(
            bar.words,
            f"{'+' if bar.amount > 0 and not bar.is_total else ''}{bar.amount:,f} {currency}",
            share(bar.share) if bar.share else "",
            bar.sentence,
            bar.is_total,
        )
        for bar in bars
    )


def chart(bars: tuple[Step, ...]) -> dict[str, str]:
    """Return what Unfold's bar chart takes: bars that lie on their side, so that their names have room on a phone."""
    colours = [_TOTAL if bar.is_total else _LESS if bar.amount < 0 else _MORE if bar.amount > 0 else _SAME for bar in bars]
    data = {
        "labels": [bar.words for bar in bars],
        "datasets": [{"data": [[plain(bar.start), plain(bar.end)] for bar in bars], "backgroundColor": colours}],
    }
    axis = {"ticks": {"color": "#9ca3af"}, "grid": {"tickWidth": 0}, "border": {"width": 0}}
    options = {
        "indexAxis": "y",
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "maxBarThickness": 18,
        "minBarLength": 2,
        "plugins": {"legend": {"display": False}, "tooltip": {"enabled": False}},
        "scales": {"x": axis, "y": axis | {"grid": {"display": False}}},
    }
    return {"data": json.dumps(data), "options": json.dumps(options)}
