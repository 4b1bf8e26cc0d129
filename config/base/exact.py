"""Exact decimals: the one place where a number is rounded, and the one place that says how many places it may have.

Credits carry at most 6 places, money in the book currency at most 12. Input with more is refused, never rounded
silently; where arithmetic makes more places than may be stored, `round_to` is called with a named mode.
"""

import decimal
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

CREDIT_PLACES = 6
MONEY_PLACES = 12
CREDIT_STEP = Decimal(1).scaleb(-CREDIT_PLACES)
MONEY_STEP = Decimal(1).scaleb(-MONEY_PLACES)
# Whole digits before the point; numeric(20, 6) and numeric(26, 12) in the database.
CREDIT_DIGITS = 20
MONEY_DIGITS = 26
MAX_CREDITS = Decimal(10) ** (CREDIT_DIGITS - CREDIT_PLACES) - CREDIT_STEP
MAX_MONEY = Decimal(10) ** (MONEY_DIGITS - MONEY_PLACES) - MONEY_STEP

ZERO = Decimal(0)
# Wide enough that a product of a stored credit and a stored unit value is exact before it is rounded once.
CONTEXT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN, traps=[decimal.InvalidOperation, decimal.Overflow])


class Rounding(StrEnum):
    """How a number between two steps is settled."""

    UP = "up"  # away from zero: the house never loses on a price
    DOWN = "down"  # towards zero
    HALF_UP = "half_up"  # the shop's rounding, and PostgreSQL's
    HALF_EVEN = "half_even"  # the bookkeeper's rounding


_MODES = {
    Rounding.UP: decimal.ROUND_UP,
    Rounding.DOWN: decimal.ROUND_DOWN,
    Rounding.HALF_UP: decimal.ROUND_HALF_UP,
    Rounding.HALF_EVEN: decimal.ROUND_HALF_EVEN,
}


def round_to(value: Decimal, step: Decimal, mode: Rounding) -> Decimal:
    """Return the multiple of `step` that `mode` chooses for `value`; `step` is positive, such as 1, 0.5 or 0.000001."""
    multiples = CONTEXT.divide(value, step).quantize(Decimal(1), rounding=_MODES[mode], context=CONTEXT)
    return CONTEXT.multiply(multiples, step)


def round_money(value: Decimal) -> Decimal:
    """Return `value` at the 12 places that money is stored with, half up as PostgreSQL does it."""
    return value.quantize(MONEY_STEP, rounding=decimal.ROUND_HALF_UP, context=CONTEXT)


def from_fraction(value: Fraction, places: int) -> Decimal:
    """Return exact `value` at so many places, half up (away from zero); whatever its size, it is rounded only here."""
    halves = abs(value) * 10**places + Fraction(1, 2)
    digits = halves.numerator // halves.denominator
    return Decimal((int(value < 0 and digits > 0), tuple(map(int, str(digits))), -places))


def has_more_places(value: Decimal, places: int) -> bool:
    """Say whether `value` has digits beyond `places`, trailing zeros not counted."""
    return value != value.quantize(Decimal(1).scaleb(-places), context=CONTEXT)


def grouped(value: Decimal) -> str:
    """Write a decimal as people read it in a sentence: `12,345.5`."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: Decimal) -> str:
    """Write a decimal as people and JSON read it: no exponent, no trailing zeros (`4`, `0.5`, `0.000001`)."""
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text
