"""Bodies of `/events`: what an app reports about one product action, and the answer.

Field groups follow the field dictionary of the product's source documents. Unknown fields are refused, so that a prompt
never slips in under a name of its own.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from billing.api.fields import (
    Count,
    Credits,
    CustomerId,
    EventName,
    Id,
    Label,
    Metadata,
    Milliseconds,
    Money,
    Name,
    OptionalId,
    Seconds,
    Time,
    Tokens,
)
from billing.events import Overage
from config.base.exact import ZERO
from config.base.problem import Problem
from pricing.units import Usage, check


def example(**fields: Any) -> ConfigDict:
    """Show a body as it may be sent."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    """What every body has in common: fields that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null", allow_inf_nan=False)


class UsageIn(Body):
    """What the action consumed, as the provider counts it: wholes include their parts."""

    provider: Label = Field("", examples=["anthropic"])
    model: Name = Field("", examples=["claude-sonnet-4-5"])
    input_tokens: Tokens = Field(0, description="All input tokens, **including** cached and audio ones.", examples=[847])
    output_tokens: Tokens = Field(0, description="All output tokens, **including** reasoning and audio ones.", examples=[312])
    cache_read_tokens: Tokens = Field(0, description="Input tokens that the provider's cache served; part of `input_tokens`.")
    cache_write_tokens: Tokens = Field(0, description="Input tokens written to the provider's cache; part of `input_tokens`.")
    cache_write_1h_tokens: Tokens = Field(
        0, description="Those that the provider keeps for an hour, at a rate of their own; part of `cache_write_tokens`."
    )
    reasoning_tokens: Tokens = Field(0, description="Part of `output_tokens`.")
    audio_input_tokens: Tokens = Field(0, description="Part of `input_tokens`.")
    audio_output_tokens: Tokens = Field(0, description="Part of `output_tokens`.")
    images: Count = 0
    video_seconds: Seconds = ZERO
    requests: Count = Field(1, description="Calls made to the provider, retries included.")

    @model_validator(mode="after")
    def _parts_fit(self) -> "UsageIn":
        for field, message in check(self.as_usage()):
            raise PydanticCustomError("part_exceeds_whole", "{message}", {"field": field, "message": message})
        return self

    def as_usage(self) -> Usage:
        return Usage(**self.__dict__)


class RouteIn(Body):
    """How the request was routed."""

    endpoint: Label = Field("", description="Endpoint family.", examples=["chat.completions"])
    modality: Annotated[Label, Field(max_length=32)] = Field("", examples=["text"])
    service_tier: Annotated[Label, Field(max_length=32)] = Field("", examples=["standard"])
    route_group: Label = ""
    final_route: Name = Field("", description="The route that answered, after fallbacks.")
    batch: bool = Field(default=False, strict=True)
    stream: bool = Field(default=False, strict=True)
    fallbacks: Count = Field(0, description="Fallback attempts.")
    retries: Count = 0
    gateway_log_id: OptionalId = ""
    batch_job_id: OptionalId = ""


class OutcomeIn(Body):
    """How it went."""

    status: Literal["", "ok", "error", "timeout", "cancelled", "throttled", "blocked"] = ""
    status_code: Annotated[int, Field(ge=100, le=599, strict=True)] | None = None
    error_class: Label = ""
    latency_ms: Milliseconds | None = None
    ttft_ms: Milliseconds | None = Field(None, description="Time to first token.")
    accepted: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="Whether the output was accepted by whoever asked for it."
    )
    duration_ms: Milliseconds | None = Field(None, description="To the end of the stream.")
    timeout_reason: Label = ""


class OwnerIn(Body):
    """Who answers for it. Project, key, team and environment come from the API key."""

    workflow: Label = ""
    run_id: OptionalId = Field("", description="A pipeline run, as named in PUT /runs/{run_id}.")
    job_id: OptionalId = Field("", description="An agent job, as named in PUT /jobs/{job_id}.")
    agent_type: Label = ""
    user: OptionalId = Field("", description="The user's pseudonymous id.")
    cost_center: Annotated[Label, Field(max_length=32)] = Field("", description="Overrides the project's cost centre.")
    service_account: OptionalId = ""


class ActionIn(Body):
    """A product action, without the customer."""

    event: EventName = Field(description="The product's own word for the action.", examples=["chat.reply"])
    idempotency_key: Id | None = Field(
        None, description="Unique per project, for ever. Required here or as header `Idempotency-Key`.", examples=["req_9f2"]
    )
    quantity: Credits = Decimal(1)
    occurred_at: Time | None = Field(None, description="Default: now. Chooses the price version.")
    usage: UsageIn | None = None
    route: RouteIn = Field(default_factory=RouteIn)
    outcome: OutcomeIn = Field(default_factory=OutcomeIn)
    owner: OwnerIn = Field(default_factory=OwnerIn)
    provider_cost: Money | None = Field(None, description="What the provider charged, in the book currency, if the app knows it.")
    trace_id: OptionalId = ""
    metadata: Metadata = Field(default_factory=dict)


class EventIn(ActionIn):
    """One product action of a customer; without `customer` it is internal usage, which no wallet pays."""

    model_config = example(
        event="chat.reply",
        customer="user_42",
        idempotency_key="req_9f2",
        quantity="1",
        usage={"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 847, "output_tokens": 312},
        route={"endpoint": "chat.completions", "modality": "text", "stream": True},
        outcome={"status": "ok", "status_code": 200, "latency_ms": 812, "ttft_ms": 140},
        owner={"workflow": "support"},
    )

    customer: CustomerId | None = Field(None, examples=["user_42"])


class CaptureIn(ActionIn):
    """The event that ends a hold, and what to do if it costs more than was held."""

    model_config = example(event="chat.reply", idempotency_key="req_9f3", overage="available")

    overage: Overage = Field(
        Overage.REFUSE,
        description="`refuse`: answer 402 and leave the hold open. `available`: take what the wallet has, waive the rest. "
        "`allow`: charge all of it, the rest becomes overdraft.",
    )


class BatchIn(Body):
    """Up to 1,000 events, each validated and answered by itself, so a wrong one does not stop the others."""

    model_config = example(events=[{"event": "chat.reply", "customer": "user_42", "idempotency_key": "req_9f2"}])

    events: Annotated[
        list[Any],
        Field(
            min_length=1,
            max_length=1000,
            description="Bodies as of POST /events; each needs its own `idempotency_key`.",
        ),
    ]


class PriceOut(BaseModel):
    rule: str = Field(examples=["chat.reply/default"])
    version: int
    lines: list[dict[str, str]] = Field(description="What the credits consist of; the lines' `credits` add up to them.")


class LotPartOut(BaseModel):
    """Credits that one lot paid."""

    id: str = Field(examples=["lot_17"])
    credits: str


class CostOut(BaseModel):
    amount: str | None = Field(description="Null while unpriced: the cost is unknown, not zero.")
    currency: str
    status: Literal["priced", "unpriced", "reported", "none"]


# `from` is no name for an attribute.
BudgetWindowOut = create_model("BudgetWindowOut", **{"from": (str, ...), "to": (str, ...)})  # type: ignore[call-overload]


class StandingOut(BaseModel):
    """How one budget stands in one window."""

    name: str
    state: Literal["green", "yellow", "red"] = Field(description="Green below 80 %, yellow below 100 %, red from there on.")
    action: Literal["none", "alert", "block", "downgrade", "reroute", "ask"] = Field(
        description="What the app should heed; none below the limit."
    )
    percent: str = Field(description="Spent, rounded down: 100 is said at the limit and not before.")
    measure: Literal["cost", "credits", "tokens", "requests"]
    limit: str = Field(description="With what exceptions add now.")
    spent: str = Field(description="Of budgets that do not block, as of at most a minute ago.")
    held: str = Field(description="Reserved by open holds.")
    remaining: str
    target: str = Field(description="The model to go down to, the route to take, or whom to ask.")
    window: BudgetWindowOut


class BudgetOut(StandingOut):
    """How one budget stands in the window that the event occurred in."""

    late: bool = Field(description="The event came after the end of the window that it counts in.")


class EventOut(BaseModel):
    """A metered event. A repeated call gets the same answer with `replayed` true."""

    id: str = Field(examples=["evt_1093"])
    event: str
    customer: str | None
    credits: str
    balance: str | None = Field(description="The wallet's balance after this event; null for internal usage.")
    available: str | None
    price: PriceOut | None = Field(description="Null for internal usage.")
    lots: list[LotPartOut]
    provider_cost: CostOut
    budgets: list[BudgetOut] = Field(description="The budgets that apply, as they stand now.")
    occurred_at: str
    recorded_at: str
    request_id: str
    replayed: bool


class EstimateOut(EventOut):
    """What an event would cost: nothing was recorded, so there is no id."""

    id: None  # type: ignore[assignment]


class ResultOut(BaseModel):
    """One result of a batch."""

    status: Literal["created", "duplicate", "rejected"]
    event: EventOut | None = Field(None, description="Of created and duplicate events.")
    problem: Problem | None = Field(
        None,
        description="Of rejected events: what the single call would have answered, and `retry_after` of `budget_exceeded` (null: never).",
    )


class BatchOut(BaseModel):
    results: list[ResultOut]
