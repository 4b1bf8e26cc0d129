"""What the events of one price rule consumed, cost and brought in between two moments, read from records and ledger.

The Advisor's evidence, the backtest and the scorecard all read here, so that they cannot disagree about what an event
cost or brought in:

* a record belongs to the rule by the price version that it names, whatever other rules its event type has;
* its cost is read in `COSTED`, as `billing.queries.costs` tells it; a cost in another currency than the book's is as unknown as none, since
  a rate of exchange would be a guess;
* what it brought in are its ledger entries: the value of the lots that paid, refunds taken off.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from django.db import OperationalError, connection

from billing.models import Environment
from config.base.database import snapshot
from config.base.errors import DomainError
from config.base.exact import CONTEXT, ZERO
from pricing.advisor.evidence import REPORTED, Consumed, ModelUse, Window
from pricing.models import PriceRule, PriceVersion, Segment
from pricing.queries import workspace
from pricing.rate_catalogue import STANDARD_TIER, STANDARD_WORDS

# Background work may take longer than a page, which gets 5 seconds.
PATIENCE: Final = "60s"


class TooMuchUsageError(DomainError):
    """The database gave up on reading the usage of a rule; nothing was concluded from the part that it had read."""

    code = "too_much_usage"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which records are meant: those that one of `version_ids` priced in `[start, end)`, as they were known at `known_at`.

    `environment` is empty where the versions are of one customer's rule: the customer has only one.
    """

    version_ids: tuple[int, ...]
    environment: str
    currency: str
    start: datetime
    end: datetime
    known_at: datetime

    def parameters(self) -> dict[str, Any]:
        """Return what the statements of this module and of `COSTED` name."""
        return {
            "versions": list(self.version_ids),
            "environment": self.environment,
            "currencies": ["", self.currency],
            "start": self.start,
            "end": self.end,
            "known_at": self.known_at,
            "standard": sorted(STANDARD_WORDS),
            "standard_tier": STANDARD_TIER,
            "reported": REPORTED,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A window, and the prices and rates that its records name."""

    window: Window
    version_ids: frozenset[int]
    rate_ids: frozenset[int]


def scope_of(rule: PriceRule, *, versions: Sequence[PriceVersion], start: datetime, end: datetime, known_at: datetime) -> Scope:
    """Return what `versions` of `rule` priced; of rules for many customers in production only, where customers pay."""
    environment = "" if rule.segment == Segment.CUSTOMER else Environment.PRODUCTION.value
    ids = tuple(sorted(version.pk for version in versions))
    return Scope(ids, environment, workspace.load().currency, start, end, known_at)


@contextmanager
def reading(patience: str = PATIENCE) -> Iterator[None]:
    """Read as of one moment. Raises TooMuchUsageError when a statement takes longer than `patience`."""
    try:
        with snapshot():
            with connection.cursor() as cursor:
                # Compiling these statements takes longer than running them, and what is streamed is read to its end.
                cursor.execute(f"SET LOCAL statement_timeout = '{patience}'; SET LOCAL jit = off; SET LOCAL cursor_tuple_fraction = 1")
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise TooMuchUsageError(f"Reading the usage took longer than {patience}: let the Advisor look at fewer days.") from error
        raise


# The one place that says what a record cost: `cost`, and its parts in `lines` (unit, quantity, amount, rate_id), as the newest
# re-rating found them by `known_at`. Both are meaningful only where `is_known`.
COSTED: Final = """
    WITH costed AS NOT MATERIALIZED (
        SELECT r.id, r.customer_id, r.price_version_id, r.provider, r.model, r.is_batch, r.retries, r.fallbacks,
               r.quantity, r.input_tokens, r.output_tokens, r.cache_read_tokens, r.cache_write_tokens, r.cache_write_1h_tokens,
               r.reasoning_tokens, r.audio_input_tokens, r.audio_output_tokens, r.images, r.video_seconds, r.credits, r.price_lines,
               CASE WHEN lower(r.service_tier) = ANY(%(standard)s) THEN %(standard_tier)s ELSE lower(r.service_tier) END AS service_tier,
               -- An app that tells a cost of its own has called somebody at least once.
               CASE WHEN r.cost_status = 'reported' THEN greatest(r.requests, 1) ELSE r.requests END AS requests,
               coalesce(NOT r.is_accepted, r.status NOT IN ('', 'ok') OR coalesce(r.status_code >= 400, false)) AS is_failed,
               (newest.usage_record_id IS NOT NULL OR r.cost_status <> 'unpriced')
                   AND coalesce(newest.currency, r.cost_currency) = ANY(%(currencies)s) AS is_known,
               coalesce(newest.amount_after, r.cost_amount, 0) AS cost,
               CASE WHEN r.cost_status = 'reported'
                    THEN jsonb_build_array(jsonb_build_object(
                        'unit', %(reported)s, 'quantity', greatest(r.requests, 1), 'amount', r.cost_amount))
                    ELSE coalesce(newest.lines, r.cost_lines) END AS lines
        FROM billing_usagerecord r
        LEFT JOIN (
            SELECT DISTINCT ON (usage_record_id) usage_record_id, amount_after, currency, lines FROM billing_costadjustment
            WHERE occurred_at >= %(start)s AND occurred_at < %(end)s AND recorded_at < %(known_at)s
            ORDER BY usage_record_id, number DESC
        ) newest ON newest.usage_record_id = r.id
        WHERE r.occurred_at >= %(start)s AND r.occurred_at < %(end)s AND r.recorded_at < %(known_at)s
          AND r.price_version_id = ANY(%(versions)s) AND (%(environment)s = '' OR r.environment = %(environment)s)
    )
"""

# `moved`: the entries of those records. A charge takes credits and a refund gives some of them back, so their sum, turned
# round, is what stayed with us.
MOVED: Final = f"""{COSTED}
    , charge AS (
        SELECT costed.id AS record_id, e.id, e.credits, e.value
        FROM costed JOIN billing_ledgerentry e ON e.transaction_id = costed.id AND e.kind = 'charge'
    ), moved AS (
        SELECT record_id, credits, value FROM charge
        UNION ALL
        SELECT charge.record_id, e.credits, e.value
        FROM charge JOIN billing_ledgerentry e ON e.reverses_id = charge.id AND e.kind = 'refund' AND e.recorded_at < %(known_at)s
    )
"""

_COUNTS = f"""{COSTED}
    SELECT count(*), count(*) FILTER (WHERE NOT is_known), count(*) FILTER (WHERE is_known AND is_failed),
           coalesce(sum(retries) FILTER (WHERE is_known), 0), coalesce(sum(fallbacks) FILTER (WHERE is_known), 0),
           coalesce(sum(cost) FILTER (WHERE is_known), 0),
           coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY cost) FILTER (WHERE is_known), 0),
           coalesce(percentile_disc(0.95) WITHIN GROUP (ORDER BY cost) FILTER (WHERE is_known), 0),
           coalesce(array_agg(DISTINCT price_version_id), '{{}}')
    FROM costed
"""
_BROUGHT_IN = f"""{MOVED}
    SELECT coalesce(-sum(moved.credits), 0), coalesce(-sum(moved.value), 0)
    FROM moved JOIN costed ON costed.id = moved.record_id WHERE costed.is_known
"""
_REQUESTS = f"""{COSTED}
    SELECT provider, model, service_tier, is_batch, sum(requests) FROM costed WHERE is_known GROUP BY 1, 2, 3, 4
"""
_UNITS = f"""{COSTED}
    SELECT provider, model, service_tier, is_batch, line->>'unit', (line->>'rate_id')::bigint, sum((line->>'quantity')::numeric),
           sum((line->>'amount')::numeric)
    FROM costed, jsonb_array_elements(lines) line WHERE is_known GROUP BY 1, 2, 3, 4, 5, 6
"""


def window(scope: Scope) -> Found:
    """Add up what happened in `scope`; call it inside `reading`, so that its figures are of one moment."""
    ((events, unpriced, failed, retries, fallbacks, cost, p50, p95, version_ids),) = _rows(_COUNTS, scope)
    ((credits, value),) = _rows(_BROUGHT_IN, scope)
    models, rate_ids = _models(scope)
    assert cost == sum((used.cost for use in models for used in use.units.values()), ZERO), "the parts of a cost add up to it"
    found = Window(
        start=scope.start,
        end=scope.end,
        events=events,
        failed=failed,
        retries=int(retries),
        fallbacks=int(fallbacks),
        unpriced=unpriced,
        credits=credits,
        value=value,
        cost=cost,
        cost_p50=p50,
        cost_p95=p95,
        models=models,
    )
    return Found(found, frozenset(version_ids), rate_ids)


def count(scope: Scope) -> int:
    """Return how many records there are."""
    ((records,),) = _rows(f"{COSTED} SELECT count(*) FROM costed", scope)
    return int(records)


def _models(scope: Scope) -> tuple[tuple[ModelUse, ...], frozenset[int]]:
    units: defaultdict[tuple[Any, ...], defaultdict[str, Consumed]] = defaultdict(lambda: defaultdict(lambda: Consumed(ZERO, ZERO)))
    rate_ids = set()
    for *key, unit, rate_id, quantity, amount in _rows(_UNITS, scope):
        so_far = units[tuple(key)][unit]
        units[tuple(key)][unit] = Consumed(CONTEXT.add(so_far.quantity, quantity), CONTEXT.add(so_far.cost, amount))
        rate_ids.add(rate_id)
    uses = []
    for provider, model, tier, batch, requests in _rows(_REQUESTS, scope):
        consumed = dict(sorted(units[provider, model, tier, batch].items()))
        uses.append(ModelUse(provider, model, tier, batch, int(requests), consumed))
    # In Python: the order must not depend on the collation of a database.
    uses.sort(key=lambda use: (use.provider, use.model, use.service_tier, use.batch))
    return tuple(uses), frozenset(rate_ids - {None})  # a cost that the app told has no rate


def _rows(statement: str, scope: Scope) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, scope.parameters())
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
