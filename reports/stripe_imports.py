"""Importing a file of Stripe's: all of it or nothing, and the same file again changes nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction

from billing.errors import SettlementContradiction
from billing.models import BalanceTransaction, Payout
from billing.queries import stripe_modes
from billing.services import settlements
from config.base.database import patient
from reports.stripe_files import Kind, Problem, Read, UnreadableFile, read

# The largest file takes about a minute; a page takes smaller ones.
_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file brought: `new` of its rows were not known."""

    kind: Kind
    rows: int
    new: int
    fees: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.rows:,} rows read, {self.new:,} of them new, {self.fees:,} fees recorded."


def import_text(text: str, *, now: datetime, is_live: bool | None = None) -> Imported:
    """Keep what a file says of real money or of Stripe's test mode; of the usual one (`stripe_modes`) where nobody says it.

    Raises UnreadableFile: a line that cannot be read, or that contradicts what is known.
    """
    told = read(text, is_live=stripe_modes.usual() if is_live is None else is_live, now=now)
    with transaction.atomic():
        patient(seconds=_SECONDS)
        if told.kind is Kind.PAYOUTS:
            return _payouts(told, now)
        if problems := [*_contradictions(told)]:
            raise UnreadableFile(problems)
        kept = settlements.keep(list(told.movements.values()), now=now)
        return Imported(told.kind, len(told.movements), kept.new, kept.fees)


def _contradictions(told: Read) -> list[Problem]:
    known = BalanceTransaction.objects.in_bulk([one.stripe_id for one in told.movements.values()], field_name="stripe_id")
    of_other_mode = settlements.of_other_mode([*told.movements.values()])
    problems = []
    for line, one in told.movements.items():
        row = known.get(one.stripe_id)
        if wrong := of_other_mode.get(one.stripe_id):
            problems.append(Problem(line, wrong))
            continue
        if row is not None and (difference := settlements.contradiction(row, one)):
            problems.append(Problem(line, difference))
        elif row is None and told.kind is Kind.ITEMIZED_PAYOUTS:
            words = f"{one.stripe_id} is not known here, and this file does not say what it is about: import the balance change first."
            problems.append(Problem(line, words))
    return problems


def _payouts(told: Read, now: datetime) -> Imported:
    before = Payout.objects.filter(stripe_id__in=[one.stripe_id for one in told.payouts.values()]).count()
    problems = []
    for line, one in told.payouts.items():
        try:
            settlements.keep_payout(one, now=now)
        except SettlementContradiction as refusal:
            problems.append(Problem(line, refusal.detail))
    if problems:
        raise UnreadableFile(problems)
    return Imported(told.kind, len(told.payouts), len(told.payouts) - before, 0)
