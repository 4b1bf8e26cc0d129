"""A wallet that fills itself: from the first empty morning to a card that is lost, told as finance would.

Acme agreed to 10 USD for 1,000 credits whenever fewer than 100 are left, at most 30 USD a day and 100 USD a month.
"""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from billing import checks
from billing.models import AutoTopUpState, BillingNotice, TopUpStatus, Wallet
from billing.services import auto_topup_terms, ledger
from tests.billing import saving
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.stripe_desk import StripeDesk

pytestmark = pytest.mark.django_db


def spend(wallet: Wallet, credits: int, now: datetime) -> None:
    ledger.adjust(wallet_id=wallet.pk, credits=Decimal(-credits), reason="spent", actor="system:tests", now=now)


def balance(wallet: Wallet) -> Decimal:
    wallet.refresh_from_db()
    return Decimal(wallet.balance)


def state(wallet: Wallet) -> tuple[str, int]:
    auto = saving.again(wallet)
    return auto.state, auto.failures


def test_a_wallet_fills_itself_until_its_card_is_lost(stripe_desk: StripeDesk) -> None:
    User.objects.create_superuser("ann", "ann@example.com")
    acme = a_wallet(a_caller(), credits="500")

    # Agreed on Friday morning. Without a card nothing happens; Acme follows a link and saves one.
    saving.an_auto_topup(acme)
    assert state(acme) == (AutoTopUpState.WAITING, 0)
    card = saving.save_card(stripe_desk, acme)
    assert card.method_label == "Visa 4242, 12/2034"
    assert state(acme) == (AutoTopUpState.ACTIVE, 0)
    assert saving.run() == 0  # 500 credits are enough

    # 410 are spent: 90 are left, fewer than 100.
    spend(acme, 410, NOW)
    assert saving.run(NOW + timedelta(minutes=1)) == 1
    assert balance(acme) == 1090
    [first] = saving.orders(acme)
    assert (first.status, first.amount_minor, first.reason) == (TopUpStatus.PAID, 1000, "Fewer than 100 credits were available")
    saving.hear(stripe_desk)  # what Stripe tells of it afterwards changes nothing
    assert saving.run(NOW + timedelta(minutes=2)) == 0
    assert (balance(acme), saving.charges(stripe_desk)) == (1090, 1)

    # Another card, which is saved without complaint and declined when it is charged.
    saving.save_card(stripe_desk, acme, card="fails_later", now=NOW + timedelta(minutes=5))
    spend(acme, 1000, NOW)
    at, pauses = NOW + timedelta(hours=1), []
    for _ in range(3):
        assert saving.run(at) == 1
        auto = saving.again(acme)
        assert (auto.state, auto.why) == (AutoTopUpState.BACKING_OFF, "Your card was declined.")
        assert auto.next_attempt_at is not None
        pauses.append(round((auto.next_attempt_at - at) / timedelta(hours=1)))
        assert saving.run(at + timedelta(minutes=30)) == 0
        at = auto.next_attempt_at
    assert pauses == [1, 6, 24]

    # The fourth decline in a row stops it. Finance was told of the first and is told of the end, and of nothing between.
    assert saving.run(at) == 1
    assert state(acme) == (AutoTopUpState.STOPPED, 4)
    assert saving.again(acme).why == "4 declines in a row, the last: Your card was declined."
    assert [notice.kind for notice in BillingNotice.objects.order_by("pk")] == ["auto_topup_declined", "auto_topup_stopped"]
    assert saving.run(at + timedelta(days=3)) == 0
    assert (balance(acme), saving.charges(stripe_desk)) == (90, 1)

    # Acme saves a card that works, and finance starts it again.
    saving.save_card(stripe_desk, acme, card="mastercard", now=at)
    assert state(acme)[0] == AutoTopUpState.STOPPED
    at += timedelta(days=3)
    auto_topup_terms.start_again(wallet_id=acme.pk, reason="A new card", now=at)
    assert saving.run(at) == 1
    assert state(acme) == (AutoTopUpState.ACTIVE, 0)
    assert (balance(acme), saving.charges(stripe_desk)) == (1090, 2)

    # Some card is reported stolen: no second try.
    saving.save_card(stripe_desk, acme, card="authenticate", now=at)
    spend(acme, 1000, at)
    assert saving.run(at) == 1
    assert state(acme) == (AutoTopUpState.STOPPED, 0)
    assert "authentication_required" in saving.again(acme).why
    assert not checks.run().breaks
