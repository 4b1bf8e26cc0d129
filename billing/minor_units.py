"""Amounts as Stripe writes them: whole minor units of a currency, and how many of them make one. Pure; no database.

The currencies are those that Stripe takes for cards (docs.stripe.com/currencies). One that is not listed is refused: with
a guessed number of places an amount is wrong by a factor of ten or a hundred.
"""

from decimal import Decimal
from typing import Final

from config.base.exact import CONTEXT

_TWO: Final = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EGP
ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR ISK JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT
MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL
THB TJS TOP TRY TTD TWD TZS UAH UGX USD UYU UZS WST XCD XCG YER ZAR ZMW
"""
EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3),
}
# Stripe charges three-decimal currencies in tens, and these two in whole units although they have two places.
_MULTIPLES: Final[dict[str, int]] = {**{currency: 10 for currency, places in EXPONENTS.items() if places == 3}, "ISK": 100, "UGX": 100}
# Eight digits: the largest amount that Stripe takes in one payment. It takes more in some currencies and with some cards (IDR, INR,
# COP, HUF, JPY, LBP); nobody here sells that.
MAX_MINOR: Final = 99_999_999
# The least that Stripe charges, so that its fee is not above the payment (docs.stripe.com/currencies#minimum-and-maximum-charge-amounts,
# as of November 2026). Strictly it is the minimum of the currency that the account settles in: a payment that Stripe exchanges must come
# to that much afterwards, at a rate that only Stripe knows. So these are the amounts that no account can charge less than, a currency that
# is not listed has none here, and Stripe may still refuse with `amount_too_small`.
_MINIMA: Final[dict[str, int]] = {
    **dict.fromkeys(("AUD", "BRL", "CAD", "CHF", "EUR", "INR", "JPY", "NZD", "SGD", "USD"), 50),
    **dict.fromkeys(("AED", "MYR", "PLN", "RON"), 200),
    **dict.fromkeys(("NOK", "SEK"), 300),
    **dict.fromkeys(("MXN", "THB"), 1000),
    "BGN": 100,
    "CZK": 1500,
    "DKK": 250,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17_500,
}


class UnknownCurrency(ValueError):
    """Stripe does not charge in it, or its minor unit is not known here."""


class UnchargeableAmount(ValueError):
    """No whole number of minor units, none that Stripe charges, or too large."""


def exponent(currency: str) -> int:
    """Return how many places `currency` (ISO 4217, any case) has: 0, 2 or 3. Raises UnknownCurrency."""
    try:
        return EXPONENTS[currency.upper()]
    except KeyError:
        raise UnknownCurrency(f"{currency!r} is not a currency that Stripe charges cards in") from None


def multiple(currency: str) -> int:
    """Return of how many minor units what Stripe charges must be a multiple. Raises UnknownCurrency."""
    exponent(currency)
    return _MULTIPLES.get(currency.upper(), 1)


def minimum(currency: str) -> int:
    """Return the fewest minor units that Stripe charges, of what it charges in at all. Raises UnknownCurrency."""
    return max(_MINIMA.get(currency.upper(), 1), multiple(currency))


def to_major(amount_minor: int, currency: str) -> Decimal:
    """Return 1999 USD as Decimal("19.99"), exactly. Raises UnknownCurrency."""
    return CONTEXT.scaleb(Decimal(amount_minor), -exponent(currency))


def written(amount_minor: int, currency: str) -> str:
    """Write an amount as people read it: 1,999.00 USD; also of a currency that is not known here."""
    try:
        return f"{to_major(amount_minor, currency):,f} {currency}"
    except UnknownCurrency:
        return f"{amount_minor:,} of the smallest unit of {currency}"


def to_minor(amount: Decimal, currency: str) -> int:
    """Return 19.99 USD as 1999. Raises UnknownCurrency, UnchargeableAmount (places that the currency does not have, bounds)."""
    places = exponent(currency)
    shifted = CONTEXT.scaleb(amount, places)
    if shifted != shifted.to_integral_value():
        raise UnchargeableAmount(f"has more places than {currency.upper()} has: at most {places}")
    minor = int(shifted)
    step = multiple(currency)
    if minor % step:
        raise UnchargeableAmount(f"must be a multiple of {to_major(step, currency)} {currency.upper()}: Stripe charges no less")
    if not 0 < minor <= MAX_MINOR:
        raise UnchargeableAmount(f"must be above 0 and at most {to_major(MAX_MINOR, currency)} {currency.upper()}")
    return minor


def to_charge(amount: Decimal, currency: str) -> int:
    """Return what Stripe is to charge, in minor units. Raises UnknownCurrency, UnchargeableAmount (also below Stripe's minimum)."""
    minor = to_minor(amount, currency)
    check(minor, currency)
    return minor


def check(minor: int, currency: str) -> None:
    """See that Stripe charges so much. Raises UnknownCurrency, UnchargeableAmount."""
    if not (least := minimum(currency)) <= minor <= MAX_MINOR:
        bounds = (f"{to_major(one, currency)} {currency.upper()}" for one in (least, MAX_MINOR))
        raise UnchargeableAmount("must be at least {} and at most {}: Stripe charges nothing else".format(*bounds))
