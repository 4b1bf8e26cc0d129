"""Events of disputes in any order, as often as they like, with spending in between: the books end where the final facts say.

Each run draws what a bank did with one or two disputes of a customer: asked, took the money, gave it back, took it again.
Stripe tells each step in one or two events, with the dispute as it was then. They come shuffled and repeated.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.models import Dispute, DisputeState, EntryKind, LedgerEntry, TopUp, WalletStatus
from billing.services import charging, checking, disputes, ledger
from pricing.models import PriceVersion, SpentRefundPolicy, Workspace
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_price, a_wallet, an_event
from tests.billing.topups import a_paid_topup

pytestmark = pytest.mark.django_db
S = DisputeState
PROFILE = settings(
    max_examples=15, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)

# What a bank may do next: the status, and what that moves.
STEPS: dict[str, list[tuple[str, int]]] = {
    "": [("warning_needs_response", 0), ("needs_response", -1), ("prevented", 0), ("prevented", -1)],
    "warning_needs_response": [("warning_under_review", 0), ("warning_closed", 0), ("needs_response", -1), ("lost", -1)],
    "warning_under_review": [("warning_closed", 0), ("needs_response", -1)],
    "warning_closed": [("needs_response", -1), ("lost", -1)],
    "needs_response": [("under_review", 0), ("won", 1), ("lost", 0)],
    "under_review": [("won", 1), ("lost", 0)],
    "won": [("under_review", -1), ("lost", -1)],
    "lost": [("appeal_under_review", 0), ("won", 1)],
    "appeal_under_review": [("won", 1), ("lost", 0)],
    "prevented": [("lost", -1), ("warning_closed", 1)],
}


def history(topup: TopUp, amount: int, length: int, random: Random) -> list[dict[str, Any]]:
    """Return the events of one dispute in the order in which they happened, the last of the final facts."""
    about = {"payment_intent": topup.payment_intent, "charge": topup.charge, "amount": amount}
    dispute = stripe_objects.dispute(**about, created=int(NOW.timestamp()))
    status, gone, events = "", 0, []
    for step in range(length):
        # An appeal, or the bank's change of mind, moves money only as far as it is on the other side.
        status, moves = random.choice([one for one in STEPS[status] if -1 <= gone + one[1] <= 0 or not one[1]] or [("under_review", 0)])
        at = int((NOW + timedelta(seconds=step)).timestamp())
        movements = list(dispute["balance_transactions"])
        kinds = ["charge.dispute.updated" if step else "charge.dispute.created"]
        if moves:
            gone += moves
            movements.append(stripe_objects.balance_transaction(amount=moves * amount, fee=0, net=moves * amount, created=at))
            kinds.append("charge.dispute.funds_withdrawn" if moves < 0 else "charge.dispute.funds_reinstated")
        if disputes.state_of(dispute | {"status": status}) not in {S.WARNING, S.OPEN}:
            kinds[0] = "charge.dispute.closed"
        dispute = dispute | {"status": status, "balance_transactions": movements}
        events += [stripe_objects.event(kind, dispute, created=at) for kind in kinds]
    return events


def tell(happened: dict[str, Any], now: datetime) -> None:
    disputes.HANDLERS[happened["type"]](stripe_objects.stored(happened), now)


@pytest.mark.parametrize("policy", SpentRefundPolicy)
@PROFILE
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 2),
    length=st.integers(1, 6),
    amounts=st.sampled_from([(500, 500), (200, 333), (1, 499)]),
)
def test_any_order_ends_where_the_final_facts_say(
    policy: SpentRefundPolicy, seed: int, count: int, length: int, amounts: tuple[int, int]
) -> None:
    Workspace.objects.update_or_create(pk=1, defaults={"spent_refund_policy": policy})
    if not PriceVersion.objects.exists():
        a_price("1")
    random = Random(seed)
    caller = a_caller()
    wallet = a_wallet(caller)
    topups = [a_paid_topup(wallet) for _ in range(count)]
    histories = [history(topup, amount, length, random) for topup, amount in zip(topups, amounts, strict=False)]
    heard = [one for events in histories for one in events]
    heard += random.choices(heard, k=len(heard) // 2)
    random.shuffle(heard)
    now = NOW + timedelta(days=1)
    steps: list[Callable[[], Any]] = [
        lambda: charging.charge([an_event(caller, quantity=Decimal(random.choice([1, 40, 499])))], now=now),
        lambda: charging.charge([an_event(caller, quantity=Decimal("0.333333"))], now=now),
        lambda: ledger.expire(wallet_id=wallet.pk, now=now),
        lambda: None,
    ]
    for happened in heard:
        random.choice(steps)()
        tell(happened, now)

    gone = Decimal(0)
    for topup, amount, events in zip(topups, amounts, histories, strict=False):
        final = events[-1]["data"]["object"]
        row = Dispute.objects.get(topup=topup)
        assert (row.state, row.stripe_status) == (disputes.state_of(final), final["status"])
        taken = LedgerEntry.objects.filter(payment=topup.payment, kind=EntryKind.WITHDRAWAL)
        due = amount if row.state in {S.OPEN, S.LOST} else 0
        assert -sum((entry.credits for entry in taken), Decimal(0)) == due
        assert (row.credits if due else due) == due
        gone += due
    entries = LedgerEntry.objects.filter(wallet=wallet)
    charged = -sum((entry.credits for entry in entries.filter(kind=EntryKind.CHARGE)), Decimal(0))
    written_off = sum((entry.credits for entry in entries.filter(kind=EntryKind.ADJUSTMENT)), Decimal(0))
    wallet.refresh_from_db()
    assert wallet.balance == 500 * count - charged - gone + written_off
    if policy == SpentRefundPolicy.RECEIVABLE or not gone:
        assert not written_off
    is_open = Dispute.objects.filter(topup__wallet=wallet, state=S.OPEN).exists()
    assert wallet.status == (WalletStatus.FROZEN if is_open else WalletStatus.ACTIVE)
    run = checking.check(now=now, actor="system:tests")
    assert run.is_clean, [rule for rule in run.rules if rule["break_count"]]
