"""Payouts, balance transactions and platform fees in the admin, over the month of the worked example."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from openpyxl import load_workbook

from billing.balance import Category, category_of, movement, paid_out
from billing.models import BalanceTransaction, EntryKind, LedgerEntry, Lot, Payout, PlatformFee, TopUp
from billing.queries import badges, stripe_balance
from billing.services import settlements
from config.base import export
from config.roles import Role
from tests import stripe_objects
from tests.billing import selling
from tests.people import signed_in
from tests.worked_examples.test_reconciliation import at, booked, day, month

__all__ = ("month",)
pytestmark = pytest.mark.django_db(transaction=True)

PAYOUTS, MOVEMENTS, FEES = (f"/admin/billing/{name}/" for name in ("payout", "balancetransaction", "platformfee"))
LEDGER = "/admin/billing/ledgerentry/"


@pytest.fixture
def finance(db: None) -> Client:
    return signed_in(Role.FINANCE)


@pytest.fixture(autouse=True)
def _no_kept_badges() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def listed(browser: Client, where: str, query: str) -> set[str]:
    """Return what the rows of a list are called at Stripe."""
    response = browser.get(f"{where}?{query}")
    assert response.status_code == 200
    return {getattr(row, "stripe_id", "") or row.balance_transaction for row in response.context["cl"].result_list}


def rows_of(browser: Client, where: str) -> list[dict[str, str]]:
    """Return the lines of a CSV, each by the headings."""
    response = browser.get(where)
    assert response.status_code == 200
    rows = list(csv.reader(io.StringIO(b"".join(response).decode("utf-8-sig"))))
    heading, *lines = rows[rows.index([]) + 1 :]
    return [dict(zip(heading, line, strict=True)) for line in lines]


class TestAPayout:
    def test_leads_to_its_movements_what_they_are_about_and_the_lots(self, month: dict[str, TopUp], finance: Client) -> None:
        payout = Payout.objects.get()
        page = finance.get(f"{PAYOUTS}{payout.pk}/change/").content.decode()
        for words in ("39.28 USD", "57.50 USD", "18.22 USD", "Refund</a> of", "Dispute</a> of", "buyer_a", "-25.00 USD"):
            assert words in page, words
        for row in BalanceTransaction.objects.exclude(source="po_march"):
            assert f"{MOVEMENTS}{row.pk}/change/" in page
        for lot in Lot.objects.filter(payment__topup__in=month.values()):
            assert f"/admin/billing/lot/{lot.pk}/change/" in page
        assert f"{MOVEMENTS}?payout__id__exact={payout.pk}" in page
        assert f"reconciliation/payouts/{payout.pk}/" in page

    def test_made_by_hand_says_that_nobody_knows_of_what(self, finance: Client) -> None:
        told = stripe_objects.payout(id="po_hand", amount=100, created=at(8), arrival_date=at(10), status="failed", automatic=False)
        settlements.keep_payout(paid_out(told | {"failure_message": "The account is closed."}), now=day(9))
        page = finance.get(f"{PAYOUTS}{Payout.objects.get().pk}/change/").content.decode()
        assert "Stripe does not say of which movements" in page
        assert "The bank sent it back: The account is closed." in page

    def test_asks_the_same_number_of_questions_for_many_movements(self, month: dict[str, TopUp], finance: Client) -> None:
        where = f"{PAYOUTS}{Payout.objects.get().pk}/change/"
        finance.get(where)
        with CaptureQueriesContext(connection) as few:
            finance.get(where)
        settlements.keep([booked(f"txn_more_{number}", 7, "ch_a", 100, 1) for number in range(20)], now=day(9))
        with CaptureQueriesContext(connection) as many:
            finance.get(where)
        assert len(many) == len(few)


class TestTheLists:
    def test_say_in_words_where_rows_come_from(self, finance: Client) -> None:
        for where, words in (
            (PAYOUTS, "sends money to our bank"),
            (MOVEMENTS, "each movement of our balance"),
            (FEES, "some minutes after"),
        ):
            assert words in finance.get(where).content.decode()

    def test_find_by_stripes_ids_exactly(self, month: dict[str, TopUp], finance: Client) -> None:
        assert listed(finance, PAYOUTS, "q=po_march") == {"po_march"}
        assert listed(finance, PAYOUTS, "q=po_mar") == set()
        everything = {"txn_a", "txn_b", "txn_c", "txn_re", "txn_dp", "txn_po"}
        topup = month["B"]
        for text, names in (
            ("txn_a", {"txn_a"}),
            ("ch_b", {"txn_b"}),
            ("pi_b", {"txn_b", "txn_re"}),
            (f"topup_{topup.pk}", {"txn_b", "txn_re"}),
            ("dp_c", {"txn_dp"}),
            ("po_march", everything),
            ("txn_", set()),
            ("pi_x", set()),
        ):
            assert listed(finance, MOVEMENTS, f"q={text}") == names, text
        assert listed(finance, FEES, "q=txn_a") == {"txn_a"}
        assert listed(finance, FEES, "q=pi_c") == {"txn_c", "txn_dp"}
        assert listed(finance, FEES, "q=dp_c") == {"txn_c", "txn_dp"}
        assert listed(finance, FEES, "q=ch_x") == set()

    def test_filter(self, month: dict[str, TopUp], finance: Client) -> None:
        payout = Payout.objects.get()
        settlements.keep(
            [movement(stripe_objects.balance_transaction(id="txn_new", created=at(12), source="ch_x", amount=500, fee=0, net=500))],
            now=day(13),
        )
        assert listed(finance, MOVEMENTS, "paid_out=no") == {"txn_new"}
        assert listed(finance, MOVEMENTS, f"payout__id__exact={payout.pk}&category=disputes") == {"txn_dp"}
        assert listed(finance, MOVEMENTS, "created_at_to=2026-03-02") == {"txn_a"}
        assert listed(finance, MOVEMENTS, "currency=EUR") == set()
        assert listed(finance, PAYOUTS, "status=paid&is_reconciled__exact=1") == {"po_march"}
        assert listed(finance, PAYOUTS, "status=failed") == set()
        assert listed(finance, FEES, "kind=dispute") == {"txn_dp"}
        customer = month["A"].wallet.customer_id
        assert listed(finance, FEES, f"payment__wallet__customer__id__exact={customer}") == {"txn_a"}

    def test_lead_from_a_movement_to_what_it_is_about(self, month: dict[str, TopUp], finance: Client) -> None:
        row = BalanceTransaction.objects.get(stripe_id="txn_dp")
        page = finance.get(f"{MOVEMENTS}{row.pk}/change/").content.decode()
        topup = month["C"]
        [dispute], [lot], [fee] = (
            topup.disputes.all(),
            Lot.objects.filter(payment=topup.payment),
            PlatformFee.objects.filter(kind="dispute"),
        )
        leads = (("dispute", dispute.pk), ("topup", topup.pk), ("lot", lot.pk), ("platformfee", fee.pk), ("payout", row.payout_id))
        for model, pk in leads:
            assert f"/admin/billing/{model}/{pk}/change/" in page, model

    def test_ask_the_same_number_of_questions_for_many_rows(self, month: dict[str, TopUp], finance: Client) -> None:
        for where in (PAYOUTS, MOVEMENTS, FEES):
            finance.get(where)
            with CaptureQueriesContext(connection) as queries:
                finance.get(where)
            assert len(queries) <= 16, where

    @pytest.mark.parametrize("role", [Role.SUPPORT, Role.PRODUCT_MANAGER, Role.ENGINEER])
    def test_are_for_finance(self, month: dict[str, TopUp], role: Role) -> None:
        browser = signed_in(role)
        for where in (PAYOUTS, MOVEMENTS, FEES):
            assert [browser.get(f"{where}{rest}").status_code for rest in ("", "export/", "export/xlsx/")] == [403, 403, 403]

    def test_take_no_form(self, month: dict[str, TopUp], admin_client: Client) -> None:
        for where, model in ((PAYOUTS, Payout), (MOVEMENTS, BalanceTransaction), (FEES, PlatformFee)):
            rows: Any = model.objects
            assert admin_client.post(f"{where}{rows.all()[0].pk}/change/", {"status": "paid"}).status_code == 403

    def test_warn_of_a_payout_that_is_not_explained(self, month: dict[str, TopUp]) -> None:
        now = timezone.now()

        def made(name: str, when: datetime, **fields: Any) -> None:
            told = stripe_objects.payout(id=name, amount=5, created=int(when.timestamp()), arrival_date=int(when.timestamp()), **fields)
            settlements.keep_payout(paid_out(told), now=now)

        made("po_young", now - timedelta(days=2), status="paid")
        made("po_failed", now - timedelta(days=9), status="failed")
        made("po_hand", now - timedelta(days=9), status="paid", automatic=False)
        assert badges.unexplained_payouts() == ""
        made("po_old", now - timedelta(days=4), status="paid")
        cache.clear()
        assert badges.unexplained_payouts() == "1"


class TestTheCategories:
    KINDS = ("charge", "payment_refund", "stripe_fee", "adjustment", "payout_failure", "topup", "")
    REPORTED = ("charge", "refund", "dispute", "fee", "payout", "other_adjustment", "")
    SOURCES = ("ch_1", "dp_1", "dp", "re_1", "dpx_1", "")

    def test_of_the_filter_are_those_of_the_reconciliation(self) -> None:
        now = timezone.now()
        kinds = [(kind, report, source) for kind in self.KINDS for report in self.REPORTED for source in self.SOURCES]
        moved = {"amount_minor": 1, "fee_minor": 0, "net_minor": 1, "currency": "USD", "created_at": now, "received_at": now}
        BalanceTransaction.objects.bulk_create(
            BalanceTransaction(stripe_id=f"txn_{number}", type=kind, reporting_category=report, source=source, **moved)
            for number, (kind, report, source) in enumerate(kinds)
        )
        for category in Category:
            found = BalanceTransaction.objects.filter(stripe_balance.of_category(category))
            wanted = sorted(one for one in kinds if category_of(kind=one[0], reporting_category=one[1], source=one[2]) is category)
            assert sorted(found.values_list("type", "reporting_category", "source")) == wanted, category


class TestTheFiles:
    def test_have_the_columns_that_are_chosen(self, month: dict[str, TopUp], finance: Client) -> None:
        rows = rows_of(finance, f"{MOVEMENTS}export/?column=Net&column=Balance+transaction&category=disputes")
        assert rows == [{"Balance transaction": "txn_dp", "Net": "-25"}]
        [payout] = rows_of(finance, f"{PAYOUTS}export/")
        assert (payout["Payout"], payout["Amount"], payout["Adds up"]) == ("po_march", "39.28", "Yes")
        fees = rows_of(finance, f"{FEES}export/?kind=payment")
        assert [(fee["Top-up"], fee["Fee"]) for fee in fees] == [
            (f"topup_{month[name].pk}", fee) for name, fee in zip("CBA", ("0.59", "1.75", "0.88"), strict=True)
        ]

    def test_are_workbooks_too(self, month: dict[str, TopUp], finance: Client) -> None:
        response = finance.get(f"{PAYOUTS}export/xlsx/?column=Payout&column=Amount")
        sheet = load_workbook(io.BytesIO(b"".join(response))).active
        assert sheet is not None
        assert [list(row) for row in sheet.iter_rows(values_only=True)][-2:] == [["Payout", "Amount"], ["po_march", "39.28"]]

    def test_refuse_columns_and_kinds_that_are_not_there_and_say_so(self, month: dict[str, TopUp], finance: Client) -> None:
        response = finance.get(f"{PAYOUTS}export/?column=Colour&status=paid", follow=True)
        assert response.redirect_chain == [(f"{PAYOUTS}?status=paid", 302)]
        assert "There is no column “Colour”" in response.content.decode()
        assert finance.get(f"{PAYOUTS}export/pdf/").status_code == 404

    def test_refuse_a_workbook_of_too_many_rows(self, month: dict[str, TopUp], finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("config.base.admin.exports.MOST_SHEET_ROWS", 2)
        assert export.MOST_SHEET_ROWS > 2
        response = finance.get(f"{MOVEMENTS}export/xlsx/", follow=True)
        assert "at most 2 rows" in response.content.decode()
        assert finance.get(f"{MOVEMENTS}export/xlsx/?category=disputes").status_code == 200

    def test_are_offered_with_the_filters_of_the_list(self, month: dict[str, TopUp], finance: Client) -> None:
        page = finance.get(f"{MOVEMENTS}?category=disputes&q=dp_c").content.decode()
        assert f'formaction="{MOVEMENTS}export/xlsx/"' in page
        for name, value in (("category", "disputes"), ("q", "dp_c")):
            assert f'<input type="hidden" name="{name}" value="{value}">' in page


class TestTheFeeOfADeposit:
    """Of an entry of the ledger: from the fees of its payment, since entries never change and a fee arrives later."""

    def _deposit(self, topup: TopUp) -> LedgerEntry:
        return LedgerEntry.objects.get(payment=topup.payment, kind=EntryKind.DEPOSIT)

    def test_is_all_that_its_payment_cost_us(self, month: dict[str, TopUp], finance: Client) -> None:
        by_entry = {row["Entry"]: row["Platform fee"] for row in rows_of(finance, f"{LEDGER}export/")}
        for name, fee in (("A", "0.88"), ("B", "1.75"), ("C", "15.59")):
            entry = self._deposit(month[name])
            assert by_entry.pop(str(entry.pk)) == fee
            page = finance.get(f"{LEDGER}{entry.pk}/change/").content.decode()
            assert f"{fee} USD" in page
            assert f"{FEES}?q=topup_{month[name].pk}" in page
        assert set(by_entry.values()) == {""}

    def test_in_another_currency_is_no_zero(self, month: dict[str, TopUp], finance: Client) -> None:
        topup, now = month["A"], timezone.now()
        assert topup.payment
        PlatformFee.objects.create(
            payment=topup.payment,
            balance_transaction="txn_eur",
            amount_minor=30,
            currency="EUR",
            kind="refund",
            happened_at=now,
            recorded_at=now,
        )
        entry = self._deposit(topup)
        rows = {row["Entry"]: row["Platform fee"] for row in rows_of(finance, f"{LEDGER}export/")}
        assert rows[str(entry.pk)] == "in another currency"
        page = finance.get(f"{LEDGER}{entry.pk}/change/").content.decode()
        assert "0.88 USD" in page
        assert "0.30 EUR" in page

    def test_is_not_asked_of_other_entries(self, month: dict[str, TopUp], finance: Client) -> None:
        [charge] = LedgerEntry.objects.filter(kind=EntryKind.CHARGE)
        assert "platform fee" not in finance.get(f"{LEDGER}{charge.pk}/change/").content.decode().lower().replace("platform fees", "")

    def test_is_hidden_from_who_may_not_view_fees(self, month: dict[str, TopUp]) -> None:
        support = signed_in(Role.SUPPORT)
        entry = self._deposit(month["A"])
        assert "0.88 USD" not in support.get(f"{LEDGER}{entry.pk}/change/").content.decode()
        assert "Platform fee" not in rows_of(support, f"{LEDGER}export/")[0]
        assert "Platform fee" not in support.get(LEDGER).content.decode()

    def test_of_a_bought_bonus_is_told_once(self, finance: Client) -> None:
        order = selling.an_order(month_wallet(), bonus_credits=Decimal(50))
        selling.told("checkout.session.completed", selling.a_session(order))
        order.refresh_from_db()
        assert order.payment
        PlatformFee.objects.create(
            payment=order.payment, balance_transaction="txn_z", amount_minor=9, currency="USD", amount=Decimal("0.09"), kind="payment",
            happened_at=day(2), recorded_at=day(2),
        )  # fmt: skip
        fees = [row["Platform fee"] for row in rows_of(finance, f"{LEDGER}export/") if row["Payment"] == order.payment.external_id]
        assert sorted(fees) == ["", "0.09"]


def month_wallet() -> Any:
    from tests.billing.factories import a_caller, a_wallet

    return a_wallet(a_caller(), "buyer_z")
