"""Backtest: what a price would have done to the customers and to the margin of a period that is over.

Every recorded action of the rule is rated again by `pricing.rating.rate`, in a stream. What that assumes is said in
`ASSUMED` and shown with the figures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.db import connection

from billing.models import Customer
from config.base.exact import CONTEXT, CREDIT_STEP, MONEY_STEP, ZERO, Rounding, plain, round_to
from pricing.definition import Definition
from pricing.models import PriceRule
from pricing.price import Price
from pricing.queries import workspace
from pricing.rating import rate
from pricing.units import Usage
from reports.queries import recorded_usage, wallet_replay
from reports.queries.recorded_usage import MOVED, Scope

MAX_RECORDS: Final = 100_000
MOST: Final = 50
_CHUNK: Final = 2_000
_LARGEST_HASH: Final = 2**31 - 1
_SHARE_STEP: Final = Decimal("0.000001")
ASSUMED: Final = (
    "Customers would have done what they did.",
    "A refund would have given back the same share of the charge.",
    "A credit more or less would have been worth what those were that paid for the event; for a free event, the workspace's credit value.",
    "Nobody would have topped up sooner: a wallet has run dry when an action that it paid for would have gone below its limit.",
)


class Action(NamedTuple):
    """One recorded action. `credits` and `value` are what stayed with us, `full` is what the price asked for."""

    record_id: int
    customer_id: int
    quantity: Decimal
    usage: Usage
    full: Decimal
    credits: Decimal
    value: Decimal
    cost: Decimal | None


@dataclass(slots=True)
class _Customer:
    events: int = 0
    before: Decimal = ZERO
    after: Decimal = ZERO
    rises: Decimal = ZERO  # of those actions alone that would have cost more

    @property
    def delta(self) -> Decimal:
        return self.after - self.before


@dataclass(slots=True)
class _Rerated:
    """The sums over all actions. Value and cost are of events with a known cost, as the margin is."""

    price: Price
    credit_value: Decimal
    events: int = 0
    unpriced: int = 0
    value_before: Decimal = ZERO
    value_after: Decimal = ZERO
    cost: Decimal = ZERO
    customers: dict[int, _Customer] = field(default_factory=dict)
    extra: dict[int, Decimal] = field(default_factory=dict)  # credits more (or less), by record

    def add(self, action: Action) -> None:
        asked = rate(self.price, quantity=action.quantity, usage=action.usage).credits
        after, value = _kept(action, asked, self.credit_value)
        self.events += 1
        customer = self.customers.setdefault(action.customer_id, _Customer())
        customer.events += 1
        customer.before += action.credits
        customer.after += after
        if after != action.credits:
            customer.rises += max(after - action.credits, ZERO)
            self.extra[action.record_id] = after - action.credits
        if action.cost is None:
            self.unpriced += 1
            return
        self.value_before += action.value
        self.value_after += value
        self.cost += action.cost


def _kept(action: Action, asked: Decimal, credit_value: Decimal) -> tuple[Decimal, Decimal]:
    """Return the credits and the value that would have stayed with us had the price asked for `asked` credits."""
    if not action.full:
        return asked, round_to(CONTEXT.multiply(asked, credit_value), MONEY_STEP, Rounding.HALF_UP)
    factor = CONTEXT.divide(asked, action.full)
    credits = asked if action.credits == action.full else round_to(CONTEXT.multiply(action.credits, factor), CREDIT_STEP, Rounding.HALF_UP)
    return credits, round_to(CONTEXT.multiply(action.value, factor), MONEY_STEP, Rounding.HALF_UP)


_ACTIONS = f"""{MOVED}
    SELECT id, customer_id, quantity, provider, model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
           cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, images, video_seconds, requests,
           costed.credits - coalesce((SELECT sum((line->>'credits')::numeric) FROM jsonb_array_elements(price_lines) line
                                      WHERE line->>'kind' = 'waived'), 0),
           coalesce(paid.credits, 0), coalesce(paid.value, 0), CASE WHEN is_known THEN cost END
    FROM costed
    LEFT JOIN (SELECT record_id, -sum(credits) AS credits, -sum(value) AS value FROM moved GROUP BY record_id) paid
           ON paid.record_id = id
    WHERE (hashint8(id) & {_LARGEST_HASH}) <= %(highest_hash)s
"""


def backtest(rule: PriceRule, definition: Definition, *, start: datetime, end: datetime, now: datetime) -> dict[str, Any]:
    """Return what `definition` would have done to the usage of `rule` in `[start, end)`, as plain JSON.

    Of more than `MAX_RECORDS` actions it takes every second, third, …, chosen by a hash of the record's id, so always the
    same: then `sampled` is true, `every` says which part, and the figures are those of the sample, not estimates of the
    whole. Only in the replay of wallets each sampled action counts `every` times. Raises TooMuchUsageError.
    """
    with recorded_usage.reading():
        scope = recorded_usage.scope_of(rule, versions=list(rule.versions.all()), start=start, end=end, known_at=now)
        every = -(-recorded_usage.count(scope) // MAX_RECORDS) or 1
        rerated = _Rerated(rule.price(definition), workspace.load().credit_value)
        for action in _actions(scope, every):
            rerated.add(action)
        extra = {record: credits * every for record, credits in rerated.extra.items()}
        dry = wallet_replay.run_dry(extra, customers=_at_risk(rerated, every), start=start, end=end)
        return _as_json(rerated, dry, scope, every)


def _actions(scope: Scope, every: int) -> Iterator[Action]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(_ACTIONS, scope.parameters() | {"highest_hash": _LARGEST_HASH // every})
        while rows := cursor.fetchmany(_CHUNK):
            for record_id, customer_id, quantity, *used, full, credits, value, cost in rows:
                yield Action(record_id, customer_id, quantity, Usage(*used), full, credits, value, cost)


def _at_risk(rerated: _Rerated, every: int) -> dict[int, Decimal]:
    """Return the customers some of whose actions would have cost more, and how much more these would have come to at most."""
    return {pk: customer.rises * every for pk, customer in rerated.customers.items() if customer.rises}


def _as_json(rerated: _Rerated, dry: wallet_replay.RunDry, scope: Scope, every: int) -> dict[str, Any]:
    customers = rerated.customers
    deltas = [customer.delta for customer in customers.values()]
    top = sorted(customers, key=lambda pk: (-abs(customers[pk].delta), pk))[:MOST]
    names = {
        customer.pk: customer.price_key
        for customer in Customer.objects.select_related("project").filter(pk__in={*top, *(row.customer_id for row in dry.first)})
    }
    return {
        "start": scope.start.isoformat(),
        "end": scope.end.isoformat(),
        "events": rerated.events,
        "unpriced": rerated.unpriced,
        "credits_before": plain(sum((customer.before for customer in customers.values()), ZERO)),
        "credits_after": plain(sum((customer.after for customer in customers.values()), ZERO)),
        "value_before": plain(rerated.value_before),
        "value_after": plain(rerated.value_after),
        "cost": plain(rerated.cost),
        "currency": scope.currency,
        "margin_before": _margin(rerated.value_before, rerated.cost),
        "margin_after": _margin(rerated.value_after, rerated.cost),
        "customers": {
            "up": sum(delta > 0 for delta in deltas),
            "down": sum(delta < 0 for delta in deltas),
            "same": sum(delta == 0 for delta in deltas),
            "top": [_customer_json(names[pk], customers[pk]) for pk in top],
        },
        "wallets_at_zero": [
            {"customer": names[row.customer_id], "balance": plain(row.balance), "would_have_ended_at": row.at.isoformat()}
            for row in dry.first
        ],
        "wallets_at_zero_count": dry.count,
        "sampled": every > 1,
        "every": every,
        "assumed": list(ASSUMED),
    }


def _customer_json(name: str, customer: _Customer) -> Mapping[str, Any]:
    return {
        "customer": name,
        "events": customer.events,
        "credits_before": plain(customer.before),
        "credits_after": plain(customer.after),
        "delta": plain(customer.delta),
    }


def _margin(value: Decimal, cost: Decimal) -> str | None:
    """Return the share of `value` that was left, at 6 places; None where nothing was paid."""
    return plain(round_to(CONTEXT.divide(value - cost, value), _SHARE_STEP, Rounding.HALF_EVEN)) if value else None
