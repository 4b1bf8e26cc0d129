"""Finding one thing by the name or number that somebody holds in their hands, without reading a table to find it."""

from datetime import datetime, timedelta
from typing import Final

from billing.models import Customer, Dispute, Environment, Project, TopUp, TopUpRefund, UnappliedPayment, UsageRecord

EVENT_PREFIX: Final = "evt_"
# A request id has no index of its own (each index costs every event); the time index bounds how far back one is sought.
REQUEST_WINDOW: Final = timedelta(days=1)
_LAST_CHARACTER: Final = "\U0010ffff"
_MAX_ID: Final = 2**63 - 1
# What Stripe's ids begin with, and where a top-up keeps them.
_OF_TOPUP: Final = {"cs": "checkout_session", "pi": "payment_intent", "ch": "charge", "py": "charge"}
_OF_MONEY_BACK: Final[dict[str, type[TopUpRefund] | type[Dispute]]] = {
    "re": TopUpRefund,
    "pyr": TopUpRefund,
    "dp": Dispute,
    "du": Dispute,
}


def customers_by(text: str, *, at_most: int) -> list[Customer]:
    """Return the customers whose external id or name begins with `text`, exact ids first."""
    projects = list(Project.objects.values_list("pk", flat=True))
    by_id = Customer.objects.select_related("project").filter(
        # All columns of the unique index, so that each project and environment is one descent into it.
        project_id__in=projects,
        environment__in=Environment.values,
        external_id__gte=text,
        external_id__lt=text + _LAST_CHARACTER,
        external_id__startswith=text,
    )
    found = list(by_id.order_by("external_id")[:at_most])
    if len(found) < at_most:
        by_name = Customer.objects.select_related("project").filter(name__istartswith=text)
        found += by_name.exclude(pk__in=[customer.pk for customer in found])[: at_most - len(found)]
    return found


def event(text: str) -> UsageRecord | None:
    """Return the usage record that apps know as `evt_<number>`."""
    digits = text.removeprefix(EVENT_PREFIX)
    if not (text.startswith(EVENT_PREFIX) and digits.isdecimal() and int(digits) <= _MAX_ID):
        return None
    return UsageRecord.objects.select_related("event_type").filter(pk=int(digits)).first()


def events_of_request(text: str, *, now: datetime, at_most: int) -> list[UsageRecord]:
    """Return the usage records of the last day that carry this request id."""
    recent = UsageRecord.objects.filter(occurred_at__gte=now - REQUEST_WINDOW, request_id=text)
    return list(recent.select_related("event_type").order_by("-occurred_at")[:at_most])


def topup(text: str) -> TopUp | None:
    """Return the top-up that apps know as `topup_<number>`, or that Stripe's session, payment, charge, refund or dispute is of."""
    rows = TopUp.objects.select_related("wallet__customer")
    kind, _, rest = text.partition("_")
    if kind == "topup":
        is_number = rest.isdecimal() and rest.isascii() and int(rest) <= _MAX_ID
        return rows.filter(pk=int(rest)).first() if is_number else None
    if kind in _OF_TOPUP:
        return rows.filter(**{_OF_TOPUP[kind]: text}).first() or _of_unapplied(_OF_TOPUP[kind], text)
    if kind in _OF_MONEY_BACK:
        found = _OF_MONEY_BACK[kind].objects.filter(stripe_id=text).values_list("topup_id", flat=True).first()
        return rows.filter(pk=found).first() if found else None
    return None


def _of_unapplied(column: str, text: str) -> TopUp | None:
    """Return the top-up beside which a payment came in that was not credited."""
    if column == "checkout_session":
        return None
    row = UnappliedPayment.objects.select_related("topup__wallet__customer").filter(**{column: text}).first()
    return row.topup if row else None
