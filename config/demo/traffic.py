"""A day's ordinary traffic of each project: who did what, which model answered, how it went. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

from billing.events import Caller, Event, Outcome, Owner, Route
from config.demo import shape
from config.demo.buyers import PRODUCTION, STAGING, Buyer, Habit
from config.demo.shape import Day, some
from pricing.units import Usage

UNKNOWN_SINCE_DAYS = 30  # from then on a model that no catalogue knows serves some searches
BATCH_SINCE_DAYS = 28  # from then on nightly summaries go through the provider's batch service
Callers = dict[tuple[str, str], Caller]


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its share of the traffic before and after the drift, and its usual size and speed."""

    provider: str
    model: str
    share: tuple[float, float]
    input_tokens: int
    output_tokens: int
    latency_ms: int
    cached: float


CHAT = (
    Model("anthropic", "claude-haiku-4-5", (0.55, 0.22), 2200, 320, 900, 0.55),
    Model("anthropic", "claude-sonnet-4-5", (0.20, 0.58), 3600, 520, 2100, 0.50),
    Model("openai", "gpt-5-mini", (0.25, 0.20), 2100, 380, 1400, 0.35),
)
SEARCH = (
    Model("openai", "gpt-4.1-mini", (0.7, 0.7), 900, 110, 520, 0.1),
    Model("mistral", "mistral-small-latest", (0.3, 0.3), 850, 120, 410, 0.0),
)
PREVIEW = Model("inhouse", "ranker-preview", (1, 1), 700, 40, 180, 0.0)
PAGE = Model("google", "gemini-2.5-flash", (1, 1), 2600, 190, 700, 0.0)
NIGHTLY = Model("openai", "gpt-5-mini", (1, 1), 14_000, 700, 9000, 0.0)


def of_day(day: Day, callers: Callers, buyers: Sequence[Buyer], *, seed: int) -> list[Event]:
    """Return the day's events, product by product."""

    def random(stream: str) -> Random:
        return Random(f"{seed}/{day.on}/{stream}")  # noqa: S311 - a company is invented here, not a key

    return [
        *_chat(day, buyers, random("chat")),
        *_images(day, buyers, random("images")),
        *_documents(day, buyers, random("documents")),
        *_searches(day, buyers, random("searches")),
        *_tests(day, callers, random("tests")),
        *_evaluations(day, callers["agent-platform", "evaluation"], random("evaluations")),
        *_nightly(day, callers["internal-ops", PRODUCTION], random("nightly")),
    ]


def event(caller: Caller, name: str, at: datetime, key: str, **fields: Any) -> Event:
    """Build one event; `key` makes it this one and no other."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    request_id = f"req_{digest.hex()[:24]}"
    return Event(caller=caller, event=name, idempotency_key=key_of(key), body_hash=digest, occurred_at=at, request_id=request_id, **fields)


def key_of(key: str) -> str:
    """The idempotency key of an event."""
    return f"demo:{key}"


def choose(buyers: Sequence[Buyer], project: str, count: int, random: Random, *, habits: frozenset[Habit] | None = None) -> list[Buyer]:
    """Draw the customers of `count` actions; large ones act more often."""
    ours = [b for b in buyers if b.project == project and b.caller.environment == PRODUCTION and (not habits or b.habit in habits)]
    return random.choices(ours, weights=[buyer.weight for buyer in ours], k=count)


def usage(route: Model, day: Day, random: Random, *, times: float = 1, growth: float = 0.0) -> Usage:
    """Draw the tokens of one call; `growth` is how much longer calls have become by today."""
    longer = times * (1 + growth * day.drift)
    tokens = some(random, route.input_tokens * longer)
    cached = int(tokens * min(0.95, random.uniform(0.6, 1.2) * route.cached)) if random.random() < 0.85 else 0
    written = int((tokens - cached) * 0.25) if route.provider == "anthropic" and cached and random.random() < 0.3 else 0
    output = some(random, route.output_tokens * longer, 0.6)
    reasoning = int(output * random.uniform(0.2, 0.6)) if route.model.startswith("gpt-5") else 0
    return Usage(route.provider, route.model, tokens, output, cached, written, reasoning_tokens=reasoning)


def outcome(route: Model, random: Random) -> Outcome:
    """Draw how an ordinary call went: one in two hundred fails."""
    latency = some(random, route.latency_ms)
    if random.random() < 0.005:
        return Outcome("error", 500, "provider_error", latency, None, accepted=False)
    return Outcome("ok", 200, "", latency, max(1, latency // random.randrange(4, 9)), accepted=random.random() < 0.93)


def _route(routes: Sequence[Model], day: Day, random: Random) -> Model:
    weights = [before + (after - before) * day.drift for before, after in (route.share for route in routes)]
    return random.choices(routes, weights=weights)[0]


def _chat(day: Day, buyers: Sequence[Buyer], random: Random) -> Iterator[Event]:
    moments = day.moments(day.count(410, random), random)
    for number, (at, buyer) in enumerate(zip(moments, choose(buyers, "support-chat", len(moments), random), strict=True)):
        route = _route(CHAT, day, random)
        spent, went = usage(route, day, random, growth=0.6), outcome(route, random)
        how = Route("chat.completions", "text", "standard", "chat", f"{route.provider}/{route.model}", stream=True)
        if shape.is_stormy(day, at):
            spent, how, went = _in_the_storm(spent, went, random)
        owner = Owner(workflow="support", user=f"seat_{random.randrange(1, 40)}")
        key = f"chat/{day.on}/{number}"
        yield event(buyer.caller, "chat.reply", at, key, customer=buyer.external_id, usage=spent, route=how, outcome=went, owner=owner)


def _in_the_storm(spent: Usage, went: Outcome, random: Random) -> tuple[Usage, Route, Outcome]:
    """Every attempt costs its tokens; most replies come from the fallback in the end, some never come."""
    retries = random.randrange(2, 6)
    tried = {name: getattr(spent, name) * (1 + retries) for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens")}
    latency = (went.latency_ms or 1000) * (2 + retries)
    spent = Usage(spent.provider, spent.model, output_tokens=spent.output_tokens, requests=1 + retries, **tried)
    how = Route("chat.completions", "text", "standard", "chat", "openai/gpt-5-mini", stream=True, fallbacks=1, retries=retries)
    if random.random() < 0.3:
        return spent, how, Outcome("error", 529, "overloaded", latency, None, accepted=False, timeout_reason="provider")
    return spent, how, Outcome("ok", 200, "", latency, latency // 3, accepted=random.random() < 0.7)


def _images(day: Day, buyers: Sequence[Buyer], random: Random) -> Iterator[Event]:
    moments = day.moments(day.count(95, random), random)
    for number, (at, buyer) in enumerate(zip(moments, choose(buyers, "image-studio", len(moments), random), strict=True)):
        images = random.choice((1, 1, 1, 2, 2, 4))
        latency = some(random, 7000 + 1500 * images, 0.3)
        went = Outcome("ok", 200, "", latency, None, accepted=random.random() < 0.85)
        facts: dict[str, Any] = {"usage": Usage("blackforest", "flux-pro-1.1", images=images), "provider_cost": Decimal("0.04") * images}
        if random.random() < 0.15:
            facts = {"usage": Usage("openai", "gpt-image-1", some(random, 70), 1056 * images)}
        route = Route("images.generations", "image", "standard", "images")
        facts |= {"quantity": Decimal(images), "route": route, "outcome": went, "owner": Owner(workflow="studio")}
        yield event(buyer.caller, "image.generate", at, f"image/{day.on}/{number}", customer=buyer.external_id, **facts)


def _documents(day: Day, buyers: Sequence[Buyer], random: Random) -> Iterator[Event]:
    moments = day.moments(day.count(80, random), random)
    for number, (at, buyer) in enumerate(zip(moments, choose(buyers, "search", len(moments), random), strict=True)):
        pages = some(random, 4, 0.8)
        spent, went = usage(PAGE, day, random, times=pages), outcome(PAGE, random)
        facts = {"quantity": Decimal(pages), "usage": spent, "outcome": went, "owner": Owner(workflow="reading")}
        route = Route("generate_content", "text", "standard", "documents")
        yield event(buyer.caller, "doc.summary", at, f"summary/{day.on}/{number}", customer=buyer.external_id, route=route, **facts)


def _searches(day: Day, buyers: Sequence[Buyer], random: Random) -> Iterator[Event]:
    moments = day.moments(day.count(240, random), random)
    for number, (at, buyer) in enumerate(zip(moments, choose(buyers, "search", len(moments), random), strict=True)):
        route = PREVIEW if day.ago <= UNKNOWN_SINCE_DAYS and random.random() < 0.06 else _route(SEARCH, day, random)
        spent, went = usage(route, day, random), outcome(route, random)
        how = Route("chat.completions", "text", "standard", "search", f"{route.provider}/{route.model}")
        facts = {"usage": spent, "route": how, "outcome": went, "owner": Owner(workflow="search")}
        yield event(buyer.caller, "search.query", at, f"search/{day.on}/{number}", customer=buyer.external_id, **facts)


def _tests(day: Day, callers: Callers, random: Random) -> Iterator[Event]:
    """What our own people do in staging, out of wallets of their own."""
    makers: tuple[tuple[str, str, tuple[Model, ...]], ...] = (("support-chat", "chat.reply", CHAT), ("search", "search.query", SEARCH))
    for project, name, routes in makers:
        moments = day.moments(day.count(22, random), random)
        for number, at in enumerate(moments):
            route = _route(routes, day, random)
            spent, went = usage(route, day, random), outcome(route, random)
            key, owner = f"staging/{project}/{day.on}/{number}", Owner(workflow="tests", service_account="ci")
            caller = callers[project, STAGING]
            yield event(caller, name, at, key, customer="tester", usage=spent, route=Route("chat.completions"), outcome=went, owner=owner)


def _evaluations(day: Day, caller: Caller, random: Random) -> Iterator[Event]:
    """Once a week the agents are measured; nobody pays for that."""
    if day.on.weekday() != 1:
        return
    for number, at in enumerate(day.moments(120, random)):
        route = CHAT[number % 2]
        spent, went = usage(route, day, random, times=2), outcome(route, random)
        key, owner = f"evaluation/{day.on}/{number}", Owner(workflow="evaluation", service_account="evals")
        yield event(caller, "agent.run", at, key, usage=spent, route=Route("messages", "text"), outcome=went, owner=owner)


def _nightly(day: Day, caller: Caller, random: Random) -> Iterator[Event]:
    """The company's own reports, made at night without a customer."""
    is_batch = day.ago <= BATCH_SINCE_DAYS
    job = f"batch_{day.on:%Y%m%d}" if is_batch else ""
    moments: list[datetime] = [at.replace(hour=2) for at in day.moments(60, random)]
    for number, at in enumerate(moments):
        spent, went = usage(NIGHTLY, day, random), outcome(NIGHTLY, random)
        route = Route("batches" if is_batch else "responses", "text", "standard", "nightly", batch=is_batch, batch_job_id=job)
        owner = Owner(workflow="nightly-reports", service_account="cron")
        yield event(caller, "doc.summary", at, f"nightly/{day.on}/{number}", usage=spent, route=route, outcome=went, owner=owner)
