"""A movement of which two things are told: Stripe's own word takes the place of a file's; what Stripe says later is only noted.

Either way the movement keeps in words what was said otherwise, and the reconciliation shows it as a break for a person.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from billing.balance import Movement
from billing.minor_units import written
from billing.models import BalanceTransaction, PlatformFee
from billing.queries import stripe_modes

# What a file says of a movement, and Stripe may say better. What Stripe leaves empty stays as the file has it.
_TOLD: Final = (
    *("reporting_category", "source", "amount_minor", "fee_minor", "net_minor", "currency"),
    *("exchange_rate", "is_live", "description", "available_on", "created_at"),
)
COLUMNS: Final = ("type", *_TOLD, "charge", "payment_intent", "told_otherwise", "off_by_minor")


def forget_fees(rows: Iterable[BalanceTransaction]) -> None:
    """Take back the fees of movements that only a file told of wrongly: as Stripe says, they are recorded anew."""
    PlatformFee.objects.filter(balance_transaction__in=[row.stripe_id for row in rows]).delete()


def believe_stripe(row: BalanceTransaction, told: Movement) -> None:
    """Write Stripe's own word over a file's, without saving it."""
    differences = [*_differences(row, told)]
    if differences:
        _describe(row, told, f"A file said {_list(differences, 1)}; Stripe itself says {_list(differences, 2)}.")
        # A file that is wrong in one thing is believed in nothing.
        row.charge, row.payment_intent, row.payout, row.payout_id_at_stripe = "", "", None, ""
    for name in _TOLD:
        if (said := getattr(told, name)) not in {None, ""}:
            setattr(row, name, said)
    row.type = told.kind
    row.charge, row.payment_intent = told.charge or row.charge, told.payment_intent or row.payment_intent


def note(told: Movement) -> None:
    """Keep with a known movement that Stripe has told it otherwise by now; what it told first stays."""
    row = BalanceTransaction.objects.get(stripe_id=told.stripe_id)
    before = (row.told_otherwise, row.off_by_minor)
    differences = [*_differences(row, told)]
    _describe(row, told, f"Stripe told {_list(differences, 1)} first, which stays, and {_list(differences, 2)} later.")
    if (row.told_otherwise, row.off_by_minor) != before:
        row.save(update_fields=["told_otherwise", "off_by_minor"])


def _describe(row: BalanceTransaction, told: Movement, words: str) -> None:
    row.told_otherwise = words[:500]
    row.off_by_minor = told.net_minor - row.net_minor if row.currency == told.currency else 0


def _differences(row: BalanceTransaction, told: Movement) -> Iterator[tuple[str, str, str]]:
    """Yield what is told in two ways, with both. What one side leaves empty is not."""
    for name in ("amount", "fee"):
        known, said = (written(getattr(one, f"{name}_minor"), one.currency) for one in (row, told))
        if known != said:
            yield name, known, said
    sides: tuple[tuple[str, Any, Any], ...] = (
        ("what it is about,", row.source, told.source),
        ("payout", row.payout_id_at_stripe, told.payout),
        ("that it is of", stripe_modes.words(is_live=row.is_live), stripe_modes.words(is_live=told.is_live)),
    )
    for what, known, said in sides:
        if known and said and known != said:
            yield what, known, said


def _list(differences: Iterable[tuple[str, str, str]], side: int) -> str:
    return ", ".join(f"{one[0]} {one[side]}" for one in differences)
