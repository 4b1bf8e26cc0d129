"""Work that happens by itself, safe to run twice, late, or beside itself; `config.celery` says when."""

import logging
from collections.abc import Iterable

from celery import shared_task
from django.utils import timezone

from pricing.models import PriceRule
from reports import advice, breaks, scorecards

log = logging.getLogger(__name__)


@shared_task
def advise() -> None:
    """Let the Advisor look at every price in force."""
    _advise(advice.rules_in_force(now=timezone.now()))


@shared_task
def advise_on(rule_id: int) -> None:
    """Let the Advisor look at one price, because somebody asked."""
    _advise(PriceRule.objects.filter(pk=rule_id).select_related("event_type"))


def _advise(rules: Iterable[PriceRule]) -> None:
    for given in advice.advise_all(rules, now=timezone.now()):
        if given.error:
            log.error("no advice on %s: %s", given.rule, given.error)


@shared_task
def backtest_proposals() -> None:
    """Have a backtest of every price that waits for a decision."""
    advice.backtest_open(now=timezone.now())


@shared_task
def keep_scorecards() -> None:
    """Write down how new prices did in their first days."""
    scorecards.keep_due(now=timezone.now())


@shared_task
def find_breaks() -> None:
    """Find what Stripe and our books do not agree on; a new break is a warning in the log as well as a badge."""
    found = breaks.find(now=timezone.now())
    if found.opened:
        log.warning("%s new breaks with Stripe", found.opened)
