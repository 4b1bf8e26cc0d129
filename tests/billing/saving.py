"""Auto top-up as tests need it: agreed on, with a card saved at the simulation of Stripe."""

import json
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.errors import StripeUnavailable
from billing.models import AutoTopUp, EventQueue, StripeCustomer, StripeEvent, TopUp, TopUpChannel, Wallet
from billing.services import auto_topup_terms, auto_topups, inbox, saved_cards
from billing.services.auto_topup_terms import Terms
from billing.services.stripe_handling import NotYet
from billing.stripe_envelope import envelope
from tests.billing.factories import NOW
from tests.stripe_desk import StripeDesk

RETURN = "https://example.com/thanks"


def terms(**fields: Any) -> Terms:
    """Ten USD for 1,000 credits below 100, three a day and ten a month."""
    usual: dict[str, Any] = {
        "threshold": Decimal(100),
        "currency": "USD",
        "amount": Decimal(10),
        "day_cap": Decimal(30),
        "month_cap": Decimal(100),
    }
    return Terms(**(usual | fields))


def an_auto_topup(wallet: Wallet, *, now: datetime = NOW, **fields: Any) -> AutoTopUp:
    """Agree on auto top-up; it waits for a card unless there is one."""
    return auto_topup_terms.set_up(wallet_id=wallet.pk, terms=terms(**fields), actor="user:ann", reason="Asked for it", now=now)


def save_card(desk: StripeDesk, wallet: Wallet, *, card: str = "visa", now: datetime = NOW) -> StripeCustomer:
    """The customer follows a link and saves a card, and the desk hears of it."""
    page = saved_cards.link(customer=wallet.customer, return_url=RETURN, now=now)
    desk.pay(page.rpartition("/")[2], card=card)
    hear(desk, now=now)
    return StripeCustomer.objects.get(customer=wallet.customer)


def a_running_one(desk: StripeDesk, wallet: Wallet, *, card: str = "visa", now: datetime = NOW, **fields: Any) -> AutoTopUp:
    """Auto top-up with a card, below its mark when the wallet is empty."""
    an_auto_topup(wallet, now=now, **fields)
    save_card(desk, wallet, card=card, now=now)
    return again(wallet)


def again(wallet: Wallet) -> AutoTopUp:
    """Return the auto top-up of a wallet as it is by now."""
    return AutoTopUp.objects.get(wallet=wallet)


def run(now: datetime = NOW) -> int:
    return auto_topups.run_due(now=now)


def orders(wallet: Wallet) -> list[TopUp]:
    return list(TopUp.objects.filter(wallet=wallet, channel=TopUpChannel.AUTO).order_by("pk"))


def charges(desk: StripeDesk) -> int:
    """Return how many payments the simulation has taken."""
    return sum(event["type"] == "payment_intent.succeeded" for event in desk.do("events"))


def hear(desk: StripeDesk, *, now: datetime = NOW) -> list[str]:
    """Have what Stripe tells of orders and cards worked off, again where it did not answer; return what was done."""
    done = []
    for told in desk.events():
        if told["type"] in inbox.HANDLERS and not told["type"].startswith(("charge.succeeded", "charge.updated", "payout.")):
            event = StripeEvent(
                type=told["type"],
                body=json.dumps(told),
                event_id=told["id"],
                happened_at=envelope(told).happened_at,
                queue=EventQueue.STRIPE,
            )
            done.append(_worked_off(event, now))
    return done


def _worked_off(event: StripeEvent, now: datetime) -> str:
    for _ in range(40):
        with suppress(NotYet, StripeUnavailable):
            return inbox.HANDLERS[event.type](event, now)
    raise AssertionError(f"{event.type} could not be worked off")
