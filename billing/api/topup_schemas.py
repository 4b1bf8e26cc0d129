"""Bodies of the calls on top-ups."""

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, WithJsonSchema

from billing.api.event_schemas import Body, example
from billing.api.fields import CustomerId, Id, Money
from billing.api.wallet_schemas import KEY_HELP

_PRINTABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9.-]+|[0-9a-f:.]+")  # as urlsplit returns it: in lower case, without brackets


def _web_address(value: str) -> str:
    """Refuse what a browser must not be sent to. http serves a developer's own machine only."""
    if not _PRINTABLE.fullmatch(value) or "\\" in value:
        raise ValueError("must be an address in printable ASCII, without spaces and backslashes; encode the rest with %")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError("must be an address such as https://example.com/thanks") from error
    if parts.scheme not in {"https", "http"} or "@" in parts.netloc or not _HOST.fullmatch(host):
        raise ValueError("must be an address such as https://example.com/thanks")
    if parts.scheme == "http" and not _is_here(host):
        raise ValueError("must begin with https://; http:// is for localhost only")
    return value


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


WebAddress = Annotated[
    str,
    StringConstraints(max_length=2000, strict=True),
    AfterValidator(_web_address),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": r"^https://[a-z0-9.-]+(/[!-~]*)?$", "maxLength": 2000}),
]


class TopUpIn(Body):
    """A `pack`, or an `amount` with its `currency`."""

    model_config = example(
        customer="user_42",
        pack="starter-500",
        success_url="https://example.com/thanks",
        cancel_url="https://example.com/credits",
        idempotency_key="top_8412",
    )

    customer: CustomerId
    pack: Id | None = Field(None, max_length=64, description="The key of a credit pack, as the admin lists it.")
    amount: Money | None = Field(
        None, description="Instead of a pack: what to pay, in the book currency. It buys credits at the workspace's credit value."
    )
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", strict=True)] | None = Field(
        None,
        examples=["USD"],
        description="Required with `amount`. With `pack`: one that the pack has a price in; by default the book currency.",
    )
    success_url: WebAddress = Field(
        description="Where the buyer goes after paying. `https`, or `http` on localhost. "
        "Stripe puts its session's id in place of `{CHECKOUT_SESSION_ID}`."
    )
    cancel_url: WebAddress | None = Field(None, description="Where the buyer goes who does not want to pay after all.")
    idempotency_key: Id | None = Field(None, description=KEY_HELP)


_Status = Literal["new", "open", "processing", "paid", "failed", "expired", "mismatch", "returned"]


class TopUpOut(BaseModel):
    """An order. Credits are in the wallet when it is `paid`, and not before, whatever the buyer's browser says."""

    id: str = Field(examples=["topup_31"])
    customer: str
    url: str | None = Field(description="Stripe's page where the buyer pays, while the order is `open`.")
    status: _Status = Field(
        description="`new`: Stripe has not answered yet; `open`: waits for the buyer; `processing`: for the bank; `paid`: the credits are "
        "in the wallet; `failed`, `expired`: nothing was paid, though money that arrives after all makes it `paid`; `mismatch`: something "
        "else was paid than was ordered, and the operator decides: `paid` then, with the credits that it bought, or `returned`."
    )
    pack: str | None
    credits: str
    bonus_credits: str = Field(description="On top, as a lot of its own.")
    amount: str = Field(description="What the buyer pays.", examples=["9.99"])
    currency: str
    expires_at: str | None = Field(description="When the link ends.")
    created_at: str
    paid_at: str | None = Field(description="When the credits came. It stays when money goes back later: see the two amounts below.")
    amount_refunded: str = Field(
        description="What was paid back of `amount`, or is on its way back; the credits left the wallet with it. `0`: nothing. "
        "The status stays `paid`.",
        examples=["0"],
    )
    amount_disputed: str = Field(
        description="What the buyer's bank has taken back in a dispute, for now or for good; `0` again when it is won. The credits "
        "leave with the money. A part that was refunded may be disputed as well, so both may be more than `amount`.",
        examples=["0"],
    )
    test_mode: bool = Field(description="No real money: the desk has a test key of Stripe.")
