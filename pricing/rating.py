"""Rating: from a price, a quantity and what was consumed to credits, with every line that leads there.

Which component applies: for each kind of unit exactly one, the first whose models match the event's model, else the
first without models. A kind without a component of its own is charged as the first kind that `FALLBACK` names and that
has one; a kind that has none there either is free, since a product need not charge for all that it consumes.
"""

from decimal import Decimal

from config.base.exact import CONTEXT, ZERO, Rounding, plain
from pricing.patterns import matches
from pricing.price import EVENT_UNIT, Component, LineKind, Price, PriceLine, Rated, Tier, settle
from pricing.units import UnitKind, Usage, charged_as, normalise

__all__ = ["Component", "LineKind", "Price", "PriceLine", "Rated", "Tier", "explain", "rate"]


def rate(price: Price, *, quantity: Decimal, usage: Usage | None) -> Rated:
    """Return what `quantity` events that consumed `usage` cost under `price`.

    Lines are exact, then a minimum line if it applies, then a rounding line if it is not zero.
    Raises ValueError for a usage that `units.check` finds wrong.
    """
    if price.flat is not None and quantity == 1:
        return price.flat
    lines = _event_lines(price, quantity)
    if price.components and usage is not None:
        lines += _component_lines(price.components, quantity, usage)
    return settle(lines, minimum=price.minimum, step=price.rounding_step, mode=price.rounding_mode)


def _event_lines(price: Price, quantity: Decimal) -> list[PriceLine]:
    if not price.tiers:
        if not price.credits_per_event and price.components:
            return []
        return [_line(LineKind.EVENT, EVENT_UNIT, quantity, 1, price.credits_per_event)]
    lines = []
    start, credits = ZERO, price.credits_per_event
    for end, next_credits in [*((t.from_quantity, t.credits_per_event) for t in price.tiers), (quantity, ZERO)]:
        if quantity <= start:
            break
        lines.append(_line(LineKind.TIER, EVENT_UNIT, CONTEXT.subtract(min(end, quantity), start), 1, credits))
        start, credits = end, next_credits
    return lines


def _component_lines(components: tuple[Component, ...], quantity: Decimal, usage: Usage) -> list[PriceLine]:
    chosen = applicable(components, usage.model)
    lines = []
    if surcharge := chosen.get(EVENT_UNIT):
        lines.append(_component_line(surcharge, EVENT_UNIT, quantity))
    for kind, used in normalise(usage).items():
        stated = charged_as(kind, chosen)
        if stated is not None:
            lines.append(_component_line(chosen[stated], kind, Decimal(used)))
    return lines


def applicable(components: tuple[Component, ...], model: str) -> dict[str, Component]:
    """Return the one component that applies to each unit for an event that ran on `model`."""
    general: dict[str, Component] = {}
    by_model: dict[str, Component] = {}
    for component in components:
        if not component.models:
            general.setdefault(component.unit, component)
        elif any(matches(pattern, model) for pattern in component.models):
            by_model.setdefault(component.unit, component)
    return general | by_model


def _component_line(component: Component, unit: str, quantity: Decimal) -> PriceLine:
    return _line(LineKind.COMPONENT, unit, quantity, component.per, component.credits, component.model_class)


def _line(kind: LineKind, unit: str, quantity: Decimal, per: int, credits: Decimal, model_class: str = "") -> PriceLine:
    amount = CONTEXT.multiply(quantity, credits)
    if per != 1:
        amount = CONTEXT.divide(amount, Decimal(per))
    return PriceLine(kind, unit, quantity, per, credits, amount, model_class)


UNIT_WORDS = {
    UnitKind.INPUT: ("input token", "input tokens"),
    UnitKind.CACHE_READ: ("cached input token", "cached input tokens"),
    UnitKind.CACHE_WRITE: ("cache write token", "cache write tokens"),
    UnitKind.CACHE_WRITE_1H: ("one-hour cache write token", "one-hour cache write tokens"),
    UnitKind.OUTPUT: ("output token", "output tokens"),
    UnitKind.REASONING: ("reasoning token", "reasoning tokens"),
    UnitKind.AUDIO_INPUT: ("audio input token", "audio input tokens"),
    UnitKind.AUDIO_OUTPUT: ("audio output token", "audio output tokens"),
    UnitKind.IMAGE: ("image", "images"),
    UnitKind.VIDEO_SECOND: ("second of video", "seconds of video"),
    UnitKind.REQUEST: ("request", "requests"),
    EVENT_UNIT: ("event", "events"),
}
_STEP_WORDS = {Decimal("0.01"): "hundredths of a credit", Decimal("0.5"): "half credits", Decimal(1): "whole credits"}
_MODE_WORDS = {
    Rounding.UP: "rounded up",
    Rounding.DOWN: "rounded down",
    Rounding.HALF_UP: "rounded",
    Rounding.HALF_EVEN: "rounded (half to even)",
}


def explain(price: Price) -> str:
    """Say in one plain sentence what `price` charges."""
    parts = [f"{_credits(price.credits_per_event)} per {price.event}"]
    if price.tiers:
        beyond = (f"{plain(t.credits_per_event)} beyond {plain(t.from_quantity)}" for t in price.tiers)
        parts[0] += f" ({', '.join(beyond)})"
    units = dict.fromkeys(component.unit for component in price.components)
    parts += [_explain_unit([c for c in price.components if c.unit == unit]) for unit in units]
    if price.minimum:
        parts.append(f"at least {_credits(price.minimum)}")
    if price.rounding_step >= Decimal("0.01"):
        steps = _STEP_WORDS.get(price.rounding_step, f"steps of {plain(price.rounding_step)} credits")
        parts.append(f"{_MODE_WORDS[price.rounding_mode]} to {steps}")
    return ", ".join(parts)


def _explain_unit(components: list[Component]) -> str:
    general = next((c for c in components if not c.models), None)
    by_model = [c for c in components if c.models]
    if general is None:
        return ", ".join(f"plus {_amount(c)} for {_models(c)}" for c in by_model)
    exceptions = ", ".join(f"{_models(c)}: {plain(c.credits) if c.per == general.per else _amount(c)}" for c in by_model)
    return f"plus {_amount(general)}" + (f" ({exceptions})" if exceptions else "")


def _amount(component: Component) -> str:
    one, many = UNIT_WORDS[UnitKind(component.unit) if component.unit != EVENT_UNIT else EVENT_UNIT]
    return f"{plain(component.credits)} per {one if component.per == 1 else f'{component.per:,} {many}'}"


def _models(component: Component) -> str:
    return f"{component.model_class} models" if component.model_class else ", ".join(component.models)


def _credits(value: Decimal) -> str:
    return f"{plain(value)} {'credit' if value == 1 else 'credits'}"
