"""Credits for an amount of the buyer's own choice: what it buys, and which amounts buy a number that can be kept. Pure.

Credits have 6 places and an amount has its currency's. At a credit value of 0.03, 1.00 would buy 33.333… credits; nothing
is rounded in a sale, so that amount is refused with the two nearest that come out.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing import minor_units
from config.base.exact import CREDIT_PLACES, MAX_CREDITS, from_fraction, plain


class UnsellableAmount(ValueError):
    """Buys no number of credits that can be kept; the message goes on after the field's name."""


@dataclass(frozen=True, slots=True)
class Bought:
    """What an amount comes to."""

    amount_minor: int
    credits: Decimal


def buy(amount: Decimal, currency: str, credit_value: Decimal) -> Bought:
    """Return what `amount` buys at `credit_value` of the same currency a credit.

    Raises UnknownCurrency, UnchargeableAmount, UnsellableAmount.
    """
    minor = minor_units.to_charge(amount, currency)
    credits = Fraction(amount) / Fraction(credit_value)
    if (credits * 10**CREDIT_PLACES).denominator != 1:
        raise UnsellableAmount(
            f"does not buy a number of credits with at most {CREDIT_PLACES} places at {plain(credit_value)} a credit: "
            f"{_offer(minor, currency, credit_value)}"
        )
    if credits > MAX_CREDITS:
        raise UnsellableAmount(f"buys more credits than a wallet can hold: {plain(from_fraction(credits, CREDIT_PLACES))}")
    return Bought(minor, from_fraction(credits, CREDIT_PLACES))


def near(minor: int, currency: str, credit_value: Decimal) -> tuple[int, ...]:
    """Return the amounts nearest to `minor`, below and above, that can be charged and buy a number of credits that can be kept."""
    per_minor = Fraction(10**CREDIT_PLACES, 10 ** minor_units.exponent(currency)) / Fraction(credit_value)
    step = math.lcm(per_minor.denominator, minor_units.multiple(currency))
    least = -(-minor_units.minimum(currency) // step) * step
    below = max(minor // step * step, least)
    return tuple(one for one in (below, below + step) if one <= minor_units.MAX_MINOR)


def _offer(minor: int, currency: str, credit_value: Decimal) -> str:
    amounts = [f"{plain(minor_units.to_major(one, currency))} {currency}" for one in near(minor, currency, credit_value)]
    return f"send {' or '.join(amounts)}" if amounts else "no amount does, so that only packs can be sold"
