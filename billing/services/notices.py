"""Telling people by e-mail what happened to money and cannot wait until somebody looks.

A notice is a row, written in the transaction of what it tells of; `send_due` works the rows off (`config.base.outbox`).
Who is told: everybody who may do something about it, and has an address. Nobody is told of one cause twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db.models import Model
from django.template.loader import render_to_string
from django.utils import timezone

from billing import auto_charges, minor_units
from billing.models import (
    AutoTopUp,
    AutoTopUpState,
    BillingNotice,
    BillingNoticeKind,
    BudgetException,
    Dispute,
    EventState,
    ExceptionState,
    MovementRequest,
    RefundState,
    RequestState,
    StripeEvent,
    TopUp,
    TopUpRefund,
    UnappliedPayment,
    UnappliedState,
)
from billing.queries import budget_words
from config.base import outbox
from config.base.exact import plain
from pricing.queries import workspace

_PERMISSIONS_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Who is told, and what: `read` returns what subject and text say, with `about`, or nothing where nothing is left to tell."""

    permission: str
    subject: str
    read: Callable[[int], Facts | None]


def owe(*, kind: BillingNoticeKind, about: Model, now: datetime, cause: str = "", but_not: User | None = None) -> None:
    """Owe a notice of `about` to everyone who may see to it, but one. Inside the caller's transaction.

    `cause` tells what happened to the row apart from what happened to it before; empty: it happens to it once.
    """
    people = User.objects.with_perm(_KINDS[kind].permission, backend=_PERMISSIONS_BACKEND).filter(is_staff=True).exclude(email="")
    name = f"{kind}:{cause or about.pk}"
    told = [person for person in people if person != but_not]
    BillingNotice.objects.bulk_create(
        (BillingNotice(kind=kind, about=about.pk, cause=name, recipient=person, created_at=now, due_at=now) for person in told),
        ignore_conflicts=True,
    )


def send_due(*, now: datetime) -> int:
    """Send what is due, up to the first that the mail server refuses; return how many mails left."""
    return outbox.send_due(BillingNotice.objects.select_related("recipient"), write=_write, now=now)


def _write(notice: BillingNotice) -> EmailMessage | None:
    kind = _KINDS[BillingNoticeKind(notice.kind)]
    facts = kind.read(notice.about)
    if facts is None:
        return None
    with timezone.override(workspace.load().time_zone):
        body = render_to_string(f"billing/mail/{notice.kind}.txt", {**facts, "site_url": settings.SITE_URL})
    return outbox.mail(to=notice.recipient.email, subject=kind.subject.format(**facts), body=body, name=f"billing-notice-{notice.pk}")


def _amount(amount_minor: int, currency: str) -> str:
    return f"{plain(minor_units.to_major(amount_minor, currency))} {currency}"


def _stopped(pk: int) -> Facts | None:
    row = AutoTopUp.objects.select_related("wallet__customer__project", "pack").filter(pk=pk, state=AutoTopUpState.STOPPED).first()
    return {"about": row, "customer": row.wallet.customer} if row else None


def _topup(pk: int) -> Facts | None:
    row = TopUp.objects.select_related("wallet__customer__project").filter(pk=pk).first()
    return {"about": row, "customer": row.wallet.customer, "amount": _amount(row.amount_minor, row.currency)} if row else None


def _unapplied(pk: int) -> Facts | None:
    """A payment beside an order is told of until it is decided."""
    waiting = UnappliedPayment.objects.filter(topup=pk, state__in=(UnappliedState.OPEN, UnappliedState.ASKED)).order_by("pk")
    payments = [
        {"row": row, "amount": minor_units.written(row.amount_minor, row.currency)} for row in waiting.select_related("requested_by")
    ]
    facts = _topup(pk) if payments else None
    return facts and {**facts, "payments": payments}


def _declined(pk: int) -> Facts | None:
    facts = _topup(pk)
    auto = AutoTopUp.objects.filter(wallet__topups=pk, state=AutoTopUpState.BACKING_OFF).first()
    return {**facts, "auto": auto} if facts and auto else None


def _capped(pk: int) -> Facts | None:
    """What a cap holds back is told until it is charged again, stops, or gets other terms."""
    rows = AutoTopUp.objects.select_related("wallet__customer__project").filter(next_attempt_at__isnull=False)
    row = rows.filter(pk=pk, why__startswith=auto_charges.CAP_REACHED).first()
    return {"about": row, "customer": row.wallet.customer, "available": plain(row.wallet.balance - row.wallet.held)} if row else None


def _dispute(pk: int) -> Facts | None:
    row = Dispute.objects.select_related("topup__wallet__customer__project").filter(pk=pk).first()
    return {"about": row, "customer": row.topup.wallet.customer, "amount": _amount(row.amount_minor, row.currency)} if row else None


def _refund(pk: int) -> Facts | None:
    rows = TopUpRefund.objects.select_related("topup__wallet__customer__project", "requested_by")
    row = rows.filter(pk=pk, state=RefundState.REQUESTED).first()
    return {"about": row, "customer": row.topup.wallet.customer, "amount": _amount(row.amount_minor, row.currency)} if row else None


def _movement(pk: int) -> Facts | None:
    rows = MovementRequest.objects.select_related("wallet__customer__project", "requested_by")
    row = rows.filter(pk=pk, state=RequestState.REQUESTED).first()
    return {"about": row, "customer": row.wallet.customer, "credits": plain(row.credits)} if row else None


def _exception(pk: int) -> Facts | None:
    rows = BudgetException.objects.select_related("budget", "requested_by")
    row = rows.filter(pk=pk, state=ExceptionState.REQUESTED).first()
    return {"about": row, "budget": row.budget, "extra": budget_words.amount(row.extra, row.budget.measure)} if row else None


def _dead(pk: int) -> Facts | None:
    dead = StripeEvent.objects.filter(state=EventState.DEAD)
    row = dead.filter(pk=pk).first() or dead.order_by("id").first()
    return {"about": row, "count": dead.count()} if row else None


_KINDS: Final[dict[BillingNoticeKind, _Kind]] = {
    BillingNoticeKind.AUTO_TOPUP_STOPPED: _Kind("billing.set_auto_topup", "Auto top-up of {customer} has stopped", _stopped),
    BillingNoticeKind.AUTO_TOPUP_DECLINED: _Kind("billing.set_auto_topup", "Auto top-up of {customer} was declined", _declined),
    BillingNoticeKind.TOPUP_MISMATCH: _Kind("billing.refund_topup", "A top-up of {customer} was paid otherwise than ordered", _unapplied),
    BillingNoticeKind.AUTO_TOPUP_CAPPED: _Kind("billing.set_auto_topup", "Auto top-up of {customer} has reached its cap", _capped),
    BillingNoticeKind.DISPUTE_OPENED: _Kind("billing.refund_topup", "{customer} disputes {amount}", _dispute),
    BillingNoticeKind.REFUND_REQUESTED: _Kind("billing.approve_refund", "A refund of {amount} for {customer} waits for approval", _refund),
    BillingNoticeKind.MOVEMENT_REQUESTED: _Kind(
        "billing.decide_movement", "{credits} credits by hand for {customer} wait for approval", _movement
    ),
    BillingNoticeKind.EXCEPTION_REQUESTED: _Kind(
        "billing.decide_exception", "{extra} more for the budget {budget} wait for approval", _exception
    ),
    BillingNoticeKind.DEAD_LETTER: _Kind("billing.retry_stripeevent", "An event from Stripe could not be worked off", _dead),
}
