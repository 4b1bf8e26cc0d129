"""What Stripe says of orders: its sessions, payment intents and fraud warnings, read as steps of `topups`.

An object finds its order by the metadata that it was made with, or by Stripe's ids. The events come here through the
inbox; what Stripe answers when it is asked (`topup_sweeping`, `auto_topups`) is read the same way.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from billing.errors import StripeRefused
from billing.models import StripeEvent, TopUp
from billing.services import saved_cards, topups
from billing.services.stripe_handling import Handler, NotOurs, desk
from billing.services.topups import Facts, Paid


def of_intent(payment_intent: str) -> TopUp | None:
    """Return the order that this payment intent paid, or tried to."""
    return TopUp.objects.filter(payment_intent=payment_intent).first() if payment_intent else None


def of_charge(charge: str) -> TopUp | None:
    """Return the order that this charge paid, where a payment intent has named it."""
    return TopUp.objects.filter(charge=charge).first() if charge else None


def of_session(session: str) -> TopUp | None:
    """Return the order that this Checkout session was made for."""
    return TopUp.objects.filter(checkout_session=session).first() if session else None


def _session_paid(event: StripeEvent, now: datetime) -> str:
    """`checkout.session.completed`, and `async_payment_succeeded`: the buyer is done, and perhaps the bank as well."""
    session = event.object
    if session.get("mode") == "setup":
        return saved_cards.of_setup_session(event)
    return look_at_session(_of_session_object(session), session, now)


def look_at_session(topup: TopUp, session: dict[str, Any], now: datetime) -> str:
    """Take over what became of an order by its Checkout session."""
    facts = Facts(session["id"], id_of(session.get("payment_intent")))
    if session.get("status") == "expired":
        return topups.expire(topup_id=topup.pk, now=now, facts=facts)
    if session.get("status") != "complete":
        return f"{topup} waits for its buyer."
    if session.get("payment_status") == "unpaid":
        return topups.processing(topup_id=topup.pk, facts=facts, now=now)
    currency = (session.get("currency") or "").upper()
    paid = Paid(session.get("amount_total") or 0, currency, bool(session.get("livemode")), facts)
    return topups.settle(topup_id=topup.pk, paid=paid, now=now)


def look_at_intent(topup: TopUp, intent: dict[str, Any], now: datetime) -> str:
    """Take over what became of an order by its payment intent."""
    facts = Facts(payment_intent=intent["id"])
    match intent.get("status"):
        case "succeeded":
            facts = replace(facts, charge=id_of(intent.get("latest_charge")))  # an earlier try leaves a charge that paid nothing
            currency = (intent.get("currency") or "").upper()
            paid = Paid(intent.get("amount_received") or 0, currency, bool(intent.get("livemode")), facts)
            return topups.settle(topup_id=topup.pk, paid=paid, now=now)
        case "processing":
            return topups.processing(topup_id=topup.pk, facts=facts, now=now)
        case "canceled":
            why = f"The payment was cancelled: {intent.get('cancellation_reason') or 'no reason given'}."
            return topups.not_paid_yet(topup_id=topup.pk, why=why, facts=facts, now=now)
        case "requires_payment_method" if error := intent.get("last_payment_error"):
            why = error.get("message") or error.get("code") or "The payment failed."
            return topups.not_paid_yet(topup_id=topup.pk, why=why, facts=facts, now=now)
    return f"{topup} waits for its buyer."


def _session_failed(event: StripeEvent, now: datetime) -> str:
    session = event.object
    topup = _of_session_object(session)
    facts = Facts(session["id"], id_of(session.get("payment_intent")))
    return topups.fail(topup_id=topup.pk, why=topup.failure or "The bank did not pay.", now=now, facts=facts)


def _session_expired(event: StripeEvent, now: datetime) -> str:
    session = event.object
    if session.get("mode") == "setup":
        raise NotOurs("It was to save a payment method.")
    return topups.expire(topup_id=_of_session_object(session).pk, now=now, facts=Facts(session["id"]))


def _intent_changed(event: StripeEvent, now: datetime) -> str:
    intent = event.object
    topup = _of_intent_object(intent)
    done = look_at_intent(topup, intent, now)
    if not topup.saves_card_for or intent.get("status") != "succeeded":
        return done
    method = id_of(intent.get("payment_method"))
    kept = saved_cards.keep(stripe_id=topup.saves_card_for, method=method, at=event.happened_at, gateway=partial(desk, event))
    return f"{done} {kept}"


def _warned_of_fraud(event: StripeEvent, now: datetime) -> str:
    """`radar.early_fraud_warning.created` names a charge and its payment; the order may not have heard of either yet."""
    warning = event.object
    intent, charge = id_of(warning.get("payment_intent")), id_of(warning.get("charge"))
    topup = of_intent(intent) or of_charge(charge)
    if topup is None and intent:
        try:
            told = desk(event).retrieve_payment_intent(intent)
        except StripeRefused as error:
            raise NotOurs(f"Stripe knows no payment {intent}.") from error
        topup = _of_intent_object(told)
    if topup is None:
        raise NotOurs(f"The charge {charge} paid no top-up.")
    return topups.flag(topup_id=topup.pk, now=now)


def id_of(value: Any) -> str:
    """Return the id of something that Stripe names or writes out in full; empty for nothing."""
    return str(value["id"]) if isinstance(value, dict) else value or ""


def _of_session_object(session: dict[str, Any]) -> TopUp:
    """Return the order of a Checkout session. Raises NotOurs."""
    topup = _named(session) or of_session(session["id"])
    if topup is None or topup.checkout_session not in {"", session["id"]}:
        raise NotOurs(f"The Checkout session {session['id']} is of no order here.")
    return topup


def _of_intent_object(intent: dict[str, Any]) -> TopUp:
    """Return the order that a payment intent is for. Raises NotOurs."""
    topup = _named(intent) or of_intent(intent["id"])
    if topup is None:
        raise NotOurs(f"The payment {intent['id']} is of no order here.")
    return topup


def _named(about: dict[str, Any]) -> TopUp | None:
    """Return the order that an object's metadata names, if it is this desk's."""
    metadata = about.get("metadata") or {}
    number = str(metadata.get("topup") or "")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return None
    topup = TopUp.objects.filter(pk=int(number)).first()
    if topup is None or metadata.get("ordered_at", topups.metadata_of(topup)["ordered_at"]) != topups.metadata_of(topup)["ordered_at"]:
        return None
    return topup


HANDLERS: Final[dict[str, Handler]] = {
    "checkout.session.completed": _session_paid,
    "checkout.session.async_payment_succeeded": _session_paid,
    "checkout.session.async_payment_failed": _session_failed,
    "checkout.session.expired": _session_expired,
    "payment_intent.succeeded": _intent_changed,
    "payment_intent.processing": _intent_changed,
    "payment_intent.payment_failed": _intent_changed,
    "payment_intent.canceled": _intent_changed,
    "radar.early_fraud_warning.created": _warned_of_fraud,
}
