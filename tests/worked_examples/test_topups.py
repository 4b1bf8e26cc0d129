"""Selling credits, with figures that a bookkeeper can check: what comes in, what it is worth, what it becomes when spent."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import minor_units
from billing.accounts import Account
from billing.models import Payment, TopUp, TopUpStatus, Wallet
from billing.services import packs
from billing.services.packs import Purchase
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.billing.selling import a_pack, a_session, an_order, told
from tests.worked_examples.books import account, charged, lots, table, trial_balance

pytestmark = pytest.mark.django_db


def bought(wallet: Wallet, purchase: Purchase) -> TopUp:
    """Order and pay it."""
    terms = {name: getattr(purchase, name) for name in Purchase.__slots__}
    topup = an_order(wallet, **terms)
    told("checkout.session.completed", a_session(topup))
    topup.refresh_from_db()
    assert topup.status == TopUpStatus.PAID
    return topup


class TestAPack:
    def test_with_a_bonus_spends_the_bonus_first(self) -> None:
        """Ann buys 1,000 credits and 100 on top for 9.99 USD: 0.00999 a credit, and nothing for the bonus.

        The bonus ends after 30 days, so it is spent first: 27 replies at 4 credits take 100 of the bonus, worth nothing, and 8
        bought ones, worth 0.07992. That is what has been earned; 9.91008 stay deferred.
        """
        caller = a_caller()
        a_price("4")
        a_pack(bonus="100", bonus_expires_after_days=30)
        ann = a_wallet(caller)
        bought(ann, packs.of_pack(key="starter-1000", currency="", now=NOW))
        assert (lots(ann)["A"].unit_value, lots(ann)["B"].expires_at) == (Decimal("0.00999"), NOW + timedelta(days=30))
        charged(caller, quantity=Decimal(27), at=NOW)
        assert account(ann) == table("""
            kind     lot  credits     value  balance
            deposit  A       1000      9.99     1000
            grant    B        100         0     1100
            charge   B       -100         0     1000
            charge   A         -8  -0.07992      992
        """)
        books = trial_balance()
        assert books[Account.PAYMENTS_CLEARING] == Decimal("9.99")
        assert books[Account.DEFERRED_REVENUE] == Decimal("-9.91008")
        assert books[Account.REVENUE] == Decimal("-0.07992")


class TestOtherCurrencies:
    @pytest.mark.parametrize(
        ("currency", "price", "book_value", "minor", "unit_value"),
        [
            ("EUR", "9.49", "10.25", 949, "0.01025"),  # two places: 949 cents
            ("JPY", "1500", "9.80", 1500, "0.0098"),  # none: 1500 is 1500 yen
            ("KWD", "3.070", "10.01", 3070, "0.01001"),  # three: 3070 fils
        ],
    )
    def test_keep_the_books_in_their_own(self, currency: str, price: str, book_value: str, minor: int, unit_value: str) -> None:
        """Ben pays in his currency. What the sale is worth in the books was decided with the price, and is what the lot holds."""
        a_pack(prices={"USD": ("9.99", "9.99"), currency: (price, book_value)})
        ben = a_wallet(a_caller())
        topup = bought(ben, packs.of_pack(key="starter-1000", currency=currency, now=NOW))
        assert (topup.amount_minor, minor_units.to_major(topup.amount_minor, currency)) == (minor, Decimal(price))
        payment = Payment.objects.get()
        assert (payment.amount, payment.currency) == (Decimal(book_value), "USD")
        assert payment.metadata["currency"] == currency
        assert Decimal(payment.metadata["amount"]) == Decimal(price)
        assert (lots(ben)["A"].value, lots(ben)["A"].unit_value) == (Decimal(book_value), Decimal(unit_value))


class TestAnAmount:
    def test_buys_at_the_list_value(self) -> None:
        """Cleo pays 12.34 USD of her own choice: at a cent a credit 1,234 credits, worth what she paid."""
        cleo = a_wallet(a_caller())
        bought(cleo, packs.of_amount(amount=Decimal("12.34"), currency="USD"))
        assert account(cleo) == table("""
            kind     lot  credits  value  balance
            deposit  A       1234  12.34     1234
        """)
