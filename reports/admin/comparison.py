"""What the reconciliation page says first: whether both sides agree, what to do, and how the period compares with the one before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from billing.minor_units import written
from billing.models import BalanceTransaction, TopUp
from config.base.admin import moment, share
from reports.models import ReconciliationSignOff
from reports.queries.reconciliation import Figure, Statement


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in a word or two, what it means, and what to do next, a sentence each. `tone` is good, warn, bad or none."""

    tone: str
    answer: str
    words: str
    steps: tuple[str, ...] = ()


def figures(now: Sequence[Figure], before: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return the lines of the summary, each beside the sums of the period before; what was only there then is a line too."""
    earlier = {(figure.currency, figure.category): figure for figure in before}
    here = {(figure.currency, figure.category) for figure in now}
    gone = [Figure(one.currency, one.category, 0, 0, 0, 0, 0, 0) for one in before if (one.currency, one.category) not in here]
    return [_line(figure, earlier.get((figure.currency, figure.category))) for figure in [*now, *gone]]


def _line(figure: Figure, before: Figure | None) -> dict[str, Any]:
    was = before.stripe_minor if before else 0
    return {
        "currency": figure.currency,
        "category": figure.category.value.capitalize(),
        "stripe_count": figure.stripe_count,
        "stripe": written(figure.stripe_minor, figure.currency),
        "our_count": figure.our_count,
        "ours": written(figure.our_minor, figure.currency),
        "matched": figure.matched,
        "difference": written(figure.difference_minor, figure.currency) if figure.difference_minor else "",
        "open_breaks": figure.open_breaks,
        "before": written(was, figure.currency),
        "before_count": before.stripe_count if before else 0,
        "before_difference": written(before.difference_minor, figure.currency) if before and before.difference_minor else "",
        "change": _change(figure.stripe_minor, was),
    }


def _change(minor: int, was: int) -> str:
    """Say by how much a sum grew, whichever way the money went: more fees are a plus. A sum of the other sign has no rate."""
    return share(Fraction(minor, was) - 1, is_change=True) if was and minor * was >= 0 else ""


def verdict(
    statement: Statement, *, open_count: int, explained: frozenset[str], signed: ReconciliationSignOff | None, now: datetime
) -> Verdict:
    """Say whether Stripe's money and the books agree for a period. `explained` are the subjects of its explained breaks."""
    if open_count:
        return _broken(open_count, signed)
    if not statement.lines:
        return _NOTHING_EVER if _never_sold() else _NOTHING
    waiting = sum(line.stripe_minor is None and line.known not in explained for line in statement.lines)
    if waiting:
        what = "1 movement is" if waiting == 1 else f"{waiting:,} movements are"
        return Verdict("warn", "Not yet.", f"{what} in our books and not at Stripe so far, which may take three days.", (_COME_BACK,))
    if signed is None:
        is_over = statement.until <= now
        return Verdict("good", "Yes.", f"Everything agrees{_or_explained(explained)}.", (_SIGN if is_over else _SIGN_LATER,))
    by = f"{signed.signed_by} signed it {moment(signed.signed_at)}"
    if signed.digest != statement.digest:
        words = f"Everything agrees{_or_explained(explained)}, and the lines are not those that were signed: {by}."
        return Verdict("warn", "Changed since signed.", words, (_LOOK_LATE, _SIGN_ANEW))
    note = f" “{signed.note}”" if signed.note else ""
    return Verdict("good", "Yes, and it is signed.", f"{by}.{note}", ("There is nothing left to do.",))


def _broken(open_count: int, signed: ReconciliationSignOff | None) -> Verdict:
    what = "1 break is" if open_count == 1 else f"{open_count:,} breaks are"
    words = f"{what} open, so this period cannot be signed."
    if signed:
        words += f" {signed.signed_by} signed it {moment(signed.signed_at)}, before that was found."
    return Verdict("bad", "No.", words, _BREAK_STEPS)


def _or_explained(explained: frozenset[str]) -> str:
    return " or is explained" if explained else ""


def _never_sold() -> bool:
    return not BalanceTransaction.objects.exists() and not TopUp.objects.filter(payment__isnull=False).exists()


_BREAK_STEPS: Final = (
    "Open each break below and mend it where it is wrong: at Stripe, or by a refund or an adjustment here.",
    "What is right as it is, explain. What takes longer, assign to somebody.",
    "Compare now shows whether it is gone; then sign.",
)
_COME_BACK: Final = "Come back then, or ask sooner with Compare now. What Stripe has not booked by then becomes a break."
_SIGN: Final = "Sign the period: it keeps these figures with your name."
_SIGN_LATER: Final = "The period is not over; sign it when it is."
_LOOK_LATE: Final = "Look at what arrived late, in the file of this period."
_SIGN_ANEW: Final = "Then sign again."
_NOTHING: Final = Verdict("", "Nothing to compare.", "Nothing moved in this period, at Stripe or here.", ("Choose another period above.",))
_NOTHING_EVER: Final = Verdict(
    "",
    "Nothing to compare yet.",
    "No money has moved so far, neither at Stripe nor here.",
    (
        "New movements come by themselves once Stripe is connected and a top-up is paid.",
        "What Stripe booked earlier comes by Import Stripe file: a CSV from its reports.",
    ),
)


def in_words(line: Mapping[str, Any], period: object) -> str:
    """Say a line of the summary in one sentence, for the head of a file."""
    words = f"Stripe {line['stripe']}, ours {line['ours']}, difference {line['difference'] or 'none'}"
    return f"{words}; Stripe {line['before']} from {period}"
