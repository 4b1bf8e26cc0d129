"""How a share is rounded and written: the one place, for pages, mails, commands and the Advisor's stored words alike.

Stored recommendations are compared byte for byte when they are replayed, so what is written here never changes.
"""

from decimal import Decimal
from fractions import Fraction

from config.base.exact import Rounding, from_fraction

Share = Fraction | Decimal | int


def percent(share: Share, places: int = 1, *, rounding: Rounding = Rounding.HALF_UP, is_change: bool = False) -> str:
    """Write a share of 1 as per cent: `0.64` is `64.0 %`, a change of `0.125` is `+12.5 %`.

    `rounding` is HALF_UP, or DOWN for what must not be said too early: progress, what there is room for.
    """
    return f"{_number(share, places, rounding, is_change=is_change)} %"


def on_page(share: Share | None, places: int = 1, *, rounding: Rounding = Rounding.HALF_UP, is_change: bool = False) -> str:
    """Write it as `percent` does, in one line of a page; a dash for nothing."""
    if share is None:
        return "-"
    return percent(share, places, rounding=rounding, is_change=is_change).replace(" ", "\N{NO-BREAK SPACE}")


def points(difference: Share) -> str:
    """Write a difference of shares in percentage points, with its sign: `-0.0125` is `-1.3 points`."""
    return f"{_number(difference, 1, Rounding.HALF_UP, is_change=True)} points"


def _number(share: Share, places: int, rounding: Rounding, *, is_change: bool) -> str:
    hundredths = Fraction(share) * 100
    if rounding == Rounding.DOWN:
        step = 10**places
        hundredths = Fraction(int(hundredths * step), step)
    number = from_fraction(hundredths, places)
    return f"{'+' if is_change and number > 0 else ''}{number:,}"
