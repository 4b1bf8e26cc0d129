"""A month at Stripe that a bookkeeper can check by hand.

March 2026, one credit sold for a cent:

| day | what | gross | fee | net |
|---|---|---|---|---|
| 2 | charge A, 2,000 credits | 20.00 | 0.88 | 19.12 |
| 3 | charge B, 5,000 credits | 50.00 | 1.75 | 48.25 |
| 4 | charge C, 1,000 credits | 10.00 | 0.59 | 9.41 |
| 5 | refund of a quarter of B | -12.50 | 0.00 | -12.50 |
| 6 | dispute of C, lost on the 20th | -10.00 | 15.00 | -25.00 |
| | in all | 57.50 | 18.22 | 39.28 |
| 8 | payout to our bank | -39.28 | 0.00 | -39.28 |

So the balance is 0.00 again. Of A, 600 credits were spent before the month ended.
"""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse

from billing.accounts import Account
from billing.balance import Category, movement, paid_out
from billing.minor_units import to_major
from billing.models import Dispute, DisputeState, Payout, PlatformFee, TopUp, UnappliedPayment
from billing.queries.trial_balance import trial_balance
from billing.services import charging, checking, disputes, settlements, topup_refunds, topups
from config.roles import Role
from reports import breaks
from reports.breaks import ReconciliationNotSigned
from reports.models import BreakState, ReconciliationBreak, ReconciliationSignOff
from reports.queries import reconciliation
from tests import stripe_objects
from tests.billing import selling
from tests.billing.factories import a_caller, a_deposit, a_price, a_wallet, an_event
from tests.people import a_person, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
NOW = datetime(2026, 4, 2, 9, tzinfo=UTC)


def day(number: int) -> datetime:
    return datetime(2026, 3, number, 12, tzinfo=UTC)


def at(number: int) -> int:
    return int(day(number).timestamp())


def sold(letter: str, number: int, *, credits: str, amount_minor: int) -> TopUp:
    """An order that is paid on a day, by `pi_<letter>` and `ch_<letter>`."""
    wallet = a_wallet(a_caller(), f"buyer_{letter}", now=day(1))
    order = selling.an_order(
        wallet, now=day(number), credits=Decimal(credits), amount_minor=amount_minor, book_value=to_major(amount_minor, "USD")
    )
    facts = topups.Facts(payment_intent=f"pi_{letter}", charge=f"ch_{letter}")
    topups.settle(topup_id=order.pk, paid=topups.Paid(amount_minor, "USD", is_live=False, facts=facts), now=day(number))
    order.refresh_from_db()
    return order


def booked(name: str, number: int, source: str, gross: int, fee: int, **fields: Any) -> Any:
    """A movement as Stripe tells it, taken along by the payout of the 8th."""
    told = stripe_objects.balance_transaction(
        id=name, created=at(number), source=source, amount=gross, fee=fee, net=gross - fee, status="available", **fields
    )
    return movement(told, payout="po_march")


@pytest.fixture
def month() -> dict[str, TopUp]:
    orders = {
        "A": sold("a", 2, credits="2000", amount_minor=2000),
        "B": sold("b", 3, credits="5000", amount_minor=5000),
        "C": sold("c", 4, credits="1000", amount_minor=1000),
    }
    back = stripe_objects.refund(id="re_b", payment_intent="pi_b", charge="ch_b", amount=1250, created=at(5))
    topup_refunds.apply(back, day(5))
    fought = stripe_objects.dispute(id="dp_c", payment_intent="pi_c", charge="ch_c", amount=1000, created=at(6))
    disputes.apply(fought, day(6))
    disputes.apply(fought | {"status": "lost"}, day(20))
    a_price("600")
    charging.charge([an_event(a_caller(orders["A"].project), customer="buyer_a", occurred_at=day(10))], now=day(10))
    movements = [
        booked("txn_a", 2, "ch_a", 2000, 88),
        booked("txn_b", 3, "ch_b", 5000, 175),
        booked("txn_c", 4, "ch_c", 1000, 59),
        booked("txn_re", 5, "re_b", -1250, 0, type="refund", reporting_category="refund"),
        booked("txn_dp", 6, "dp_c", -1000, 1500, type="adjustment", reporting_category="dispute"),
        booked("txn_po", 8, "po_march", -3928, 0, type="payout", reporting_category="payout"),
    ]
    settlements.keep(movements, now=day(9))
    told = stripe_objects.payout(id="po_march", amount=3928, created=at(8), arrival_date=at(10), status="paid")
    settlements.keep_payout(paid_out(told), now=day(9))
    return orders


@pytest.mark.usefixtures("month")
class TestTheMonth:
    def test_comes_to_the_figures_of_the_table(self) -> None:
        told = reconciliation.statement(since=MARCH, until=APRIL, now=NOW)
        figures = [
            (one.category, one.stripe_count, to_major(one.stripe_minor, "USD"), one.our_count, to_major(one.our_minor, "USD"), one.matched)
            for one in told.figures
        ]
        assert figures == [
            (Category.CHARGE, 3, Decimal("80.00"), 3, Decimal("80.00"), 3),
            (Category.REFUND, 1, Decimal("-12.50"), 1, Decimal("-12.50"), 1),
            (Category.DISPUTE, 1, Decimal("-10.00"), 1, Decimal("-10.00"), 1),
            (Category.FEE, 4, Decimal("-18.22"), 4, Decimal("-18.22"), 4),
            (Category.PAYOUT, 1, Decimal("-39.28"), 1, Decimal("-39.28"), 1),
        ]
        [balance] = told.balances
        assert (balance.opening_minor, balance.movements_minor, balance.payouts_minor, balance.closing_minor) == (0, 3928, 3928, 0)
        assert Payout.objects.get().is_reconciled
        assert breaks.find(now=NOW) == breaks.Found(there=0, opened=0, closed=0)
        assert checking.check(now=NOW, actor="system:tests").is_clean

    def test_tells_in_the_middle_what_stripe_still_owed(self) -> None:
        [balance] = reconciliation.statement(since=day(4) - timedelta(hours=12), until=day(7), now=NOW).balances
        assert (balance.opening_minor, balance.movements_minor, balance.closing_minor) == (1912 + 4825, 941 - 1250 - 2500, 3928)

    def test_tells_what_became_of_the_credits(self, month: dict[str, TopUp]) -> None:
        found = reconciliation.became(topup.pk for topup in month.values())
        sums = {
            letter: (one.paid, one.revenue, one.breakage, one.given_back, one.moved, one.left)
            for letter, one in ((letter, found[topup.pk]) for letter, topup in month.items())
        }
        assert sums == {"A": (20, 6, 0, 0, 0, 14), "B": (50, 0, 0, Decimal("12.5"), 0, Decimal("37.5")), "C": (10, 0, 0, 10, 0, 0)}
        assert all(one.paid == one.revenue + one.breakage + one.given_back + one.moved + one.left for one in found.values())

    def test_clears_the_clearing_account(self) -> None:
        """Sold 80.00, given back 12.50 and 10.00, fees 18.22, paid out 39.28: Stripe owes nothing more.

        Of what was sold, 6.00 is earned and 51.50 is still owed in credits.
        """
        told = trial_balance(until=APRIL)
        assert {account: amount for account, amount in told.balances.items() if amount} == {
            Account.BANK: Decimal("39.28"),
            Account.PLATFORM_FEES: Decimal("18.22"),
            Account.DEFERRED_REVENUE: Decimal("-51.50"),
            Account.REVENUE: Decimal("-6.00"),
        }
        assert (told.debits, told.credits, told.at_stripe, told.foreign) == (Decimal("57.50"), Decimal("57.50"), 0, 0)
        assert told.balances[Account.BANK] == sum(to_major(one.amount_minor, "USD") for one in Payout.objects.all())
        assert told.balances[Account.PLATFORM_FEES] == sum(one.amount for one in PlatformFee.objects.all() if one.amount is not None)

    def test_tells_the_trial_balance_of_any_moment(self) -> None:
        """On the evening of the 6th, of 57.50 that came and stayed nothing is paid out; fees were recorded on the 9th."""
        told = trial_balance(until=day(7))
        assert {account: amount for account, amount in told.balances.items() if amount} == {
            Account.PAYMENTS_CLEARING: Decimal("57.50"),
            Account.DEFERRED_REVENUE: Decimal("-57.50"),
        }
        assert told.at_stripe == Decimal("57.50")

    def test_leaves_other_rails_and_currencies_out_of_what_stripe_owes(self, month: dict[str, TopUp]) -> None:
        a_deposit(month["A"].wallet, "300", amount="3", now=day(12))
        abroad = stripe_objects.payout(id="po_eur", amount=500, currency="eur", created=at(12), status="paid")
        settlements.keep_payout(paid_out(abroad), now=day(12))
        told = trial_balance(until=APRIL)
        assert (told.balances[Account.PAYMENTS_CLEARING], told.at_stripe, told.foreign) == (3, 0, 1)

    def test_a_payout_that_the_bank_sent_back_is_owed_by_stripe_again(self) -> None:
        back = stripe_objects.payout(id="po_march", amount=3928, created=at(8), arrival_date=at(10), status="failed")
        settlements.keep_payout(paid_out(back), now=day(11))
        told = trial_balance(until=APRIL)
        assert (told.balances[Account.BANK], told.at_stripe) == (0, Decimal("39.28"))

    def test_prints_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("trial_balance", until=APRIL)
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        for line in ("bank 39.28", "platform fees 18.22", "deferred revenue 51.5", "revenue 6", "in all 57.5 57.5"):
            assert line in lines
        assert "Of payments clearing, Stripe owes 0 USD; the rest was paid on other rails." in lines

    def test_says_the_same_on_the_page_and_in_the_file(self) -> None:
        browser = signed_in(Role.FINANCE)
        period = "?from=2026-03-01&to=2026-03-31"
        page = browser.get(reverse("admin:reports_reconciliation") + period).content.decode()
        file = b"".join(browser.get(reverse("admin:reports_reconciliation_export", args=["csv"]) + period))
        text = file.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text[text.index("Time,Category") :])))
        for words, sum_ in (("Charges", "80.00"), ("Refunds", "-12.50"), ("Disputes", "-10.00"), ("Fees", "-18.22"), ("Payouts", "-39.28")):
            amounts = [row["Stripe's amount"].lstrip("'") for row in rows if row["Category"] == words]
            assert sum(map(Decimal, amounts)) == Decimal(sum_)
            assert f"{sum_} USD" in page
        assert sum(Decimal(row["Stripe's amount"].lstrip("'")) for row in rows) == 0

    def test_stands_beside_the_period_before(self) -> None:
        browser = signed_in(Role.FINANCE)
        where = reverse("admin:reports_reconciliation")
        march = browser.get(f"{where}?from=2026-03-01&to=2026-03-31")
        assert str(march.context["before"]) == "2026-02-01 to 2026-02-28"
        assert {(line["before"], line["change"]) for line in march.context["figures"]} == {("0.00 USD", "")}
        later = browser.get(f"{where}?from=2026-03-04&to=2026-03-05")
        assert str(later.context["before"]) == "2026-03-02 to 2026-03-03"
        lines = {
            line["category"]: (line["stripe"], line["before"], line["change"].replace("\xa0", " ")) for line in later.context["figures"]
        }
        assert lines["Charges"] == ("10.00 USD", "70.00 USD", "-85.7 %")
        april = browser.get(f"{where}?from=2026-04-01&to=2026-04-30")
        lines = {line["category"]: (line["stripe"], line["stripe_count"], line["before"]) for line in april.context["figures"]}
        assert lines["Charges"] == ("0.00 USD", 0, "80.00 USD")
        head = b"".join(browser.get(reverse("admin:reports_reconciliation_export", args=["csv"]) + "?from=2026-04-01&to=2026-04-30"))
        assert "Stripe 80.00 USD from 2026-03-01 to 2026-03-31" in head.decode()

    def test_is_a_file_of_the_columns_that_are_chosen(self) -> None:
        browser = signed_in(Role.FINANCE)
        where = reverse("admin:reports_reconciliation_export", args=["csv"]) + "?from=2026-03-01&to=2026-03-31"
        text = b"".join(browser.get(f"{where}&column=Stripe%27s+transaction&column=Category")).decode("utf-8-sig")
        assert "\r\nCategory,Stripe's transaction\r\nCharges,txn_a\r\n" in text
        response = browser.get(f"{where}&column=Colour", follow=True)
        assert "There is no column “Colour”" in response.content.decode()
        assert response.redirect_chain[0][0].endswith("reconciliation/?from=2026-03-01&to=2026-03-31")

    def test_answers_first_whether_both_sides_agree(self) -> None:
        browser = signed_in(Role.FINANCE)

        def answer(period: str) -> tuple[str, str]:
            told = browser.get(reverse("admin:reports_reconciliation") + period).context["verdict"]
            return told.tone, f"{told.answer} {told.words} {told.steps[0]}"

        march, april = "?from=2026-03-01&to=2026-03-31", "?from=2026-04-01&to=2026-04-30"
        assert answer(march) == ("good", "Yes. Everything agrees. Sign the period: it keeps these figures with your name.")
        assert answer(april)[1].startswith("Nothing to compare. Nothing moved")
        breaks.sign(since=MARCH, until=APRIL, digest=shown(), note="Closed", actor=a_person(Role.FINANCE, name="fin"), now=NOW)
        assert answer(march)[1].startswith("Yes, and it is signed. fin signed it 2026-04-02")
        stranger = stripe_objects.balance_transaction(id="txn_x", created=at(12), source="ch_x", amount=700, fee=0, net=700)
        settlements.keep([movement(stranger, is_live=False)], now=day(13))
        breaks.find(now=NOW)
        tone, words = answer(march)
        assert tone == "bad"
        assert words.startswith("No. 1 break is open, so this period cannot be signed. fin signed it")
        breaks.explain(broken=ReconciliationBreak.objects.get(), seen_minor=700, explanation="A poster.", actor=a_person(name="fin2"))
        assert answer(march)[1].startswith("Changed since signed. Everything agrees or is explained, and the lines are not those")

    def test_says_what_stripe_has_not_booked_so_far(self, month: dict[str, TopUp]) -> None:
        sold("d", 25, credits="100", amount_minor=100)
        told = signed_in(Role.FINANCE).get(reverse("admin:reports_reconciliation") + "?from=2026-03-01&to=2026-03-31").context["verdict"]
        assert (told.tone, told.answer) == ("warn", "Not yet.")
        assert told.words.startswith("1 movement is in our books and not at Stripe so far")


class TestMoneyBesideAnOrder:
    """A buyer pays 20.00 a second time, by `pi_again`; another pays 7.00 where 10.00 was ordered. Finance sends both back."""

    @pytest.fixture
    def month(self) -> list[UnappliedPayment]:
        twice, less = sold("a", 2, credits="2000", amount_minor=2000), selling.an_order(a_wallet(a_caller(), "buyer_d"), now=day(3))
        for topup, amount_minor, letter in ((twice, 2000, "again"), (less, 700, "less")):
            facts = topups.Facts(payment_intent=f"pi_{letter}", charge=f"ch_{letter}")
            topups.settle(topup_id=topup.pk, paid=topups.Paid(amount_minor, "USD", is_live=False, facts=facts), now=day(3))
        movements = [
            booked("txn_a", 2, "ch_a", 2000, 88),
            booked("txn_again", 3, "ch_again", 2000, 88),
            booked("txn_less", 3, "ch_less", 700, 50),
        ]
        settlements.keep(movements, now=day(4))
        return list(UnappliedPayment.objects.order_by("pk"))

    def test_is_a_break_until_it_is_decided(self, month: list[UnappliedPayment]) -> None:
        found = breaks.find(now=day(9))
        assert (found.there, {row.kind for row in ReconciliationBreak.objects.all()}) == (2, {"not_credited"})
        assert [row.state for row in month] == ["open", "open"]

    def test_is_explained_by_its_refund(self, month: list[UnappliedPayment]) -> None:
        breaks.find(now=day(9))
        for row, letter in zip(month, ("again", "less"), strict=True):
            back = {"payment_intent": row.payment_intent, "charge": row.charge, "amount": row.amount_minor, "created": at(10)}
            topup_refunds.apply(stripe_objects.refund(id=f"re_{letter}", **back), day(10))
            gone = booked(f"txn_re_{letter}", 10, f"re_{letter}", -row.amount_minor, 0, type="refund", reporting_category="refund")
            settlements.keep([gone], now=day(10))
        assert breaks.find(now=NOW) == breaks.Found(there=0, opened=0, closed=2)
        told = reconciliation.statement(since=MARCH, until=APRIL, now=NOW)
        assert {one.category: (one.stripe_minor, one.our_minor, one.matched) for one in told.figures} == {
            Category.CHARGE: (4700, 4700, 3),
            Category.REFUND: (-2700, -2700, 2),
            Category.FEE: (-226, -226, 3),  # Stripe keeps its fee of money that went back
        }
        assert checking.check(now=NOW, actor="system:tests").is_clean


def shown() -> str:
    """Return the digest that the page of March shows."""
    return reconciliation.statement(since=MARCH, until=APRIL, now=NOW).digest


class TestSigning:
    def test_refuses_a_break_until_it_is_explained_and_tells_what_changed_since(self, month: dict[str, TopUp]) -> None:
        finance = a_person(Role.FINANCE)
        stranger = stripe_objects.balance_transaction(id="txn_x", created=at(12), source="ch_x", amount=700, fee=0, net=700)
        settlements.keep([movement(stranger, is_live=False)], now=day(13))
        with pytest.raises(ReconciliationNotSigned, match="1 break of this period is"):
            breaks.sign(since=MARCH, until=APRIL, digest=shown(), note="", actor=finance, now=NOW)
        broken = ReconciliationBreak.objects.get()
        assert (broken.state, broken.amount_minor, broken.currency) == (BreakState.OPEN, 700, "USD")

        breaks.explain(broken=broken, seen_minor=700, explanation="A poster that we sold.", actor=finance)
        signed = breaks.sign(since=MARCH, until=APRIL, digest=shown(), note="March", actor=finance, now=NOW)
        assert (signed.explained, signed.line_count) == (1, 11)
        assert signed.digest == reconciliation.statement(since=MARCH, until=APRIL, now=NOW).digest

        late = stripe_objects.balance_transaction(id="txn_late", created=at(30), source="", amount=-200, fee=0, net=-200, type="stripe_fee")
        settlements.keep([movement(late | {"reporting_category": "fee"})], now=NOW)
        page = signed_in(Role.ADMINISTRATOR).get(reverse("admin:reports_reconciliation") + "?from=2026-03-01&to=2026-03-31")
        assert page.context["has_changed"]
        with pytest.raises(ReconciliationNotSigned):
            breaks.sign(since=MARCH, until=APRIL, digest=shown(), note="", actor=finance, now=NOW)
        assert ReconciliationSignOff.objects.count() == 1

    def test_waits_until_the_period_is_over(self) -> None:
        with pytest.raises(ReconciliationNotSigned, match="not over"):
            breaks.sign(since=MARCH, until=APRIL, digest=shown(), note="", actor=a_person(Role.FINANCE), now=day(31))

    def test_takes_a_dispute_that_is_won_later_for_what_it_is(self, month: dict[str, TopUp]) -> None:
        """March keeps the money that left, April has it back; neither is a break."""
        assert Dispute.objects.get().state == DisputeState.LOST
        told = stripe_objects.dispute(id="dp_b", payment_intent="pi_b", charge="ch_b", amount=500, created=at(25))
        disputes.apply(told, day(25))
        taken = stripe_objects.balance_transaction(
            id="txn_dp_b", created=at(25), source="dp_b", amount=-500, fee=1500, net=-2000, type="adjustment", reporting_category="dispute"
        )
        settlements.keep([movement(taken)], now=day(25))
        disputes.apply(told | {"status": "won"}, NOW)
        given = taken | {"id": "txn_won", "amount": 500, "fee": -1500, "net": 2000, "created": int(NOW.timestamp())}
        settlements.keep([movement(given | {"reporting_category": "dispute_reversal"})], now=NOW)
        assert breaks.find(now=NOW).there == 0
        march = reconciliation.statement(since=MARCH, until=APRIL, now=NOW)
        assert {one.category: one.stripe_minor - one.our_minor for one in march.figures} == dict.fromkeys(
            (one.category for one in march.figures), 0
        )
