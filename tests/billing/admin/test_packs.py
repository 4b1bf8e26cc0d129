"""Credit packs in the admin: prices as people read them, checked against what Stripe charges and what the books need."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import CreditPack, PackPrice
from config.roles import Role
from tests.billing.selling import a_pack
from tests.people import signed_in

pytestmark = pytest.mark.django_db
SALE = {"active_from": "2026-01-01T00:00", "active_until": ""}


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


def prices(*rows: dict[str, Any], existing: int = 0) -> dict[str, Any]:
    """Return the part of the form that holds the prices."""
    sent: dict[str, Any] = {"prices-TOTAL_FORMS": len(rows), "prices-INITIAL_FORMS": existing}
    for number, row in enumerate(rows):
        sent |= {f"prices-{number}-{name}": value for name, value in row.items()}
    return sent


def a_form(*rows: dict[str, Any], existing: int = 0, **fields: Any) -> dict[str, Any]:
    pack = {"key": "starter-500", "name": "500 credits", "credits": "500", "bonus_credits": "0", "change_reason": "Launch"} | SALE
    return pack | {"expires_after_days": "", "bonus_expires_after_days": ""} | fields | prices(*rows, existing=existing)


def change(pack: CreditPack) -> str:
    return reverse("admin:billing_creditpack_change", args=(pack.pk,))


def a_row(row: PackPrice, **fields: Any) -> dict[str, Any]:
    return {"id": row.pk, "pack": row.pack_id, "currency": row.currency} | fields


ADD = "/admin/billing/creditpack/add/"


class TestAPack:
    def test_is_put_on_sale_with_its_prices(self, finance: Client) -> None:
        rows = (
            {"currency": "usd", "price": "9.99", "book_value": ""},
            {"currency": "JPY", "price": "1500", "book_value": "9.8"},
            {"currency": "KWD", "price": "3.070", "book_value": "10.01"},
        )
        sent = finance.post(ADD, a_form(*rows, bonus_credits="50.5", expires_after_days="365"))
        assert sent.status_code == 302, sent.content.decode()
        pack = CreditPack.objects.get()
        assert (pack.key, pack.credits, pack.bonus_credits, pack.expires_after_days) == ("starter-500", 500, Decimal("50.5"), 365)
        stored = [(price.currency, price.amount_minor, price.book_value) for price in pack.prices.all()]
        assert stored == [("JPY", 1500, Decimal("9.8")), ("KWD", 3070, Decimal("10.01")), ("USD", 999, Decimal("9.99"))]
        assert finance.get("/admin/billing/creditpack/").content.decode().count("1,500 JPY") == 1

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"currency": "JPY", "price": "15.5", "book_value": "1"}, "more places than JPY has: at most 0"),
            ({"currency": "USD", "price": "9.999", "book_value": ""}, "more places than USD has: at most 2"),
            ({"currency": "KWD", "price": "3.075", "book_value": "1"}, "must be a multiple of 0.010 KWD"),
            ({"currency": "USD", "price": "0", "book_value": ""}, "must be above 0"),
            ({"currency": "USD", "price": "-1", "book_value": ""}, "must be above 0"),
            ({"currency": "USD", "price": "1000000", "book_value": ""}, "at most 999999.99"),
            ({"currency": "USD", "price": "0.49", "book_value": ""}, "must be at least 0.50 USD and at most 999999.99 USD"),
            ({"currency": "HUF", "price": "174", "book_value": "1"}, "must be at least 175.00 HUF"),
            ({"currency": "XXX", "price": "1", "book_value": "1"}, "is not a currency that Stripe charges"),
            ({"currency": "١٢٣", "price": "1", "book_value": "1"}, "is not a currency that Stripe charges"),
            ({"currency": "EUR", "price": "1", "book_value": ""}, "Say what a sale in EUR is worth in USD"),
            ({"currency": "EUR", "price": "1", "book_value": "0"}, "Say what a sale in EUR is worth in USD"),
            ({"currency": "EUR", "price": "1", "book_value": "-1"}, "Say what a sale in EUR is worth in USD"),
            ({"currency": "USD", "price": "1", "book_value": "2"}, "worth its price"),
            ({"currency": "USD", "price": "NaN", "book_value": ""}, "Enter a number"),
            ({"currency": "USD", "price": "", "book_value": ""}, "required"),
        ],
    )
    def test_has_no_price_that_cannot_be_charged_or_booked(self, finance: Client, row: dict[str, str], words: str) -> None:
        sent = finance.post(ADD, a_form(row))
        assert sent.status_code == 200
        assert words in sent.content.decode()
        assert CreditPack.objects.count() == 0

    def test_has_one_price_per_currency(self, finance: Client) -> None:
        twice = ({"currency": "USD", "price": "1"}, {"currency": "usd", "price": "2"})
        assert finance.post(ADD, a_form(*twice)).status_code == 200
        assert CreditPack.objects.count() == 0

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"active_until": "2025-12-31T00:00"}, "must end after it starts"),
            ({"active_from": "9999-12-31T00:00"}, "Choose a time"),
            ({"credits": "0"}, "greater than or equal"),
            ({"credits": "0.0000001"}, "decimal places"),
            ({"bonus_credits": "-1"}, "greater than or equal"),
            ({"expires_after_days": "0"}, "last a day at least"),
            ({"expires_after_days": "99999"}, "less than or equal"),
            ({"key": "Starter 500"}, "small letters"),
        ],
    )
    def test_makes_sense(self, finance: Client, fields: dict[str, Any], words: str) -> None:
        sent = finance.post(ADD, a_form({"currency": "USD", "price": "5"}, **fields))
        assert sent.status_code == 200
        assert words in sent.content.decode()
        assert CreditPack.objects.count() == 0


class TestAChange:
    def test_of_a_price_needs_a_reason_and_is_kept_with_it(self, finance: Client) -> None:
        pack = a_pack("starter-500", credits="500")
        price = pack.prices.get()
        page = finance.get(change(pack)).content.decode()
        assert 'value="9.99"' in page
        form = a_form(a_row(price, price="10.99", book_value="9.99"), existing=1)
        assert finance.post(change(pack), form | {"change_reason": ""}).status_code == 200
        assert pack.prices.get().amount_minor == 999
        assert finance.post(change(pack), form | {"change_reason": "Dearer"}).status_code == 302
        assert (pack.prices.get().amount_minor, pack.prices.get().book_value) == (1099, Decimal("10.99"))
        last = price.history.latest()
        assert (last.history_change_reason, last.history_user.username) == ("Dearer", "finance")
        page = finance.get(change(pack)).content.decode()
        assert "Dearer" in page
        assert "9.99 USD" in page

    def test_may_end_a_price(self, finance: Client) -> None:
        pack = a_pack("starter-500", prices={"USD": ("5", "5"), "EUR": ("5", "5.5")})
        rows = [a_row(price, price="5", book_value=price.book_value) for price in pack.prices.order_by("currency")]
        sent = finance.post(change(pack), a_form(rows[0] | {"DELETE": "on"}, rows[1], existing=2))
        assert sent.status_code == 302, sent.content.decode()
        assert [price.currency for price in pack.prices.all()] == ["USD"]
        assert PackPrice.history.latest().history_change_reason == "Launch"

    def test_leaves_the_key_as_apps_know_it(self, finance: Client) -> None:
        pack = a_pack("starter-500")
        finance.post(change(pack), a_form(key="other", name="Renamed"))
        pack.refresh_from_db()
        assert (pack.key, pack.name) == ("starter-500", "Renamed")

    def test_is_not_for_who_may_only_look(self, finance: Client) -> None:
        pack = a_pack("starter-500")
        manager = signed_in(Role.PRODUCT_MANAGER)
        assert "9.99 USD" in manager.get(change(pack)).content.decode()
        assert manager.post(change(pack), a_form()).status_code == 403
        assert manager.get("/admin/billing/creditpack/").status_code == 200


class TestTheList:
    def test_says_what_is_on_sale(self, finance: Client) -> None:
        a_pack("now")
        a_pack("past", active_until="2026-01-01T00:00Z")
        a_pack("bare", prices={})
        page = finance.get("/admin/billing/creditpack/").content.decode()
        for words in ("On sale", "Ended", "No price"):
            assert words in page
        assert "past" not in finance.get("/admin/billing/creditpack/?state=on_sale").content.decode().partition("result_list")[2]
