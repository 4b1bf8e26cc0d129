"""Figures as people say them: percent with one decimal, money and counts with three digits that matter, or as many as it
takes to tell two figures apart.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from config.base import figures
from config.base.exact import from_fraction, plain

Number = Fraction | Decimal | int
_MOST_PLACES: Final = 12


def percent(share: Number, digits: int = 3) -> str:
    """Write a share of 1 with as many digits as `instead_of` asks for: `0.64` is `64.0 %`."""
    return figures.percent(share, digits - 2)


def money(amount: Number, currency: str, digits: int = 3) -> str:
    """Write an amount without its sign: `0.0021 USD`, `1,250.00 USD`."""
    return f"{_written(amount, digits, least_places=2)} {currency}"


def count(number: Number, digits: int = 3) -> str:
    """Write how many: `1.5`, `847`, `12,480`."""
    return _written(number, digits, least_places=0)


def credits(number: Number) -> str:
    """Write a price: `1 credit`, `4.5 credits`."""
    text = count(number, digits=7)
    return f"{text} {'credit' if text == '1' else 'credits'}"


def instead_of(now: Number, before: Number, write: Callable[[Number, int], str]) -> str:
    """Write `1.5 instead of 1.1`, with as many digits as it takes that the two differ."""
    for digits in range(3, 3 + _MOST_PLACES):
        texts = write(now, digits), write(before, digits)
        if texts[0] != texts[1]:
            break
    return f"{texts[0]} instead of {texts[1]}"


def sentence_list(words: list[str]) -> str:
    """Write `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _written(number: Number, digits: int, *, least_places: int) -> str:
    value = abs(Fraction(number))
    leading = from_fraction(value, _MOST_PLACES).adjusted() if value else 0
    places = min(max(least_places, digits - 1 - leading), _MOST_PLACES)
    text = plain(from_fraction(value, max(places, 0)))
    whole, _, rest = text.partition(".")
    rest = rest.ljust(least_places, "0") if value else ""
    return f"{int(whole):,}{'.' + rest if rest else ''}"
