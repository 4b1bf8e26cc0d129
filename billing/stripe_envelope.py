"""What arrives at `/stripe/webhook`: whether Stripe sent it, and what it says of itself. Pure; no database.

Stripe signs the bytes together with the second in which it sent them (docs.stripe.com/webhooks/signature). The header
`Stripe-Signature` is `t=1700000000,v1=<hex>,v1=<hex>`: one signature for each secret that is valid while it is replaced.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import from_json

from config.base.errors import DomainError

MAX_BYTES: Final = 512 * 1024
# Both ways: what was overheard must not be sent again much later, nor a signature be made in advance.
TOLERANCE_SECONDS: Final = 300
_STAMP: Final = re.compile(r"[0-9]{1,11}")
_ID: Final = re.compile(r"[!-~]{1,255}")
_TYPE: Final = re.compile(r"[!-~]{1,100}")
_VERSION: Final = re.compile(r"[!-~]{0,40}")
_FIRST_SECOND: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_LAST_SECOND: Final = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp())


class InvalidSignature(DomainError):
    """Send the endpoint's own events, as they are, with the signing secret of this endpoint in STRIPE_WEBHOOK_SECRET."""

    code = "invalid_signature"


class NotAnEvent(DomainError):
    """The body is none of Stripe's events (snapshots, `"object": "event"`)."""

    code = "malformed_body"


class TooLarge(DomainError):
    """No event of Stripe's is that large."""

    code = "too_large"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an event says of itself. `object_id` is empty where the object has none, as a balance has."""

    event_id: str
    type: str
    api_version: str
    is_live: bool
    object_id: str
    happened_at: datetime


def verify(body: bytes, header: str, *, secrets: Iterable[str], now: datetime) -> None:
    """See that `body` was signed with one of `secrets` within the tolerance of `now`. Raises InvalidSignature."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if not _STAMP.fullmatch(stamp) or not given:
        raise InvalidSignature("The header Stripe-Signature is missing or not as Stripe writes it: t=…,v1=….")
    signed = stamp.encode() + b"." + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    # Every pair is compared, so that the time tells nothing of which one was close.
    if not sum(hmac.compare_digest(right, one) for right in expected for one in given):
        raise InvalidSignature("The signature is not that of this endpoint: compare STRIPE_WEBHOOK_SECRET with Stripe's dashboard.")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        raise InvalidSignature(
            f"The event was signed more than {TOLERANCE_SECONDS} seconds from now. Set this machine's clock, or send it anew."
        )


def read(body: bytes) -> Envelope:
    """Return what the event says of itself. Raises TooLarge, NotAnEvent (not UTF-8, not JSON, not an event)."""
    if len(body) > MAX_BYTES:
        raise TooLarge(f"The body is larger than {MAX_BYTES:,} bytes, which no event is.")
    try:
        # Strict and bounded: no NaN, no lone surrogate, no nesting or number that whoever reads it later would choke on.
        event = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise NotAnEvent(f"The body cannot be read: {error}. Send one of Stripe's events as JSON in UTF-8.") from None
    return envelope(event)


def envelope(event: Any) -> Envelope:
    """Return what an event, as it was parsed, says of itself. Raises NotAnEvent."""
    if not isinstance(event, dict) or event.get("object") != "event":
        raise NotAnEvent('The body is not an event: "object" must be "event". Thin events are not taken; choose snapshot events.')
    data = event.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    if not isinstance(about, dict):
        raise NotAnEvent("data.object must be the object that the event is about.")
    is_live, created = event.get("livemode"), event.get("created")
    if not isinstance(is_live, bool):
        raise NotAnEvent("livemode must be true or false.")
    if not isinstance(created, int) or isinstance(created, bool) or not _FIRST_SECOND <= created < _LAST_SECOND:
        raise NotAnEvent("created must be a time in seconds since 1970.")
    return Envelope(
        event_id=_text(event, "id", _ID),
        type=_text(event, "type", _TYPE),
        api_version=_text(event, "api_version", _VERSION) if event.get("api_version") is not None else "",
        is_live=is_live,
        object_id=_text(about, "id", _ID) if about.get("id") is not None else "",
        happened_at=datetime.fromtimestamp(created, tz=UTC),
    )


def _text(holder: dict[str, Any], name: str, shape: re.Pattern[str]) -> str:
    value = holder.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise NotAnEvent(f"{name} must be a short text of printable ASCII without spaces.")
    return value
