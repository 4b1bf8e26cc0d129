"""Bodies of the calls on budgets."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from billing.api.event_schemas import Body, StandingOut, example
from billing.api.fields import Money


class BudgetLimitIn(Body):
    """The project's limit on provider cost, each month."""

    model_config = example(project_id="support-bot", limit_dollars="250")

    project_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$", strict=True)] = Field(
        description="The key of the project that the API key is of."
    )
    limit_dollars: Money = Field(description="In the book currency.")


class BudgetScopeOut(BaseModel):
    """What counts: all that is named here together. Null: whichever."""

    team: str | None
    project: str | None = Field(description="The project's key.")
    environment: str | None
    api_key: str | None = Field(description="The key's public id, as in `md_live_<id>_<secret>`.")
    customer: str | None
    user: str | None
    event: str | None
    agent_type: str | None
    model: str | None


class AtLimitOut(BaseModel):
    """What `action` and `target` will say when the limit is reached."""

    action: Literal["alert", "block", "downgrade", "reroute", "ask"]
    target: str


class ForecastOut(BaseModel):
    """What will have been spent at the end of the window if it goes on like this."""

    amount: str
    method: str = Field(examples=["at the pace of this window so far"])
    runs_out_at: str | None = Field(description="When the limit is reached at that pace; null: not in this window.")


class BudgetStateOut(StandingOut):
    """A budget in the window that runs now."""

    id: str = Field(examples=["bud_7"])
    scope: BudgetScopeOut
    period: Literal["hour", "day", "week", "month"] = Field(description="How long each of its windows lasts.")
    time_zone: str = Field(description="Whose hours, days, weeks and months these are.", examples=["Europe/Berlin"])
    base_limit: str = Field(description="Without what exceptions add now.")
    thresholds: list[int] = Field(description="Per cent at which somebody is told.")
    at_limit: AtLimitOut
    forecast: ForecastOut
    as_of: str | None = Field(description="Up to when usage is counted in: now if it blocks, else a minute ago at most; null: not yet.")


class BudgetPage(BaseModel):
    data: list[BudgetStateOut]
    next_cursor: str | None


class BudgetLimitOut(BudgetStateOut):
    """The project's monthly limit, and how it stands."""

    project_id: str
    budget_limit: str = Field(description="As it was set, in the book currency.")
    budget_pct: str = Field(description="Per cent of it that is spent; `percent` counts exceptions in.")
