"""How an automatic order ended, and what follows: auto top-up goes on, pauses after a decline, or stops and tells somebody."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing import auto_charges
from billing.models import AutoTopUp, AutoTopUpState, BillingNoticeKind, TopUp, TopUpStatus
from billing.models.fields import save_with_reason
from billing.queries import auto_topups as queries
from billing.services import auto_topup_terms, notices, topups
from config.base.database import retrying


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stripe's codes of a card that was refused."""

    code: str = ""
    decline_code: str = ""


def conclude(pk: int, refusal: Refusal, now: datetime, *, will_be_refused_again: bool = False, has_key_changed: bool = False) -> None:
    """Draw the conclusions from an order that has ended, once: go on, pause, or stop."""

    @transaction.atomic
    def work() -> None:
        auto = AutoTopUp.objects.select_for_update(of=("self",)).get(pk=pk)
        if auto.order_id is None:
            return
        topup = TopUp.objects.get(pk=auto.order_id)  # read now that the row is ours
        if topup.status in topups.UNDER_WAY:
            return
        AutoTopUp.objects.filter(pk=pk).update(order=None, order_customer="", order_method="")
        if auto.state not in queries.RUNNING:  # a person switched it off meanwhile, or something else stopped it
            return
        if topup.status == TopUpStatus.PAID:
            _paid(auto)
        elif topup.status in {TopUpStatus.MISMATCH, TopUpStatus.RETURNED}:
            auto_topup_terms.stop(auto, why=f"{topup} was paid otherwise than ordered. {topup.failure}", now=now)
        elif has_key_changed:
            _cut_off(auto, topup, now)
        elif will_be_refused_again or auto_charges.is_for_good(code=refusal.code, decline_code=refusal.decline_code):
            auto_topup_terms.stop(auto, why=f"{topup.failure} ({_named(refusal)})", now=now)
        else:
            _declined(auto, topup, now)

    retrying(work)


def _paid(auto: AutoTopUp) -> None:
    if auto.failures or auto.state != AutoTopUpState.ACTIVE:
        auto.state, auto.why, auto.failures, auto.next_attempt_at = AutoTopUpState.ACTIVE, "", 0, None
        save_with_reason(auto, "state", "why", "failures", "next_attempt_at", reason="Paid")


def _cut_off(auto: AutoTopUp, topup: TopUp, now: datetime) -> None:
    """Go on after an order of the test mode. Of real money nobody can ask what became of it: a person must look."""
    if topup.is_live:
        why = f"{topup}: {topup.failure} Look in Stripe's dashboard whether it was paid, and start again when that is settled."
        auto_topup_terms.stop(auto, why=why, now=now)


def _declined(auto: AutoTopUp, topup: TopUp, now: datetime) -> None:
    """Pause, longer each time; after the last pause, stop."""
    auto.failures += 1
    pause = auto_charges.pause_after(auto.failures)
    if pause is None:
        auto_topup_terms.stop(auto, why=f"{auto.failures} declines in a row, the last: {topup.failure}", now=now)
        return
    auto.state, auto.why, auto.next_attempt_at = AutoTopUpState.BACKING_OFF, topup.failure, now + pause
    save_with_reason(auto, "state", "why", "failures", "next_attempt_at", reason=f"{topup} failed: {topup.failure}"[:500])
    if auto.failures == 1:
        notices.owe(kind=BillingNoticeKind.AUTO_TOPUP_DECLINED, about=topup, now=now)


def _named(refusal: Refusal) -> str:
    return refusal.decline_code or refusal.code or "refused by Stripe"
