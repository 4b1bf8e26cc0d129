"""Changing the catalogue by hand: a rate that was missing, another name of a model, a figure that was wrong.

A correction voids the wrong row and puts rows of its period in its place, from now on and for the past: what was costed
by the wrong figure is found by its id and costed again (re-rating). It waits for the charges in flight, so that each of
them is either found by that or was costed by the right figure.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import User
from django.db import connection, transaction

from pricing import price_book
from pricing.locks import take_prices_lock_sql, take_rates_lock_sql
from pricing.models import ProviderModel, ProviderRate, RateSeries
from pricing.patterns import fixes_something, is_pattern
from pricing.rate_catalogue import tier_of
from pricing.services.refusals import RateRefusedError
from pricing.units import UnitKind

_POWERS_OF_TEN: Final = frozenset(10**places for places in range(10))
_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9 ._&+/-]{0,63}", re.IGNORECASE | re.ASCII)


@transaction.atomic
def correct(
    *, rate: ProviderRate, price: Decimal, per: int, since: datetime | None = None, source: str, reason: str, actor: User, now: datetime
) -> list[ProviderRate]:
    """Put the right figure in the place of `rate`: for its whole period, or from `since` on, before which it was right.

    Raises:
        RateRefusedError: the rate was corrected before, the figure is the same, `per` is no power of ten, or `since` is not within
            its period.
    """
    _check_per(per)
    with connection.cursor() as cursor:
        cursor.execute(take_rates_lock_sql)
        cursor.execute(take_prices_lock_sql)
    rate = ProviderRate.objects.select_for_update(of=("self",)).select_related("series").get(pk=rate.pk)
    if rate.voided_at is not None:
        raise RateRefusedError("This rate has been corrected already. Correct the rate that took its place.")
    if price * rate.per == rate.price * per:
        raise RateRefusedError("That is the figure that the rate has. Type the right one.")
    start = since or rate.effective_from
    if not rate.effective_from <= start or (rate.effective_to is not None and start >= rate.effective_to):
        raise RateRefusedError("The right figure has to begin within the period of the rate that it corrects.")
    ProviderRate.objects.filter(pk=rate.pk).update(voided_at=now)
    return ProviderRate.objects.bulk_create(_in_its_place(rate, price, per, start, source, reason, actor, now))


def _in_its_place(
    rate: ProviderRate, price: Decimal, per: int, start: datetime, source: str, reason: str, actor: User, now: datetime
) -> Iterator[ProviderRate]:
    common = {"series": rate.series, "currency": rate.currency, "corrects": rate, "correction_reason": reason, "created_at": now}
    if start > rate.effective_from:
        yield ProviderRate(
            **common,
            price=rate.price,
            per=rate.per,
            effective_from=rate.effective_from,
            effective_to=start,
            source=rate.source,
            source_detail=rate.source_detail,
            verified_by=rate.verified_by,
        )
    yield ProviderRate(
        **common, price=price, per=per, effective_from=start, effective_to=rate.effective_to, source=source, verified_by=actor
    )


@transaction.atomic
def add(
    *,
    provider: str,
    model: str,
    prices: Mapping[UnitKind, tuple[Decimal, int]],
    service_tier: str = "",
    is_batch: bool = False,
    currency: str,
    effective_from: datetime,
    source: str,
    source_detail: str = "",
    actor: User,
    now: datetime,
) -> list[ProviderRate]:
    """Add what a model's units cost from a moment on, as (price, per) by unit; the model too, if the catalogue has none so named.

    Where the same unit has a later rate already, the new one ends where that begins.

    Raises:
        RateRefusedError: no figure is given, one is for an odd number of units, the provider or the model has no name that an app
            could report, or a unit has a rate at that moment.
    """
    if not prices:
        raise RateRefusedError("Type at least one price.")
    for _, per in prices.values():
        _check_per(per)
    _check_names(provider, model)
    with connection.cursor() as cursor:
        cursor.execute(take_rates_lock_sql)
    found = price_book.current().catalogue.find(provider, model)
    named = {"provider": found.provider, "name": found.name} if found else {"provider": provider.lower(), "name": model}
    row = ProviderModel.objects.filter(**named).first() or _save(ProviderModel(**named), actor, f"Rates added by hand: {source}")
    terms = {"currency": currency, "source": source, "source_detail": source_detail, "verified_by": actor, "created_at": now}
    added = []
    for unit, (price, per) in prices.items():
        series, _ = RateSeries.objects.get_or_create(
            provider_model=row, unit_kind=unit.value, service_tier=tier_of(service_tier), is_batch=is_batch, context_threshold=0
        )
        end = _end_of_gap(series, effective_from)
        period = {"effective_from": effective_from, "effective_to": end}
        added.append(ProviderRate.objects.create(series=series, price=price, per=per, **period, **terms))
    return added


def _check_per(per: int) -> None:
    if per not in _POWERS_OF_TEN:
        raise RateRefusedError(
            f"A price is for 1, 10, 100 or another power of ten of units, not for {per:,}. Work it out for one of those."
        )


def _check_names(provider: str, model: str) -> None:
    if not _PROVIDER.fullmatch(provider):
        raise RateRefusedError("Write the provider as apps report it, beginning with a letter or a digit: anthropic, x-ai.")
    if is_pattern(model):
        raise RateRefusedError(
            "A rate is of one model: write its name without * and #. A pattern of names is added to the model afterwards."
        )
    if not (model.isascii() and model.isprintable() and fixes_something(model)):
        raise RateRefusedError("Write the model as apps report it, in letters and digits: gpt-5-mini.")


def _end_of_gap(series: RateSeries, start: datetime) -> datetime | None:
    """Return when the next rate of the series begins; refuses where one holds at `start`."""
    valid = ProviderRate.objects.filter(series=series, voided_at=None)
    before = valid.filter(effective_from__lte=start).order_by("-effective_from").first()
    if before and (before.effective_to is None or before.effective_to > start):
        raise RateRefusedError(f"Rate {before.pk} of {series} holds at that moment. Correct that one instead.")
    later = valid.filter(effective_from__gt=start).order_by("effective_from").first()
    return later.effective_from if later else None


@transaction.atomic
def add_alias(*, model: ProviderModel, alias: str, reason: str, actor: User) -> ProviderModel:
    """Let a model be found by another name, or a pattern of names.

    Raises:
        RateRefusedError: the model has that name, another model of the provider does, or the pattern would be nearly every name.
    """
    if not fixes_something(alias):
        raise RateRefusedError(f"{alias} would stand for models of any name. Write a letter or a digit of the names that are meant.")
    with connection.cursor() as cursor:
        cursor.execute(take_rates_lock_sql)
    model = ProviderModel.objects.select_for_update().get(pk=model.pk)
    if alias.lower() in {name.lower() for name in (model.name, *model.aliases)}:
        raise RateRefusedError(f"{model} is found by that name already.")
    taken = [other for other in ProviderModel.objects.filter(provider=model.provider).exclude(pk=model.pk) if _is_named(other, alias)]
    if taken:
        raise RateRefusedError(f"{taken[0]} has that name, and what two models claim is nobody's.")
    model.aliases = [*model.aliases, alias]
    return _save(model, actor, reason)


def _is_named(model: ProviderModel, alias: str) -> bool:
    return alias.lower() in {name.lower() for name in (model.name, *model.aliases)}


def _save(model: ProviderModel, actor: User, reason: str) -> ProviderModel:
    model._history_user = actor  # type: ignore[attr-defined] # how simple-history is told who acts and why
    model._change_reason = reason  # type: ignore[attr-defined]
    model.save()
    return model
