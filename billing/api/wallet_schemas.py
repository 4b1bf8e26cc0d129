"""Bodies of the calls on customers, wallets and holds."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from billing.api.event_schemas import Body, EventOut, example
from billing.api.fields import Credits, CustomerId, Email, EventName, Id, Metadata, Money, Text200, Time
from billing.services.holds import DEFAULT_SECONDS, MAX_SECONDS

KEY_HELP = "Unique per project, for ever. Required here or as header `Idempotency-Key`."


class ExpiryOut(BaseModel):
    credits: str
    expires_at: str


class WalletOut(BaseModel):
    """A wallet as its owner may see it."""

    customer: str
    balance: str
    held: str
    available: str = Field(description="What can be spent now: unexpired and not held, overdraft included.")
    status: Literal["active", "frozen"]
    low_balance: bool
    next_expiry: ExpiryOut | None


class CustomerIn(Body):
    """Fields that are left out keep their value."""

    model_config = example(name="Ada", plan="pro", email="ada@example.com", metadata={"crm": "C-17"})

    name: Text200 | None = None
    plan: Annotated[str, StringConstraints(pattern=r"^[ -~]{0,64}$", strict=True)] | None = Field(None, description="Chooses plan prices.")
    email: Email | None = Field(None, description="For receipts and warnings; empty: none.")
    metadata: Metadata | None = None


class CustomerOut(BaseModel):
    customer: str
    environment: str
    name: str
    plan: str
    email: str
    metadata: dict[str, Any]
    created_at: str
    wallet: WalletOut


class CustomerPage(BaseModel):
    data: list[CustomerOut]
    next_cursor: str | None


class EntryOut(BaseModel):
    """A movement of credits: without value, cost or margin."""

    id: str
    transaction_id: str
    kind: Literal["deposit", "grant", "charge", "refund", "adjustment", "withdrawal", "expiry", "transfer"]
    credits: str
    balance_after: str
    lot: str
    event: str | None
    event_id: str | None
    reason: str
    request_id: str
    occurred_at: str
    recorded_at: str


class EntryPage(BaseModel):
    data: list[EntryOut]
    next_cursor: str | None


class LotOut(BaseModel):
    id: str
    kind: Literal["paid", "promotional", "overdraft"]
    granted: str
    remaining: str
    expires_at: str | None
    created_at: str
    status: Literal["open", "used", "expired", "owed"]


class LotPage(BaseModel):
    data: list[LotOut]
    next_cursor: str | None


class DepositIn(Body):
    """Credits that were paid elsewhere, with the payment that stands behind them."""

    model_config = example(credits="500", amount="5.00", currency="USD", payment_id="pay_8412", idempotency_key="dep_8412")

    credits: Credits
    amount: Money = Field(description="What was paid, in the book currency.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", strict=True)] = Field(examples=["USD"])
    payment_id: Id = Field(description="The payment's id in the system that took it; credited once.")
    idempotency_key: Id | None = Field(None, description=KEY_HELP)
    expires_at: Time | None = None
    promotional: Annotated[bool, Field(strict=True)] = Field(default=False, description="Spent before paid credits of the same expiry.")
    metadata: Metadata = Field(default_factory=dict, description="For reconciliation, such as a checkout session.")


class DepositOut(BaseModel):
    entry: EntryOut
    balance: str
    available: str
    replayed: bool


class RefundOut(BaseModel):
    entries: list[EntryOut]
    balance: str
    available: str
    replayed: bool


_Term = Annotated[int, Field(ge=1, le=MAX_SECONDS, strict=True)]


class HoldIn(Body):
    """Set aside `credits`, or what `quantity` of the event cost (default: one)."""

    model_config = example(customer="user_42", event="chat.reply", idempotency_key="hold_9f2", credits="10", expires_in=600)

    customer: CustomerId
    event: EventName
    idempotency_key: Id | None = Field(None, description=KEY_HELP)
    quantity: Credits | None = None
    credits: Credits | None = None
    expires_in: _Term = Field(DEFAULT_SECONDS, description="Seconds until the hold ends by itself; at most a week.")


class ExtendIn(Body):
    """How long from now."""

    model_config = example(expires_in=900)

    expires_in: _Term = Field(DEFAULT_SECONDS, description="Seconds from now. A hold is never shortened.")


class HoldOut(BaseModel):
    id: str = Field(examples=["hold_31"])
    customer: str
    event: str
    credits: str
    available: str | None = Field(None, description="What the wallet had left when the hold was placed.")
    status: Literal["open", "captured", "released", "expired"]
    created_at: str
    expires_at: str
    captured_credits: str | None
    event_id: str | None


class CapturedOut(EventOut):
    hold: HoldOut


class RunIn(Body):
    """Fields that are left out keep their value."""

    model_config = example(trigger="push", status="running")

    trigger: Annotated[str, StringConstraints(pattern=r"^[ -~]{0,64}$", strict=True)] | None = None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"] | None = None
    started_at: Time | None = Field(None, description="Default: when the run is first announced.")
    ended_at: Time | None = Field(None, description="Default: when it is first announced as over.")


class RunOut(BaseModel):
    run_id: str
    trigger: str
    status: str
    started_at: str
    ended_at: str | None


class JobIn(Body):
    """Fields that are left out keep their value."""

    model_config = example(run_id="run_31", agent_type="research", status="running")

    run_id: Id | None = None
    agent_type: Annotated[str, StringConstraints(pattern=r"^[ -~]{0,64}$", strict=True)] | None = None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"] | None = None
    started_at: Time | None = None
    ended_at: Time | None = None


class JobOut(BaseModel):
    job_id: str
    run_id: str | None
    agent_type: str
    status: str
    started_at: str
    ended_at: str | None
