"""Every price rule with the version that was in force at a moment: "what did we charge in April?".

A rule without a price then is a row as well, and says what its versions did instead: events fell to a wider rule or were
refused, and finance must see that rather than miss it. Two statements answer, however many rules there are; a second
moment takes one more.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Min, Q, QuerySet

from pricing.models import PriceRule, PriceVersion, Segment
from pricing.queries import timeline
from pricing.queries.timeline import Stop

_WIDEST_FIRST = [Segment.DEFAULT, Segment.PLAN, Segment.CUSTOMER]


@dataclass(frozen=True, slots=True)
class PriceAsOf:
    """One rule at a moment; `stop` is the version in force, None where there was none.

    Without one, `ended_at` is when the last version before the moment ended, `starts_at` when the next one starts.
    `compared` is the version in force at the other moment, None also where no other moment was asked for.
    """

    rule_id: int
    rule: str
    event_type: str
    segment: Segment
    segment_key: str
    stop: Stop | None
    ended_at: datetime | None
    starts_at: datetime | None
    compared: Stop | None
    differs: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of all rules asked for: by event type, the widest rule first."""

    rows: tuple[PriceAsOf, ...]

    @property
    def unpriced_count(self) -> int:
        return sum(row.stop is None for row in self.rows)

    @property
    def differing_count(self) -> int:
        return sum(row.differs for row in self.rows)


def prices_as_of(*, at: datetime, other: datetime | None = None, event: str = "", rule: str = "") -> Answer:
    """Return each rule with its version at `at`, and at `other` where that is asked for.

    `event` is any part of an event type's name or label, `rule` the whole name of one rule.
    """
    rules = list(_rules(event, rule).annotate(ended_at=_ended(at), starts_at=_starts(at)))
    then = _versions(at, event, rule)
    others = _versions(other, event, rule) if other else None
    rows = (_row(one, then.get(one.pk), others) for one in rules)
    return Answer(tuple(sorted(rows, key=lambda row: (row.event_type, _WIDEST_FIRST.index(row.segment), row.segment_key))))


def known_rules(*, at_most: int) -> tuple[str, ...]:
    """Return the names of the first rules, to choose one of them."""
    rules = PriceRule.objects.select_related("event_type").order_by("event_type__name", "segment", "segment_key")
    return tuple(map(str, rules[:at_most]))


def is_known(rule: str) -> bool:
    """Say whether a rule has this name."""
    return rules_named(rule).exists()


def rules_named(rule: str) -> "QuerySet[PriceRule]":
    """Return the one rule of this name, or none."""
    return PriceRule.objects.select_related("event_type").filter(_named(rule))


def _rules(event: str, rule: str) -> "QuerySet[PriceRule]":
    rules = PriceRule.objects.select_related("event_type").order_by()
    if event:
        rules = rules.filter(Q(event_type__name__icontains=event) | Q(event_type__label__icontains=event))
    return rules.filter(_named(rule)) if rule else rules


def _named(rule: str) -> Q:
    """Take a name apart (`chat.reply/customer/app/user_42`); a customer's key has a slash of its own."""
    event, segment, key, *_ = [*rule.split("/", 2), "", ""]
    return Q(event_type__name=event, segment=segment, segment_key=key)


def _versions(at: datetime, event: str, rule: str) -> dict[int, Stop]:
    versions = timeline.with_decisions(PriceVersion.objects.order_by())
    if event or rule:
        versions = versions.filter(rule__in=_rules(event, rule))
    return {version.rule_id: timeline.stop(version, now=at) for version in timeline.in_force(versions, at=at)}


def _ended(at: datetime) -> Max:
    return Max("versions__effective_to", filter=Q(versions__effective_to__lte=at))


def _starts(at: datetime) -> Min:
    return Min("versions__effective_from", filter=Q(versions__effective_from__gt=at))


def _row(rule: PriceRule, stop: Stop | None, others: dict[int, Stop] | None) -> PriceAsOf:
    compared = others.get(rule.pk) if others is not None else None
    return PriceAsOf(
        rule_id=rule.pk,
        rule=str(rule),
        event_type=rule.event_type.name,
        segment=Segment(rule.segment),
        segment_key=rule.segment_key,
        stop=stop,
        ended_at=None if stop else getattr(rule, "ended_at", None),
        starts_at=None if stop else getattr(rule, "starts_at", None),
        compared=compared,
        differs=others is not None and (stop and stop.id) != (compared and compared.id),
    )
