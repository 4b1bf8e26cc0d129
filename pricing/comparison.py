"""Two prices side by side: the figures of both, in the order in which a bill adds them up, and by how much each changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from config.base.exact import CONTEXT, Rounding, plain
from pricing.definition import Definition
from pricing.price import EVENT_UNIT, Component
from pricing.rating import UNIT_WORDS
from pricing.units import UnitKind

_VISIBLE_STEP: Final = Decimal("0.01")  # finer steps round nothing that people would see
_MODE_WORDS: Final = {
    Rounding.UP: "up",
    Rounding.DOWN: "down",
    Rounding.HALF_UP: "to the nearest",
    Rounding.HALF_EVEN: "to the nearest, half to even",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of two prices, in credits; None where a price does not have it. Rounding is told in words instead."""

    label: str
    before: Decimal | str | None
    after: Decimal | str | None

    @property
    def is_changed(self) -> bool:
        return self.before != self.after

    @property
    def change(self) -> Decimal | None:
        """The change as a share of what was: 0.125 is an eighth more; None where there is nothing to compare with."""
        if not isinstance(self.before, Decimal) or not isinstance(self.after, Decimal) or not self.before:
            return None
        return CONTEXT.subtract(CONTEXT.divide(self.after, self.before), Decimal(1))


def compare(before: Definition | None, after: Definition) -> tuple[Figure, ...]:
    """Return the figures of both prices; without a price before, those of `after`."""
    sizes = _sizes(before, after)
    old, new = (_by_label(price, sizes) if price else {} for price in (before, after))
    # The new price's order; what it leaves out comes last.
    return tuple(Figure(label, old.get(label), new.get(label)) for label in dict.fromkeys([*new, *old]))


def _by_label(price: Definition, sizes: dict[str, int]) -> dict[str, Decimal | str]:
    found: dict[str, Decimal | str] = {}
    for label, figure in _figures(price, sizes):
        found.setdefault(label, figure)  # of two components for the same models the first applies
    return found


def _figures(price: Definition, sizes: dict[str, int]) -> Iterator[tuple[str, Decimal | str]]:
    if price.credits_per_event or not price.components:
        yield "Per event", price.credits_per_event
    for tier in price.tiers:
        yield f"Per event beyond {plain(tier.from_quantity)}", tier.credits_per_event
    for component in price.components:
        size = sizes[component.unit]
        yield _label(component, size), CONTEXT.multiply(component.credits, CONTEXT.divide(Decimal(size), Decimal(component.per)))
    if price.minimum:
        yield "At least", price.minimum
    if price.rounding_step >= _VISIBLE_STEP:
        yield "Rounded", f"{_MODE_WORDS[price.rounding_mode]}, in steps of {plain(price.rounding_step)}"


def _sizes(*prices: Definition | None) -> dict[str, int]:
    """Return for each unit how many of it its figures are for: the largest `per` of them, so that all can be compared."""
    sizes: dict[str, int] = {}
    for price in prices:
        for component in price.components if price else ():
            sizes[component.unit] = max(component.per, sizes.get(component.unit, 1))
    return sizes


def _label(component: Component, size: int) -> str:
    one, many = UNIT_WORDS[UnitKind(component.unit) if component.unit != EVENT_UNIT else EVENT_UNIT]
    models = ", ".join(component.models)
    whose = f" ({component.model_class}: {models})" if component.model_class else f" ({models})" if models else ""
    return f"Per {one if size == 1 else f'{size:,} {many}'}{whose}"
