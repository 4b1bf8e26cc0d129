"""What the simulator answers: the cost of an action, the price that it needs, and the price that a rule has now.

Each part needs only some of the assumptions, so a fault in one field silences what depends on it and nothing else.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Self
from urllib.parse import urlencode

from django.urls import reverse

from config.base.admin import credits_, money
from config.base.exact import CREDIT_STEP, plain, round_money
from config.base.figures import on_page, percent
from pricing import price_book
from pricing.admin.simulator_form import ONE, TYPED_PRICES, SimulatorForm
from pricing.cost import CostLine, Rate
from pricing.models import PriceVersion
from pricing.queries import simulator
from pricing.rate_catalogue import STANDARD_TIER, CatalogueModel, RateCatalogue, Rates
from pricing.rating import UNIT_WORDS, explain
from pricing.simulation import (
    ActionCost,
    BeyondCreditsError,
    PricePoint,
    Suggestion,
    UnpricedError,
    action_cost,
    charged_now,
    price_point,
    suggest,
)
from pricing.units import UnitKind, costed_as, rate_kinds

_PER: Final = 1_000_000  # units that a typed price is for


@dataclass(frozen=True, slots=True)
class Row:
    """One price with what it earns."""

    name: str
    credits: str
    value: str
    margin: str
    is_suggested: bool = False
    is_short: bool = False  # of the target


@dataclass(frozen=True, slots=True)
class CostRow:
    """One kind of unit that a call uses."""

    used: str
    quantity: str
    price: str
    per: str
    cost: str

    @classmethod
    def of(cls, line: CostLine, currency: str) -> Self:
        quantity = f"{Decimal(plain(line.quantity)):,f}"
        return cls(UNIT_WORDS[line.unit][1], quantity, money(line.price, currency), f"{line.per:,}", money(line.amount, currency))


@dataclass(slots=True)
class Outcome:
    """What could be said; what could not is told at a field of the form."""

    currency: str
    model: str = ""  # its name in the catalogue, else as typed
    cost: str = ""
    cost_lines: list[CostRow] = field(default_factory=list)
    calls: str = ""
    suggestion: Suggestion | None = None
    credits: str = ""
    margin: str = ""
    rows: list[Row] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)  # the catalogue's prices, by the field that overrules them
    in_force: str = ""  # what the rule charges, in a sentence
    caution: str = ""
    propose: str = ""  # where to propose the suggested price

    @property
    def headline(self) -> str:
        """Say the result in a line, for whoever listens to the page."""
        return f"Suggested action price: {self.credits}, margin {self.margin}." if self.suggestion else ""


def outcome(form: SimulatorForm, *, now: datetime, may_propose: bool) -> Outcome:
    """Answer what can be answered of a form that was validated; adds what the catalogue cannot price to its errors."""
    book = price_book.current()
    told = Outcome(book.workspace.currency)
    version = simulator.version_in_force(form.found_rule, at=now) if form.found_rule else None
    if version:
        told.in_force = explain(version.as_price())
    elif form.found_rule:
        told.in_force = "no price in force"
    cost = _cost(told, form, book.catalogue, now) if _is_well(form, *form.COST) else None
    if cost and _is_well(form, *form.PRICING[:-1]):
        _tell_prices(told, form, cost, version)
    if told.suggestion and cost and form.found_rule and may_propose:
        query = {"credits_per_event": plain(told.suggestion.suggested.credits), "reason": _reason(form, told, cost)}
        told.propose = f"{reverse('admin:pricing_pricerule_publish', args=[form.found_rule.pk])}?{urlencode(query)}"
    return told


def _is_well(form: SimulatorForm, *names: str) -> bool:
    return form.errors.keys().isdisjoint(names)


def _cost(told: Outcome, form: SimulatorForm, catalogue: RateCatalogue, now: datetime) -> ActionCost | None:
    name = form.cleaned_data["model"].strip()
    model = _model(catalogue, name) if name else None
    told.model = model.name if model else name
    typed = {kind: price for place, kind in TYPED_PRICES.items() if (price := form.cleaned_data[place]) is not None}
    rates = dict(_catalogue_rates(form, catalogue, model, now)) if model else {}
    if name and not rates and not typed:
        why = "has no price that holds now" if model else "is no model of the catalogue"
        form.add_error("model", f"“{name[:80]}” {why}. Choose one of the list, or type its prices.")
    told.hints = _hints(rates)
    rates |= {kind: Rate(0, kind, price, _PER, told.currency) for kind, price in typed.items()}
    if not rates:
        return None
    if {rate.currency for rate in rates.values()} != {told.currency}:
        form.add_error("model", f"Its rates are not in {told.currency}, in which the books are kept: type its prices instead.")
        return None
    calls, retries = form.cleaned_data["calls"], form.cleaned_data["retries"]
    try:
        cost = action_cost(form.usage(), rates, calls=calls, retry_share=retries)
    except UnpricedError as error:
        for kind in error.units:
            # The fields of typed prices are folded away until one is used.
            form.add_error(_place_of(kind, rates) if typed else "model", f"There is no price for {UNIT_WORDS[kind][1]}.")
        return None
    told.cost = money(round_money(cost.amount), told.currency)
    told.calls = plain(cost.calls)
    told.cost_lines = [CostRow.of(line, told.currency) for line in cost.call.lines]
    return cost


def _place_of(kind: UnitKind, rates: Rates) -> str:
    """Return the field where a missing price can be typed; the model's where there is none."""
    wanted = rate_kinds(kind, rates)
    return next((place for place, typed in TYPED_PRICES.items() if typed in wanted), "model")


def _catalogue_rates(form: SimulatorForm, catalogue: RateCatalogue, model: CatalogueModel, now: datetime) -> Rates:
    return catalogue.rates_for(
        provider=model.provider,
        model=model.name,
        service_tier=STANDARD_TIER,
        is_batch=False,
        input_tokens=form.cleaned_data["input_tokens"],
        at=now,
    )


def _model(catalogue: RateCatalogue, name: str) -> CatalogueModel | None:
    """Find `provider/name`, or a name that one provider alone has; names may have slashes of their own."""
    provider, _, rest = name.partition("/")
    return (catalogue.find(provider, rest) if rest else None) or catalogue.find("", name)


def _hints(rates: Rates) -> dict[str, str]:
    known = {name: rates[found] for name, kind in TYPED_PRICES.items() if (found := costed_as(kind, rates))}
    return {name: f"Catalogue: {plain(rate.price)} {rate.currency} per {rate.per:,}" for name, rate in known.items()}


def _tell_prices(told: Outcome, form: SimulatorForm, cost: ActionCost, version: PriceVersion | None) -> None:
    typed = form.cleaned_data
    target, value = typed["target_margin"], typed["credit_value"]
    # A rule that does not round has the finest step there is; nobody sells a reply for 1.805250 credits.
    own_step = version.rounding_step if version and version.rounding_step > CREDIT_STEP else ONE
    try:
        found = suggest(cost.amount, target_margin=target, credit_value=value, step=typed["step"] or own_step)
    except BeyondCreditsError as error:
        form.add_error("credit_value", str(error))
        return
    told.suggestion = found
    told.credits, told.margin = _credits(found.suggested.credits), _margin(found.suggested)

    def row(name: str, point: PricePoint, *, is_suggested: bool = False) -> Row:
        is_short = point.margin is None or point.margin < target
        worth = money(round_money(point.value), told.currency)
        margin = on_page(point.margin) if point.margin is not None else _margin(point)
        return Row(name, credits_(point.credits), worth, margin, is_suggested=is_suggested, is_short=is_short)

    if found.one_less:
        told.rows.append(row("One step less", found.one_less))
    told.rows.append(row("Suggested", found.suggested, is_suggested=True))
    told.rows.append(row("One step more", found.one_more))
    if version:
        price = version.as_price()
        now = charged_now(price, form.usage()._replace(model=told.model), typed["calls"])
        told.rows.append(row(f"In force, v{version.number}", price_point(now, cost.amount, value)))
        if price.components or price.tiers:
            told.caution = "This rule also charges for what an event consumes, or by quantity: look at its components and tiers too."


def _reason(form: SimulatorForm, told: Outcome, cost: ActionCost) -> str:
    """Say where the price comes from, as a draft of the reason that is kept."""
    typed = form.cleaned_data
    calls = f"{told.calls} call{'' if told.calls == '1' else 's'}"
    tokens = f"{typed['input_tokens']:,} input and {typed['output_tokens']:,} output tokens"
    model = f" of {typed['model']}" if typed["model"] else ""
    worth = f"a credit being worth {plain(typed['credit_value'])} {told.currency}"
    paid = f"{plain(round_money(cost.amount))} {told.currency} per action"
    return f"Simulated: {calls}{model}, {tokens} each, cost {paid}; margin {told.margin} at {told.credits}, {worth}."


def _credits(credits: Decimal) -> str:
    return f"{Decimal(plain(credits)):,f} credit{'' if credits == 1 else 's'}"


def _margin(point: PricePoint) -> str:
    return percent(point.margin) if point.margin is not None else "a loss"
