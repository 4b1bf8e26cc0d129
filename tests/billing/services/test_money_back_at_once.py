"""Sixty-four threads on one wallet: charges, deposits, refunds that come and fail, disputes that open and end."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from billing.models import EntryKind, LedgerEntry, WalletStatus
from billing.services import charging, checking, disputes, topup_refunds
from tests import stripe_objects
from tests.billing.factories import NOW, a_caller, a_deposit, a_price, a_wallet, an_event
from tests.billing.services.rivals import at_once
from tests.billing.topups import a_paid_topup

pytestmark = pytest.mark.django_db(transaction=True)


def test_everything_at_once_leaves_clean_books() -> None:
    caller = a_caller()
    a_price("4")
    wallet = a_wallet(caller)
    topups = [a_paid_topup(wallet) for _ in range(8)]
    refunds = [stripe_objects.refund(payment_intent=one.payment_intent, amount=200, status="pending") for one in topups for _ in range(2)]
    opened = [stripe_objects.dispute(payment_intent=one.payment_intent, amount=500) for one in topups]
    calls: list[Callable[[], Any]] = [
        *(partial(topup_refunds.apply, refund, NOW) for refund in refunds),
        *(partial(topup_refunds.apply, refund | {"status": "failed"}, NOW) for refund in refunds),
        *(partial(disputes.apply, dispute, NOW) for dispute in opened),
        *(partial(disputes.apply, dispute | {"status": "won"}, NOW) for dispute in opened),
        *(partial(a_deposit, wallet, "100") for _ in range(8)),
        *(partial(charging.charge, [an_event(caller)], now=NOW) for _ in range(8)),
    ]
    outcomes = at_once(calls)
    assert not [one for one in outcomes if isinstance(one, Exception)]
    wallet.refresh_from_db()
    charged = -sum((entry.credits for entry in LedgerEntry.objects.filter(wallet=wallet, kind=EntryKind.CHARGE)), Decimal(0))
    assert wallet.balance == 8 * 500 + 8 * 100 - charged, "all refunds failed and all disputes were won"
    assert wallet.status == WalletStatus.ACTIVE
    run = checking.check(now=NOW, actor="system:tests")
    assert run.is_clean, [rule for rule in run.rules if rule["break_count"]]


def test_disputes_that_turn_at_once_end_as_stripe_said_last() -> None:
    """Won, lost after all, won on appeal: all that Stripe said, at the same moment, with spending and refunds among it."""
    caller = a_caller()
    a_price("4")
    wallet = a_wallet(caller)
    topups = [a_paid_topup(wallet) for _ in range(6)]
    calls: list[Callable[[], Any]] = [partial(charging.charge, [an_event(caller)], now=NOW) for _ in range(8)]
    for number, topup in enumerate(topups):
        dispute = stripe_objects.dispute(payment_intent=topup.payment_intent, amount=500)
        turns = ["needs_response", "won", "lost", "won", "lost"][: 4 + number % 2]
        calls += [
            partial(disputes.apply, dispute | {"status": status}, NOW, told_at=NOW + timedelta(seconds=second))
            for second, status in enumerate(turns)
        ]
        refund = stripe_objects.refund(payment_intent=topup.payment_intent, amount=200, status="pending")
        calls += [partial(topup_refunds.apply, refund | {"status": status}, NOW) for status in ("pending", "failed")]
    outcomes = at_once(calls)
    assert not [one for one in outcomes if isinstance(one, Exception)]
    wallet.refresh_from_db()
    charged = -sum((entry.credits for entry in LedgerEntry.objects.filter(wallet=wallet, kind=EntryKind.CHARGE)), Decimal(0))
    assert wallet.balance == 3 * 500 - charged, "every second one was lost in the end"
    assert wallet.status == WalletStatus.ACTIVE
    run = checking.check(now=NOW, actor="system:tests")
    assert run.is_clean, [rule for rule in run.rules if rule["break_count"]]
