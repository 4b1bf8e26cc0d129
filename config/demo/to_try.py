"""What the demo leaves for its user to try on the pages of Stripe: a break, a dead letter, an auto top-up with a saved card.

All of it goes the same way as real work. Only the last failure of the dead letter is hurried: it counts as its twentieth.
"""

import json
import logging
from datetime import datetime
from decimal import Decimal
from typing import Final

from billing.models import Customer, EventState, StripeEvent
from billing.services import auto_topup_terms, inbox, saved_cards, stripe_gateway
from billing.services.auto_topup_terms import Terms
from config.demo.buyers import Buyer
from config.demo.stripe.running import Control

_WEBSITE: Final = "https://studio.example.com"
# Below what its customer has: the demo charges nobody unless somebody uses up these credits.
_MARK: Final = Decimal(50)


def be_paid_past_the_desk(bank: Control) -> None:
    """Have somebody pay for what no order here was made for: the reconciliation finds it as a break."""
    poster = {"price_data": {"currency": "usd", "unit_amount": 1900, "product_data": {"name": "Poster (demo)"}}, "quantity": 1}
    page = stripe_gateway.gateway().create_checkout_session(
        {"mode": "payment", "line_items": [poster], "success_url": f"{_WEBSITE}/thanks"}, key="demo-poster"
    )
    bank.do("pay", session=page["id"], card="visa")


def save_a_card(bank: Control, buyer: Buyer, *, now: datetime) -> None:
    """Agree on auto top-up with a customer, who saves a card for it."""
    terms = Terms(_MARK, "USD", day_cap=Decimal(100), month_cap=Decimal(300), pack="credits-2500")
    reason = "Asked for it by e-mail (demo)"
    auto_topup_terms.set_up(wallet_id=buyer.wallet_id, terms=terms, actor="user:finance", reason=reason, now=now)
    customer = Customer.objects.get(pk=buyer.customer_id)
    page = saved_cards.link(customer=customer, return_url=f"{_WEBSITE}/credits", now=now)
    bank.do("pay", session=page.rpartition("/")[2], card="visa")


def fail_an_event(bank: Control, *, now: datetime) -> None:
    """Let Stripe tell of a charge once more and not answer what it is asked about it. Tried again, it is worked off."""
    told = StripeEvent.objects.filter(type="charge.updated", state=EventState.DONE).latest("happened_at", "pk")
    body = json.loads(told.body)
    body["id"] = "evt_demo_dead_letter"
    StripeEvent.objects.create(
        event_id=body["id"],
        type=told.type,
        api_version=told.api_version,
        is_live=told.is_live,
        object_id=told.object_id,
        origin=told.origin,
        body=json.dumps(body),
        attempts=inbox.MAX_ATTEMPTS - 1,
        happened_at=now,
        received_at=now,
        due_at=now,
    )
    bank.do("fail", how="500", times=2)  # a call is made twice
    logging.disable(logging.WARNING)  # it is as it should be, and whoever makes a demo should not wonder
    try:
        inbox.work_off(now=now)
    finally:
        logging.disable(logging.NOTSET)
