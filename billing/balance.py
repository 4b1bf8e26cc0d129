"""What a movement of our balance at Stripe is about, and what Stripe said of it. Pure; no database.

Stripe sorts movements twice: by `type`, which is as old as its API, and by `reporting_category`, which its reports use.
Here there are six kinds: what buyers paid, what went back to them, what their banks took, what Stripe took for itself,
what went to our bank, and the rest. The fee of a movement is a figure of its own on it, whatever the movement is about.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from billing.minor_units import UnknownCurrency, exponent, to_major
from config.base.exact import CONTEXT


class Category(StrEnum):
    CHARGE = "charges"
    REFUND = "refunds"
    DISPUTE = "disputes"
    FEE = "fees"  # what Stripe took by a movement of its own, for no single payment
    PAYOUT = "payouts"
    OTHER = "other"


BY_REPORT: Final = {
    "charge": Category.CHARGE,
    "charge_failure": Category.CHARGE,
    "refund": Category.REFUND,
    "refund_failure": Category.REFUND,
    "partial_capture_reversal": Category.REFUND,
    "dispute": Category.DISPUTE,
    "dispute_reversal": Category.DISPUTE,
    "fee": Category.FEE,
    "network_cost": Category.FEE,
    "tax": Category.FEE,
    "payout": Category.PAYOUT,
    "payout_reversal": Category.PAYOUT,
}
BY_TYPE: Final = {
    "charge": Category.CHARGE,
    "payment": Category.CHARGE,
    "payment_failure_refund": Category.CHARGE,
    "refund": Category.REFUND,
    "payment_refund": Category.REFUND,
    "refund_failure": Category.REFUND,
    "stripe_fee": Category.FEE,
    "stripe_fx_fee": Category.FEE,
    "tax_fee": Category.FEE,
    "application_fee": Category.FEE,
    "payout": Category.PAYOUT,
    "payout_cancel": Category.PAYOUT,
    "payout_failure": Category.PAYOUT,
}
# An adjustment says what it adjusts by the thing behind it.
BY_SOURCE: Final = {"dp": Category.DISPUTE, "du": Category.DISPUTE, "re": Category.REFUND, "pyr": Category.REFUND}


def category_of(*, kind: str, reporting_category: str, source: str) -> Category:
    """Return what a movement is about; what is not known is OTHER, for a person to look at."""
    found = BY_REPORT.get(reporting_category) or BY_TYPE.get(kind)
    return found or BY_SOURCE.get(source.partition("_")[0], Category.OTHER)


@dataclass(frozen=True, slots=True)
class Movement:
    """A movement of the balance as Stripe tells it: `net_minor = amount_minor - fee_minor`, in minor units of `currency`."""

    stripe_id: str
    kind: str
    amount_minor: int
    fee_minor: int
    net_minor: int
    currency: str
    created_at: datetime
    reporting_category: str = ""
    source: str = ""
    charge: str = ""
    payment_intent: str = ""
    payout: str = ""
    status: str = ""
    description: str = ""
    exchange_rate: Decimal | None = None
    available_on: datetime | None = None
    is_live: bool = False  # real money, as against Stripe's test mode
    is_from_file: bool = False  # a person says so, not Stripe itself


@dataclass(frozen=True, slots=True)
class PaidOut:
    """A payout as Stripe tells it, in minor units of `currency`. `is_automatic` is None where it is not told."""

    stripe_id: str
    amount_minor: int
    currency: str
    status: str
    is_automatic: bool | None
    arrives_at: datetime
    created_at: datetime
    failure: str = ""
    is_live: bool = False


def movement(told: dict[str, Any], *, is_live: bool = False, payout: str = "", charge: str = "", payment_intent: str = "") -> Movement:
    """Read a balance transaction of Stripe's API; its source may be expanded. It does not say of which mode it is: the key does."""
    source = told.get("source") or ""
    if isinstance(source, dict):
        charge, payment_intent = charge or _id(source.get("charge")), payment_intent or _id(source.get("payment_intent"))
        source = source["id"]
    rate = told.get("exchange_rate")
    return Movement(
        stripe_id=told["id"],
        kind=told["type"],
        amount_minor=int(told["amount"]),
        fee_minor=int(told["fee"]),
        net_minor=int(told["net"]),
        currency=told["currency"].upper(),
        created_at=_time(told["created"]),
        reporting_category=told.get("reporting_category") or "",
        source=source,
        charge=charge,
        payment_intent=payment_intent,
        payout=payout,
        status=told.get("status") or "",
        description=(told.get("description") or "").replace("\0", "")[:500],
        exchange_rate=Decimal(str(rate)) if rate is not None else None,
        available_on=_time(told["available_on"]) if told.get("available_on") else None,
        is_live=is_live,
    )


def comes_to(amount_minor: int, currency: str, *, expected_minor: int, expected_currency: str, exchange_rate: Decimal | None) -> bool:
    """Say whether an amount is the expected one, converted at its own rate of exchange where the currencies differ."""
    if currency == expected_currency:
        return amount_minor == expected_minor
    if exchange_rate is None:
        return False
    try:
        exact = CONTEXT.multiply(to_major(expected_minor, expected_currency), exchange_rate)
        return abs(CONTEXT.scaleb(exact, exponent(currency)) - amount_minor) <= 1
    except UnknownCurrency:
        return False


def paid_out(told: dict[str, Any]) -> PaidOut:
    """Read a payout of Stripe's API."""
    return PaidOut(
        stripe_id=told["id"],
        amount_minor=int(told["amount"]),
        currency=told["currency"].upper(),
        status=told["status"],
        is_automatic=bool(told.get("automatic", True)),
        arrives_at=_time(told["arrival_date"]),
        created_at=_time(told["created"]),
        failure=(told.get("failure_message") or told.get("failure_code") or "")[:500],
        is_live=bool(told.get("livemode")),
    )


def _id(told: Any) -> str:
    return str(told["id"] if isinstance(told, dict) else told or "")


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
