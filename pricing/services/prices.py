"""Deciding prices: event types, the rules that price them, and the versions of a rule.

A version that apps may have been charged by is never touched. That is why the start of a new version lies ahead, and
why a publication waits for charges in flight (`pricing.locks`).
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import connection, transaction

from config.base.exact import CREDIT_STEP, ZERO, Rounding
from pricing import definition as definitions
from pricing.definition import Definition
from pricing.locks import take_prices_lock_sql
from pricing.models import EventType, PriceRule, PriceVersion, Segment
from pricing.price import Component, Tier
from pricing.queries import timeline
from pricing.services.refusals import InvalidPriceError, LaterVersionError, RuleEndedLaterError, StartsTooSoonError

# Apps may report an event up to this far into the future, so a price may change no sooner.
LEAD_TIME: Final = timedelta(seconds=60)

M = TypeVar("M", EventType, PriceRule)


@transaction.atomic
def create_event_type(*, name: str, label: str, unit_name: str = "event", description: str = "", actor: User | None) -> EventType:
    """Add a word that apps may report.

    Raises:
        InvalidPriceError: the name is taken or not in lower-case words joined by dots.
    """
    event_type = EventType(name=name, label=label, unit_name=unit_name, description=description)
    return _create(event_type, actor)


@transaction.atomic
def create_rule(*, event_type: EventType, segment: Segment = Segment.DEFAULT, segment_key: str = "", actor: User | None) -> PriceRule:
    """Open a price for everyone, a plan, or one customer; it has no effect before its first version.

    Raises:
        InvalidPriceError: the rule exists, or its key does not fit its segment.
    """
    return _create(PriceRule(event_type=event_type, segment=segment, segment_key=segment_key), actor)


@transaction.atomic
def publish_version(
    *,
    rule: PriceRule,
    credits_per_event: Decimal,
    components: Sequence[Component] = (),
    tiers: Sequence[Tier] = (),
    minimum: Decimal = ZERO,
    rounding_step: Decimal = CREDIT_STEP,
    rounding_mode: Rounding = Rounding.HALF_UP,
    effective_from: datetime,
    reason: str,
    actor: User | None,
    approved_by: User | None = None,
    now: datetime,
) -> PriceVersion:
    """Write the next version of `rule` and end the one before it where the new one starts.

    A rule's first version may start in the past. Waits for the charges in flight, and they wait for it.

    Raises:
        InvalidPriceError: a figure has more than 6 places, or the price is ambiguous.
        StartsTooSoonError: the rule has a version and the new one starts less than 60 s from now.
        LaterVersionError: a version that starts at that moment or later exists.
        RuleEndedLaterError: the version before ends after the new one would start.
    """
    definition = Definition(credits_per_event, components, tiers, minimum, rounding_step, rounding_mode)
    check(definition, reason)
    earliest = now + LEAD_TIME + _wait_for_charges()
    latest = timeline.latest(rule)
    if latest is not None:
        check_follows(latest, effective_from, earliest)
        if latest.effective_to is None:
            PriceVersion.objects.filter(pk=latest.pk).update(effective_to=effective_from)
    return PriceVersion.objects.create(
        rule=rule,
        number=latest.number + 1 if latest else 1,
        credits_per_event=credits_per_event,
        components=[component.as_json() for component in components],
        tiers=[tier.as_json() for tier in tiers],
        minimum=minimum,
        rounding_step=rounding_step,
        rounding_mode=rounding_mode.value,
        effective_from=effective_from,
        reason=reason,
        created_by=actor,
        approved_by=approved_by,
        created_at=now,
    )


def _wait_for_charges() -> timedelta:
    """Take the lock that charges share, and return how long that took: the caller's `now` is that much older."""
    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(take_prices_lock_sql)
    return timedelta(seconds=time.monotonic() - began)


def check(definition: Definition, reason: str) -> None:
    """Raise InvalidPriceError, with the fields, if `definition` could not be published or nobody says why it should be."""
    problems = definitions.check(definition)
    if not reason.strip():
        problems.append(("reason", "must say why the price is what it is"))
    if problems:
        raise InvalidPriceError("; ".join(f"{field} {message}" for field, message in problems), tuple(problems))


def check_follows(latest: PriceVersion, effective_from: datetime, earliest: datetime) -> None:
    """Raise what `publish_version` lists if a version from `effective_from` on cannot follow `latest`."""
    if effective_from < earliest:
        raise StartsTooSoonError(
            f"{latest.rule} is in force and apps report events up to {LEAD_TIME.seconds} seconds ahead: "
            f"let the new version start at {earliest.isoformat(timespec='seconds')} or later."
        )
    if latest.effective_from >= effective_from:
        raise LaterVersionError(
            f"{latest} is scheduled for {latest.effective_from.isoformat()}: a scheduled version stays, so let the new one start after it."
        )
    if latest.effective_to is not None and latest.effective_to > effective_from:
        raise RuleEndedLaterError(f"{latest} is valid until {latest.effective_to.isoformat()}: let the new version start then or later.")


def _create(row: M, actor: User | None) -> M:
    try:
        row.full_clean()
    except ValidationError as error:
        problems = [(field, text) for field, texts in error.message_dict.items() for text in texts]
        message = " ".join(text if field == NON_FIELD_ERRORS else f"{field}: {text}" for field, text in problems)
        raise InvalidPriceError(message, tuple(problems)) from error
    setattr(row, "_history_user", actor)  # noqa: B010 - how simple-history is told who acts; the stubs do not know it
    row.save()
    return row
