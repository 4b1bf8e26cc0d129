"""Why a usage has no known cost, in terms of what somebody can add to the catalogue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pricing.rate_catalogue import CatalogueModel, DatedRate, RateCatalogue, tier_of
from pricing.units import UnitKind, Usage, check, costed_as, normalise, rate_kinds


class GapKind(StrEnum):
    """What is missing."""

    NO_MODEL_NAMED = "no_model_named"  # the app did not tell which model served it
    UNKNOWN_MODEL = "unknown_model"  # no model has that name, or several claim it
    NO_RATE_IN_TIER = "no_rate_in_tier"  # none in this service tier, batch or not
    BEGINS_LATER = "begins_later"
    ENDED = "ended"
    NO_RATE_FOR_UNIT = "no_rate_for_unit"
    SEVERAL_CURRENCIES = "several_currencies"
    MISCOUNTED = "miscounted"  # a part is larger than its whole


@dataclass(frozen=True, slots=True)
class Gap:
    """One reason. `units` are those that it concerns, `starts_at` when the rate begins that begins later."""

    kind: GapKind
    sentence: str
    units: tuple[UnitKind, ...] = ()
    starts_at: datetime | None = None


def find(catalogue: RateCatalogue, usage: Usage, *, service_tier: str, is_batch: bool, at: datetime) -> Gap | None:
    """Return what the catalogue lacks for `usage` at `at`; None where it lacks nothing."""
    if check(usage):
        return Gap(GapKind.MISCOUNTED, "The reported parts are larger than their whole.")
    if not usage.model:
        return Gap(GapKind.NO_MODEL_NAMED, "The app did not say which model served it.")
    model = catalogue.find(usage.provider, usage.model)
    if model is None:
        return Gap(GapKind.UNKNOWN_MODEL, "No model of the catalogue has this name, or several claim it.")
    return _of_model(model, usage, tier_of(service_tier), is_batch, at)


def _of_model(model: CatalogueModel, usage: Usage, tier: str, is_batch: bool, at: datetime) -> Gap | None:
    rates = [rate for rate in model.rates if rate.service_tier == tier and rate.is_batch == is_batch]
    if not rates:
        words = f"the service tier {tier}{', batch' if is_batch else ''}"
        return Gap(GapKind.NO_RATE_IN_TIER, f"{model.provider}/{model.name} has no rate in {words}.")
    held = [rate for rate in rates if rate.is_valid(at) and rate.context_threshold <= usage.input_tokens]
    priced = {rate.rate.unit for rate in held}
    used = [unit for unit in normalise(usage) if unit is not UnitKind.REQUEST]
    missing = tuple(unit for unit in used if costed_as(unit, priced) is None)
    if missing or not held:
        wanted = {kind for unit in missing for kind in rate_kinds(unit, priced)}
        return _of_time(rates, missing, wanted, at) or _of_units(missing)
    if len({rate.rate.currency for rate in held}) > 1:
        return Gap(GapKind.SEVERAL_CURRENCIES, "Its rates are in several currencies, which do not add up.")
    return None


def _of_time(rates: Sequence[DatedRate], missing: tuple[UnitKind, ...], wanted: Collection[UnitKind], at: datetime) -> Gap | None:
    """Say whether what is missing had, or will have, a rate at another moment: one of the `wanted` kinds."""
    others = [rate for rate in rates if not wanted or rate.rate.unit in wanted]
    words = _words(missing)
    if later := [rate.effective_from for rate in others if rate.effective_from > at]:
        starts_at = min(later)
        return Gap(GapKind.BEGINS_LATER, f"The rate for {words} begins later, on {starts_at:%Y-%m-%d %H:%M} UTC.", missing, starts_at)
    ends = [rate.effective_to for rate in others if rate.effective_to is not None and rate.effective_to <= at]
    if ends:
        return Gap(GapKind.ENDED, f"The rate for {words} ended on {max(ends):%Y-%m-%d %H:%M} UTC.", missing)
    return None


def _of_units(missing: tuple[UnitKind, ...]) -> Gap:
    return Gap(GapKind.NO_RATE_FOR_UNIT, f"There is no rate for {_words(missing)}.", missing)


def _words(units: tuple[UnitKind, ...]) -> str:
    return " and ".join(unit.value.replace("_", " ") for unit in units) or "this model"
