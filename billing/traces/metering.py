"""Turns steps into events, and adds up what became of them."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.events import Caller, Event, Outcome, Owner, Refused, Result, Route, body_hash
from billing.traces.trace import Step, Trace
from config.base.exact import ZERO, plain
from pricing.cost import CostStatus

IMPLIED = "implied by prefix hashes"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a trace is metered: for whom, as which event, and when it is taken to have begun."""

    caller: Caller
    customer: str | None
    event: str
    begins: datetime


def events(trace: Trace, plan: Plan) -> Iterator[Event]:
    """Yield one event per step, in the order of time.

    The idempotency key is made of the file's content and the step's place in it, and the body leaves out the time: so a
    second run finds the same events again, even where it would let the trace begin at another moment.
    """
    types = {agent.name: agent.agent_type for agent in trace.agents}
    for step in trace.steps:
        metadata: dict[str, Any] = {"trace_position": step.position}
        if step.is_split_implied:
            metadata["cache_split"] = IMPLIED
        yield Event(
            caller=plan.caller,
            event=plan.event,
            idempotency_key=key_of(trace, step),
            body_hash=body_hash("trace", json.dumps([plan.event, plan.customer, *_facts(step)]).encode()),
            customer=plan.customer,
            occurred_at=plan.begins + step.offset,
            usage=step.usage,
            route=Route(endpoint=trace.endpoint, modality="text", stream=step.is_stream),
            outcome=Outcome(status="ok" if step.is_seen_to_the_end else "", latency_ms=step.latency_ms, ttft_ms=step.ttft_ms),
            owner=Owner(
                workflow="trace",
                run_id=trace.run_id if trace.agents else "",
                job_id=job_id(trace, step.agent) if trace.agents else "",
                agent_type=types.get(step.agent, ""),
            ),
            trace_id=trace.name[:128],
            metadata=metadata,
            request_id=f"trace_{trace.digest[:12]}_{step.position}",
        )


def key_of(trace: Trace, step: Step) -> str:
    """The idempotency key of a step."""
    return f"trace:{trace.digest}:{step.position}"


def job_id(trace: Trace, agent: str) -> str:
    """The id of the agent job that an agent of a session becomes."""
    return f"{trace.run_id}.{agent}"[:128]


def _facts(step: Step) -> list[Any]:
    usage = step.usage
    tokens = [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens]
    return [step.position, step.agent, usage.provider, usage.model, *tokens]


@dataclass(slots=True)
class Totals:
    """What was newly recorded, and what was not."""

    events: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    credits: Decimal = ZERO
    provider_cost: dict[str, Decimal] = field(default_factory=dict)
    unpriced: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, batch: Iterable[Event], results: Iterable[Result]) -> None:
        """Count one batch."""
        for event, result in zip(batch, results, strict=True):
            if isinstance(result, Refused):
                self.rejected[result.code] += 1
                self.reasons.setdefault(result.code, result.detail)
            elif result.replayed:
                self.duplicates += 1
            else:
                assert event.usage is not None
                self.events += 1
                self.input_tokens += event.usage.input_tokens
                self.output_tokens += event.usage.output_tokens
                self.cache_read_tokens += event.usage.cache_read_tokens
                self.cache_write_tokens += event.usage.cache_write_tokens
                self.credits += result.credits
                self.unpriced += result.cost.status is CostStatus.UNPRICED
                if result.cost.amount is not None:
                    currency = result.cost.currency
                    self.provider_cost[currency] = self.provider_cost.get(currency, ZERO) + result.cost.amount

    @property
    def is_complete(self) -> bool:
        """Nothing was left out."""
        return not self.rejected and not self.faults

    def as_json(self) -> dict[str, Any]:
        """Write the totals as a JSON object; decimals are strings."""
        return {
            "events": self.events,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "credits": plain(self.credits),
            "provider_cost": {currency: plain(amount) for currency, amount in sorted(self.provider_cost.items())},
            "unpriced": self.unpriced,
            "duplicates": self.duplicates,
            "rejected": dict(sorted(self.rejected.items())),
            "faults": self.faults,
        }

    def as_lines(self) -> Iterator[str]:
        """Write the totals for people."""
        yield f"events      {self.events:,} new, {self.duplicates:,} metered before, {self.rejected.total():,} rejected"
        yield f"tokens      {self.input_tokens:,} input, of which {self.cache_read_tokens:,} cached; {self.output_tokens:,} output"
        yield f"credits     {plain(self.credits)}"
        costs = " + ".join(f"{plain(amount)} {currency}" for currency, amount in sorted(self.provider_cost.items())) or "none known"
        yield f"cost        {costs}" + (f"; {self.unpriced:,} events unpriced: they name no model that has a rate" if self.unpriced else "")
        for code, count in self.rejected.most_common():
            yield f"rejected    {count:,} x {code}: {self.reasons[code]}"
        if not self.events and self.duplicates and not self.rejected:
            yield "Everything in these traces was metered before: nothing was charged."
