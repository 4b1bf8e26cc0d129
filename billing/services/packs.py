"""What a customer wants to buy, worked out: credits, price, and what the sale is worth in the books."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing import custom_amounts, minor_units
from billing.custom_amounts import UnsellableAmount
from billing.errors import InvalidRequest, PackNotOnSale, UnknownPack
from billing.minor_units import UnchargeableAmount, UnknownCurrency
from billing.models import CreditPack, PackPrice
from config.base.exact import ZERO, plain
from pricing.queries import workspace


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is sold for what. `book_value` is in the book currency, `amount_minor` in the smallest unit of `currency`."""

    title: str
    credits: Decimal
    amount_minor: int
    currency: str
    book_value: Decimal
    bonus_credits: Decimal = ZERO
    expires_after_days: int | None = None
    bonus_expires_after_days: int | None = None
    pack: CreditPack | None = None


def of_pack(*, key: str, currency: str, now: datetime) -> Purchase:
    """Return what the pack `key` sells now; without a currency in that of the books, or the only one that it has a price in.

    Raises UnknownPack, PackNotOnSale, InvalidRequest (currency).
    """
    pack = CreditPack.objects.prefetch_related("prices").filter(key=key).first()
    if pack is None:
        raise UnknownPack(f"There is no credit pack {key!r}. The admin lists them under Credit packs.")
    if now < pack.active_from:
        raise PackNotOnSale(f"The pack {key} is on sale from {pack.active_from.isoformat()}.")
    if pack.active_until and now >= pack.active_until:
        raise PackNotOnSale(f"The pack {key} is not sold any more since {pack.active_until.isoformat()}.")
    price = _price(pack, currency)
    return Purchase(
        title=pack.name,
        credits=pack.credits,
        amount_minor=price.amount_minor,
        currency=price.currency,
        book_value=price.book_value,
        bonus_credits=pack.bonus_credits,
        expires_after_days=pack.expires_after_days,
        bonus_expires_after_days=pack.bonus_expires_after_days,
        pack=pack,
    )


def of_amount(*, amount: Decimal, currency: str) -> Purchase:
    """Return what an amount of the buyer's own choice buys, at the workspace's credit value. Raises InvalidRequest."""
    company = workspace.load()
    if currency != company.currency:
        raise InvalidRequest("currency", f"must be {company.currency}, the currency of the books; in others only packs are sold")
    try:
        bought = custom_amounts.buy(amount, currency, company.credit_value)
    except UnknownCurrency as error:
        raise InvalidRequest("currency", f"cannot be charged: {error}") from error
    except (UnchargeableAmount, UnsellableAmount) as error:
        raise InvalidRequest("amount", str(error)) from error
    return Purchase(described(bought.credits, ZERO), bought.credits, bought.amount_minor, currency, amount)


def _price(pack: CreditPack, currency: str) -> PackPrice:
    prices = {price.currency: price for price in pack.prices.all()}
    if not prices:
        raise PackNotOnSale(f"The pack {pack.key} has no price yet. Give it one in the admin, under Credit packs.")
    wanted = currency or (workspace.load().currency if len(prices) > 1 else next(iter(prices)))
    if wanted not in prices:
        raise InvalidRequest("currency", f"must be one that the pack {pack.key} has a price in: {', '.join(sorted(prices))}")
    price = prices[wanted]
    try:  # a price from before Stripe raised what it charges at least
        minor_units.check(price.amount_minor, price.currency)
    except UnchargeableAmount as error:
        raise PackNotOnSale(f"The price of the pack {pack.key} in {wanted} {error}. Change it in the admin, under Credit packs.") from error
    return price


def described(credits: Decimal, bonus: Decimal) -> str:
    """Say what a buyer gets: "1,000 credits and 100 bonus credits"."""
    words = f"{_grouped(credits)} credits"
    return f"{words} and {_grouped(bonus)} bonus credits" if bonus else words


def _grouped(credits: Decimal) -> str:
    whole, point, places = plain(credits).partition(".")
    return f"{int(whole):,}{point}{places}"
