"""When a saved card may be charged: after which pauses, not after which answers, and up to which sums. Pure; no database."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

# After the first decline in a row, the second, the third; the next one stops it.
PAUSES: Final = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
# Stripe's codes (docs.stripe.com/declines/codes) of cards that will not work again, or not without their owner.
FOR_GOOD: Final = frozenset(
    {
        "authentication_required",
        "approve_with_id",
        "call_issuer",
        "card_not_supported",
        "currency_not_supported",
        "do_not_honor",
        "do_not_try_again",
        "expired_card",
        "fraudulent",
        "incorrect_number",
        "invalid_account",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "invalid_number",
        "lost_card",
        "merchant_blacklist",
        "new_account_information_available",
        "no_action_taken",
        "not_permitted",
        "pickup_card",
        "restricted_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "security_violation",
        "service_not_allowed",
        "stolen_card",
        "stop_payment_order",
        "testmode_decline",
        "transaction_not_allowed",
    }
)


# How what is said of a cap begins.
CAP_REACHED: Final = "The cap of the "


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month, half-open, by somebody's clock."""

    start: datetime
    end: datetime


def day_of(now: datetime, zone: ZoneInfo) -> Period:
    """Return the day around `now`: 23 or 25 hours where the clocks change."""
    today = now.astimezone(zone).date()
    return Period(_midnight(today, zone), _midnight(today + timedelta(days=1), zone))


def month_of(now: datetime, zone: ZoneInfo) -> Period:
    """Return the month around `now`."""
    first = now.astimezone(zone).date().replace(day=1)
    return Period(_midnight(first, zone), _midnight((first + timedelta(days=32)).replace(day=1), zone))


def pause_after(failures: int) -> timedelta | None:
    """Return how long to wait after so many declines in a row; None: it stops."""
    return PAUSES[failures - 1] if failures <= len(PAUSES) else None


def is_for_good(*, code: str, decline_code: str) -> bool:
    """Say whether a card that was refused with these codes of Stripe's will be refused again."""
    return bool({code, decline_code} & FOR_GOOD)


def cap_reached(period: str, currency: str, charged: str, cap: str, price: str) -> str:
    """Say that nothing more is charged in a "day" or a "month"; the figures are written out, in `currency`."""
    return f"{CAP_REACHED}{period} is reached: {charged} of {cap} {currency} were charged, and one more top-up costs {price} {currency}."


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
