"""What the evidence of a proposal was made from, and what of it has changed since.

Three things can: the policy, what a rate of the evidence says for the time that it is about, and what usage of that time
cost (a re-rating, which marks the proposal: `advising.note_recosted`). Usage that came later changes nothing; it is what
the next evidence is about. One condition serves the list, in SQL, and the sentences about one proposal.
"""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import BooleanField, DateTimeField, Exists, Expression, F, Func, JSONField, OuterRef, Q, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from config.base.exact import plain
from pricing.advisor import words
from pricing.advisor.evidence import Evidence
from pricing.advisor.policy import Policy
from pricing.models import Proposal, ProviderRate, Workspace
from pricing.queries import workspace

# As the page of a proposal calls the figures of the policy.
_POLICY_WORDS: Final = {
    "target_margin": "the target margin",
    "tolerance": "the tolerance around it",
    "max_step": "the largest step",
    "cooldown_days": "the rest after a change",
    "minimum_events": "the least number of events",
    "max_unpriced": "the largest share without a known cost",
    "credit_value": "the value of a credit",
}
_SHARES: Final = frozenset({"target_margin", "tolerance", "max_step", "max_unpriced"})
_NAMED_RATES: Final = 3


class _Among(Func):
    """Say whether a list in JSON has a number."""

    template = "(%(expressions)s)"
    arg_joiner = " @> "
    output_field = BooleanField()


def changes(proposal: Proposal) -> tuple[str, ...]:
    """Say in sentences what has changed under the evidence of `proposal`; nothing where it stands, or has none."""
    if not proposal.evidence:
        return ()
    settings = workspace.load()
    found = [*_of_policy(proposal, settings), *_of_rates(proposal)]
    if proposal.recosted_at:
        found.append("Usage of its days was re-rated since, so it cost something else than the evidence says.")
    return tuple(found)


def with_changes(rows: "QuerySet[Proposal]") -> "QuerySet[Proposal]":
    """Alias `has_changed_grounds`: whether `changes` would say something."""
    settings = workspace.load()
    others = ~Q(policy=workspace.policy(settings).as_json()) | ~Q(evidence__currency=settings.currency)
    rates = _rates_since(
        OuterRef("evidence__rate_ids"), since=OuterRef("created_at"), start=OuterRef("looked_at_from"), end=OuterRef("looked_at_until")
    )
    has_changed = Q(evidence__isnull=False) & (Q(recosted_at__isnull=False) | others | Exists(rates))
    start = Coalesce(KT("evidence__baseline__start"), KT("evidence__current__start"))
    return rows.alias(
        looked_at_from=Cast(start, DateTimeField()), looked_at_until=Cast(KT("evidence__current__end"), DateTimeField())
    ).alias(has_changed_grounds=has_changed)


def _of_policy(proposal: Proposal, settings: Workspace) -> list[str]:
    assert proposal.evidence is not None
    found = []
    if proposal.evidence["currency"] != settings.currency:
        found.append(f"The book currency is {settings.currency} now; the evidence is in {proposal.evidence['currency']}.")
    now = workspace.policy(settings)
    if proposal.policy and proposal.policy != now.as_json():
        before = asdict(Policy.from_json(proposal.policy))
        differ = [
            f"{_POLICY_WORDS[name]} is {_figure(name, value)} instead of {_figure(name, before[name])}"
            for name, value in asdict(now).items()
            if value != before[name]
        ]
        found.append(f"The policy has changed: {words.sentence_list(differ)}.")
    return found


def _figure(name: str, value: Decimal | int) -> str:
    if name in _SHARES:
        return words.percent(value)
    return f"{value} days" if name == "cooldown_days" else words.count(value)


def _of_rates(proposal: Proposal) -> list[str]:
    evidence = Evidence.from_json(proposal.evidence or {})
    rates = _rates_since(
        Value(list(evidence.rate_ids), JSONField()),
        since=proposal.created_at,
        start=(evidence.baseline or evidence.current).start,
        end=evidence.current.end,
    )
    found = list(rates.select_related("series__provider_model").distinct().order_by("pk"))
    if not found:
        return []
    named = [f"{rate.series}, {plain(rate.price)} {rate.currency} per {rate.per:,} (rate {rate.pk})" for rate in found[:_NAMED_RATES]]
    if len(found) > _NAMED_RATES:
        named.append(f"{len(found) - _NAMED_RATES} more")
    return [f"What providers charged in its days is another figure now: {words.sentence_list(named)}."]


def _rates_since(
    ids: Expression | OuterRef, *, since: datetime | Combinable, start: datetime | Combinable, end: datetime | Combinable
) -> "QuerySet[ProviderRate]":
    """Return the rates that came `since` to `[start, end)`, with another figure than one of `ids` in the same series.

    A correction is one, and so is a rate dated back. Half of a correction may repeat the figure, for the days when it was right.
    """
    known: dict[str, Any] = {name: F(f"series__rates__{name}") for name in ("price", "per")}
    differs = Q(price__lt=known["price"]) | Q(price__gt=known["price"]) | ~Q(per=known["per"])
    return ProviderRate.objects.filter(
        _Among(ids, Func(F("series__rates__pk"), function="to_jsonb")),
        differs,
        ~_Among(ids, Func(F("pk"), function="to_jsonb")),
        Q(effective_to=None) | Q(effective_to__gt=start),
        effective_from__lt=end,
        created_at__gt=since,
    )
