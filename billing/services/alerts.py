"""Raising alerts once, seeing to them, and ending them when what they tell of is over.

What is raised twice, by whomever and at whatever moment, is raised once: the database keeps causes unique, and whoever comes
second finds that out. The messages that an alert owes are written in its transaction and sent later (`alert_outbox`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q

from billing.models import Alert, AlertChannel, AlertDelivery, AlertKind, AlertState, Budget, ChannelKind, DeliveryOutcome, Project, Wallet

Facts = Mapping[str, Any]  # figures as JSON, decimals as strings, times in ISO 8601

# Wallets are locked by charges, which an alert of theirs must pass: few at a time, and all in one order.
_AT_ONCE: Final = 200
_INSERT: Final = """
    INSERT INTO billing_alert
        (kind, cause, budget_id, window_starts_at, threshold, "limit", wallet_id, project_id, facts, state, raised_at, note)
    SELECT kind, cause, budget_id, window_starts_at, threshold, of_limit, wallet_id, project_id, facts, 'open', %s, ''
    FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::timestamptz[], %s::smallint[], %s::numeric[], %s::bigint[], %s::bigint[],
        %s::jsonb[]) AS raised (kind, cause, budget_id, window_starts_at, threshold, of_limit, wallet_id, project_id, facts)
    ON CONFLICT DO NOTHING RETURNING cause, id
"""


@dataclass(frozen=True, slots=True)
class News:
    """What an alert would tell. `told` is the e-mail address of whoever answers for it; channels are told besides."""

    kind: AlertKind
    cause: str
    facts: Facts
    budget_id: int | None = None
    window_starts_at: datetime | None = None
    threshold: int | None = None
    limit: Decimal | None = None
    wallet_id: int | None = None
    project_id: int | None = None
    told: str = ""


def raise_alert(
    *,
    kind: AlertKind,
    cause: str,
    facts: Facts,
    now: datetime,
    budget: Budget | None = None,
    window_starts_at: datetime | None = None,
    threshold: int | None = None,
    wallet: Wallet | None = None,
    project: Project | None = None,
) -> Alert | None:
    """Raise an alert and owe its messages; None where this cause (or threshold of a window) was raised before.

    Told are who answers for the budget or the project (`answers_for`), and the channels that want alerts of this kind.
    """
    project = project or (project_of(budget) if budget else None)
    news = News(
        kind=kind,
        cause=cause,
        facts=facts,
        budget_id=budget.pk if budget else None,
        window_starts_at=window_starts_at,
        threshold=threshold,
        wallet_id=wallet.pk if wallet else None,
        project_id=project.pk if project else None,
        told=address_of(answers_for(budget, project)),
    )
    raised = raise_all([news], now=now)
    return Alert.objects.get(pk=raised[0]) if raised else None


def raise_all(news: Iterable[News], *, now: datetime) -> list[int]:
    """Raise what was not raised before; return the numbers of the new alerts."""
    raised = []
    waiting = sorted(news, key=lambda one: (one.wallet_id or 0, one.budget_id or 0, one.threshold or 0, one.cause))
    for first in range(0, len(waiting), _AT_ONCE):
        raised += _raise(waiting[first : first + _AT_ONCE], now)
    return raised


@transaction.atomic
def _raise(news: Sequence[News], now: datetime) -> list[int]:
    columns: list[list[Any]] = [
        [str(one.kind) for one in news],
        [one.cause for one in news],
        [one.budget_id for one in news],
        [one.window_starts_at for one in news],
        [one.threshold for one in news],
        [one.limit for one in news],
        [one.wallet_id for one in news],
        [one.project_id for one in news],
        [json.dumps(dict(one.facts)) for one in news],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [now, *columns])
        raised = dict(cursor.fetchall())
    channels = list(AlertChannel.objects.filter(is_active=True)) if raised else []
    owed = [
        AlertDelivery(alert_id=raised[one.cause], channel=channel, kind=kind, address=address, created_at=now, due_at=now)
        for one in news
        if one.cause in raised
        for (kind, address), channel in _receivers(one, channels).items()
    ]
    AlertDelivery.objects.bulk_create(owed)
    return list(raised.values())


def _receivers(news: News, channels: Iterable[AlertChannel]) -> dict[tuple[str, str], AlertChannel | None]:
    receivers: dict[tuple[str, str], AlertChannel | None] = {}
    if news.told:
        receivers[ChannelKind.EMAIL, news.told] = None
    for channel in channels:
        wanted = not channel.alerts or news.kind in channel.alerts
        if wanted and channel.project_id in {None, news.project_id}:
            receivers.setdefault((channel.kind, channel.address), channel)
    return receivers


def answers_for(budget: Budget | None, project: Project | None) -> User | None:
    """Return the budget's owner, or whoever answers for what its team, or the team of its project, spends."""
    if budget and budget.owner:
        return budget.owner
    team = budget.team if budget and budget.team else project.team if project else None
    return team.budget_owner if team else None


def project_of(budget: Budget) -> Project | None:
    """Return the project that a budget is about, if it is about one."""
    named = budget.api_key or budget.customer
    return budget.project or (named.project if named else None)


def address_of(person: User | None) -> str:
    """Return where a person gets e-mail; empty for who left, or has no address."""
    return person.email if person and person.is_active else ""


def acknowledge(*, alerts: Iterable[Alert], by: User, note: str, now: datetime) -> int:
    """Note that `by` has seen the open ones of `alerts`, and what is done about them; return how many that were."""
    return _locked(alerts, Q(state=AlertState.OPEN), state=AlertState.ACKNOWLEDGED, acknowledged_by=by, acknowledged_at=now, note=note)


def resolve(*, alerts: Iterable[Alert], by: User | None, now: datetime) -> int:
    """End alerts, by a person or (None) because what they tell of is over; return how many.

    A wallet that is low or frozen stays so until it is not: people can only acknowledge that, or it would be told again.
    """
    unresolved = ~Q(state=AlertState.RESOLVED)
    if by:
        unresolved &= ~Q(kind=AlertKind.WALLET_LOW, wallet__is_low=True) & ~Q(kind=AlertKind.WALLET_FROZEN, wallet__status="frozen")
    return _locked(alerts, unresolved, state=AlertState.RESOLVED, resolved_by=by, resolved_at=now)


@transaction.atomic
def _locked(alerts: Iterable[Alert], wanted: Q, **changes: Any) -> int:
    """Change those that are as wanted, locked in the order of their numbers; owe word of what was resolved."""
    chosen = Alert.objects.filter(wanted, pk__in=[alert.pk for alert in alerts]).order_by("pk")
    found = list(chosen.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
    changed = Alert.objects.filter(pk__in=found).update(**changes)
    if changes["state"] == AlertState.RESOLVED:
        _owe_word_of_the_end(found, changes["resolved_at"])
    return changed


def _owe_word_of_the_end(alerts: Sequence[int], now: datetime) -> None:
    """Programs close what they opened; people are not told that a day is over."""
    opened = AlertDelivery.objects.filter(
        alert__in=alerts, kind=ChannelKind.WEBHOOK, tells="raised", outcome__in=(DeliveryOutcome.DUE, DeliveryOutcome.SENT)
    )
    AlertDelivery.objects.bulk_create(
        (
            AlertDelivery(
                alert_id=one.alert_id, channel_id=one.channel_id, kind=one.kind, address=one.address, tells="resolved", created_at=now,
                due_at=now,
            )
            for one in opened
        ),
        ignore_conflicts=True,
    )  # fmt: skip
