"""Work that happens by itself. Each task is safe to run twice, late, or beside itself; `config.schedule` says when."""

import logging

from celery import shared_task
from django.utils import timezone

from billing.errors import SettlementContradiction, StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.models import EventQueue
from billing.queries.spikes import TooMuchToCompare
from billing.services import (
    alert_outbox,
    auto_topups,
    budget_evaluation,
    checking,
    holds,
    inbox,
    money_back_sweeping,
    notices,
    partitions,
    rerating,
    seals,
    settlements,
    spikes,
    stripe_gateway,
    sweeping,
    topup_refunds,
    topup_sweeping,
    unpriced,
    wallet_alerts,
)
from config.base.database import clock

log = logging.getLogger(__name__)


@shared_task
def expire_lots() -> None:
    """Write off credits past their date."""
    sweeping.expire_due_lots(now=timezone.now())


@shared_task
def expire_holds() -> None:
    """Give back what overdue holds set aside."""
    holds.expire_due(now=timezone.now())


@shared_task
def make_partitions() -> None:
    """Have a place for the usage records of the months to come."""
    partitions.ensure_ahead(now=timezone.now())


@shared_task
def seal_ledger() -> None:
    """Seal the hours that are over."""
    seals.seal_due(now=clock())


@shared_task
def check_ledger(actor: str = "system:schedule") -> None:
    """Prove the money rules and keep the result; a break is an error in the log as well as a red badge."""
    run = checking.check(now=timezone.now(), actor=actor)
    if not run.is_clean:
        log.error("the ledger check found breaks: %s", [rule["rule"] for rule in run.rules if rule["breaks"]])


@shared_task
def rerate() -> None:
    """Finish every re-rating that was requested, the oldest first, and count again what is still unpriced."""
    if rerating.run_waiting(clock=timezone.now):
        unpriced.count(now=timezone.now())


@shared_task
def count_unpriced() -> None:
    """Bring the queue of unpriced usage up to date."""
    unpriced.count(now=timezone.now())


@shared_task
def find_spikes() -> None:
    """Tell of usage that doubled within a week, and end what is over; a desk too large to read in time hears of it in the log."""
    try:
        raised, resolved = spikes.look(now=timezone.now())
    except TooMuchToCompare as error:
        log.warning("spikes were not looked for: %s", error)
        return
    if raised or resolved:
        log.info("spikes: %s raised, %s over", raised, resolved)


@shared_task
def work_off_stripe_events() -> None:
    """Work off what Stripe sent, without asking it anything: deposits above all."""
    inbox.work_off(now=timezone.now(), queue=EventQueue.DEPOSITS)


@shared_task
def ask_stripe_about_events() -> None:
    """Work off what needs an answer from Stripe: fees, payouts, saved cards."""
    inbox.work_off(now=timezone.now(), queue=EventQueue.STRIPE)


@shared_task
def sweep_stripe_events() -> None:
    """Ask Stripe for events that did not arrive; without a key there is nobody to ask."""
    try:
        missed = inbox.sweep(now=timezone.now())
    except StripeNotSetUp:
        return
    except StripeUnavailable as error:
        log.warning("Stripe could not be asked for missed events; the next sweep asks again: %s", error)
        return
    if missed:
        log.warning("events that had not arrived at /stripe/webhook and were asked for: %s", missed)
        inbox.wake()


@shared_task
def ask_about_topups() -> None:
    """Ask Stripe about orders of which nothing is heard."""
    topup_sweeping.sweep(now=timezone.now())


@shared_task
def ask_about_money_back() -> None:
    """Ask Stripe about refunds under way and open disputes of which nothing is heard."""
    money_back_sweeping.sweep(now=timezone.now())


@shared_task
def sweep_settlements() -> None:
    """Ask Stripe for fees, movements of the balance and payouts that no event told of."""
    try:
        found = settlements.sweep(now=timezone.now())
    except StripeNotSetUp:
        return
    except (StripeUnavailable, StripeRefused, SettlementContradiction) as error:
        log.warning("Stripe could not be asked about its balance; the next sweep asks again: %s", error)
        return
    if found:
        log.info("%s movements of the balance at Stripe were asked for", found)


@shared_task
def charge_saved_cards() -> None:
    """Top up the wallets that fell below their mark and are topped up by themselves."""
    auto_topups.run_due(now=timezone.now())


@shared_task
def send_notices() -> None:
    """Send the e-mails that people are owed about money."""
    notices.send_due(now=timezone.now())


@shared_task
def send_refunds() -> None:
    """Send the approved refunds that have not reached Stripe."""
    if stripe_gateway.is_set_up():
        topup_refunds.send_approved(gateway=stripe_gateway.gateway(), now=timezone.now())


@shared_task
def evaluate_budgets() -> None:
    """Count what budgets spent, and tell of what was reached."""
    budget_evaluation.evaluate(now=clock())


@shared_task
def evaluate_wallets() -> None:
    """Tell of wallets that became low or frozen."""
    wallet_alerts.evaluate(now=clock())


@shared_task
def evaluate_expiring_credits() -> None:
    """Tell of credits that expire soon."""
    wallet_alerts.evaluate_expiring(now=clock())


@shared_task
def send_alerts() -> None:
    """Send what alerts owe."""
    alert_outbox.send_due(now=clock())
