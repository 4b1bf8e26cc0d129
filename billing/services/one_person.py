"""What one person may move by hand: on one wallet, within 24 hours, all of it together, so that the limit is not passed in parts.

Grants, adjustments, transfers and refunds of charges count, by what they did to the balance, whichever way. What a second
person approved does not. The trigger `one_person_moves_within_the_limit` on ledger entries says the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from billing.errors import NeedsSecondPerson
from billing.models import EntryKind, LedgerEntry
from billing.queries import by_hand
from config.base.exact import ZERO, grouped
from pricing.queries import workspace

_KINDS = (EntryKind.GRANT, EntryKind.ADJUSTMENT, EntryKind.TRANSFER, EntryKind.REFUND)


def refuse_above_limit(entries: Sequence[LedgerEntry], *, now: datetime) -> None:
    """Raise NeedsSecondPerson if these entries are by one person and above what that person may move.

    They are not written yet, and their wallets are locked, so that nobody moves more in between.
    """
    changes: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    for entry in entries:
        if _is_by_one_person(entry):
            changes[entry.wallet_id, entry.actor] += entry.credits
    if not changes:
        return
    limit = workspace.load().approval_limit_credits
    for (wallet_id, actor), credits in changes.items():
        moved = by_hand.moved(wallet_id=wallet_id, actor=actor, now=now) if credits else ZERO
        if credits and moved + abs(credits) > limit:
            before = f", and you have moved {grouped(moved)} already" if moved else ""
            raise NeedsSecondPerson(
                f"One person may move up to {grouped(limit)} credits on a wallet within 24 hours{before}: "
                f"{grouped(abs(credits))} more need a second person's approval.",
                limit=limit,
                moved=moved,
            )


def _is_by_one_person(entry: LedgerEntry) -> bool:
    return entry.kind in _KINDS and entry.actor.startswith("user:") and entry.payment_id is None and entry.approved_by_id is None
