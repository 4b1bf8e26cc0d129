"""Work that happens by itself, safe to run twice, late, or beside itself; `config.celery` says when."""

import logging

from celery import shared_task
from django.utils import timezone

from reports import advice, scorecards

log = logging.getLogger(__name__)


@shared_task
def advise() -> None:
    """Let the Advisor look at every price in force."""
    now = timezone.now()
    for given in advice.advise_all(advice.rules_in_force(now=now), now=now):
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
