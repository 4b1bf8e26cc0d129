"""Orders of which nothing is heard: Stripe is asked what became of them.

An event may be lost, and a process may die between our commit and Stripe's answer. Each order under way is asked about at
growing intervals: some minutes after it was made, and then each time half its age later, so that a forgotten one costs a
dozen calls. Whoever asks puts the order off first: a second sweeper leaves it alone, and one that fails is not asked about
again at once.
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Final

from django.db.models import DurationField, ExpressionWrapper, F, Q, QuerySet

from billing.errors import StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.models import TopUp, TopUpChannel, TopUpStatus
from billing.services import stripe_gateway, topup_events, topup_orders, topups
from billing.services.stripe_gateway import Gateway
from billing.services.stripe_handling import NotOurs

log = logging.getLogger(__name__)

FIRST: Final = timedelta(minutes=6)
# Stripe forgets the key of a call after a day: what it has not heard of by then ends.
LAST_CALL: Final = timedelta(hours=23)
# A link lasts at most a day from when Stripe has made it, and Stripe may have been told at the last call.
_ENDED_BY: Final = timedelta(hours=1)
_NEVER_LONGER: Final = timedelta(days=2)
_AT_ONCE: Final = 200
_SECONDS: Final = 45


def sweep(*, now: datetime) -> int:
    """Ask Stripe about the orders that are due; return about how many. Stops where Stripe does not answer."""
    try:
        desk = stripe_gateway.gateway()
    except StripeNotSetUp:
        return 0
    _end_links_of_other_mode(desk, now)
    asked = 0
    began = time.monotonic()
    for topup in list(due(now=now).filter(is_live=desk.is_live).order_by("changed_at")[:_AT_ONCE]):
        if time.monotonic() - began > _SECONDS:
            break
        if not TopUp.objects.filter(pk=topup.pk, changed_at=topup.changed_at).update(changed_at=now):
            continue
        asked += 1
        try:
            _ask(topup, desk, now)
        except StripeUnavailable:
            log.warning("Stripe did not answer about %s; the next sweep asks again", topup)
            break
        except (StripeRefused, NotOurs) as refusal:
            log.warning("Stripe said about %s: %s", topup, refusal)
    return asked


def due(*, now: datetime) -> "QuerySet[TopUp]":
    """Return the orders to ask about. Of an automatic one without a payment only its own room knows what to do."""
    half_its_age = ExpressionWrapper((F("changed_at") - F("created_at")) / 2, output_field=DurationField())
    waiting = TopUp.objects.filter(status__in=topups.UNDER_WAY, changed_at__lte=now - FIRST)
    return waiting.exclude(Q(channel=TopUpChannel.AUTO, payment_intent="", checkout_session="")).filter(
        changed_at__lte=ExpressionWrapper(now - half_its_age, output_field=TopUp._meta.get_field("changed_at"))
    )


def _end_links_of_other_mode(desk: Gateway, now: datetime) -> None:
    waiting = TopUp.objects.filter(status__in=(TopUpStatus.NEW, TopUpStatus.OPEN)).exclude(
        Q(is_live=desk.is_live) | Q(channel=TopUpChannel.AUTO)
    )
    over = Q(expires_at__lt=now - _ENDED_BY) | Q(expires_at=None, created_at__lt=now - _NEVER_LONGER)
    for topup in list(waiting.filter(over).order_by("pk")[:_AT_ONCE]):
        why = f"{topup_orders.other_mode(topup)} Its link has ended by now; what was paid after all is credited once it is heard of."
        topups.expire(topup_id=topup.pk, why=why, now=now)


def _ask(topup: TopUp, desk: Gateway, now: datetime) -> None:
    if topup.payment_intent and (topup.status == TopUpStatus.PROCESSING or not topup.checkout_session):
        topup_events.look_at_intent(topup, desk.retrieve_payment_intent(topup.payment_intent), now)
    elif topup.checkout_session:
        topup_events.look_at_session(topup, desk.retrieve_checkout_session(topup.checkout_session), now)
    elif now - topup.created_at > LAST_CALL:
        topups.fail(topup_id=topup.pk, why="Stripe could not be told of it in time.", now=now)
    else:
        topup_orders.tell_stripe(topup, desk=desk, now=now)
