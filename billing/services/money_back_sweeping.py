"""Refunds and disputes of which nothing is heard: Stripe is asked how they stand, as an event would have told.

An event may be lost for good, and then a refund would be on its way for ever, or a wallet frozen for a dispute that is
over. There are few of either at any time, so all that were quiet for some hours are asked about, in no order: those that
come first should not always be the same.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from billing.errors import StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.models import Dispute, DisputeState, RefundState, TopUpRefund
from billing.services import disputes, stripe_gateway, topup_refunds
from billing.services.stripe_gateway import Answer, Gateway
from billing.services.stripe_handling import NotOurs, NotYet

log = logging.getLogger(__name__)

QUIET: Final = timedelta(hours=6)
_AT_ONCE: Final = 200
_SECONDS: Final = 45


def sweep(*, now: datetime) -> int:
    """Ask about refunds under way and open disputes that were quiet; return how many were asked about. Stops where Stripe is away."""
    try:
        desk = stripe_gateway.gateway()
    except StripeNotSetUp:
        return 0
    asked, began = 0, time.monotonic()
    for name, ask, apply in _quiet(desk, now):
        if time.monotonic() - began > _SECONDS:
            break
        asked += 1
        try:
            apply(ask(name), now)
        except StripeUnavailable:
            log.warning("Stripe did not answer about %s; the next sweep asks again", name)
            break
        except (StripeRefused, NotOurs, NotYet) as refusal:
            log.warning("Stripe said about %s: %s", name, refusal)
    return asked


def _quiet(desk: Gateway, now: datetime) -> Iterator[tuple[str, Callable[[str], Answer], Callable[[Answer, datetime], str]]]:
    about: dict[str, Any] = {"topup__is_live": desk.is_live, "changed_at__lte": now - QUIET}
    refunds = TopUpRefund.objects.filter(state=RefundState.PENDING, **about).exclude(stripe_id="")
    for name in refunds.order_by("?").values_list("stripe_id", flat=True)[:_AT_ONCE]:
        yield name, desk.retrieve_refund, topup_refunds.apply
    open_ones = Dispute.objects.filter(state__in=(DisputeState.WARNING, DisputeState.OPEN), **about)
    for name in open_ones.order_by("?").values_list("stripe_id", flat=True)[:_AT_ONCE]:
        yield name, desk.retrieve_dispute, disputes.apply
