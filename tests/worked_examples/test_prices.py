"""Which price applies: by the moment of the action, and the customer's own before the plan's before everyone's."""

from datetime import timedelta
from decimal import Decimal

import pytest

from pricing.models import Segment
from tests.billing.factories import LAST_YEAR, NOW, a_caller, a_price, a_wallet
from tests.worked_examples.books import DAY, account, balance, charged, refused, table

pytestmark = pytest.mark.django_db


class TestPrices:
    def test_a_late_event_is_priced_as_of_its_time(self) -> None:
        """Replies cost 4, and 5 from tomorrow noon. An app reports at one o'clock what was done at half past eleven: 4."""
        caller = a_caller()
        noon = NOW + DAY
        a_price("4")
        a_price("5", effective_from=noon)
        ann = a_wallet(caller, credits="100")
        late = charged(caller, at=noon + timedelta(hours=1), occurred_at=noon - timedelta(minutes=30))
        sharp = charged(caller, at=noon + timedelta(hours=1), occurred_at=noon)
        assert [(late.version, late.credits), (sharp.version, sharp.credits)] == [(1, 4), (2, 5)]
        entries = ann.entries.filter(kind="charge").order_by("id")
        assert [entry.occurred_at for entry in entries] == [noon - timedelta(minutes=30), noon]
        assert [entry.price_version.number for entry in entries if entry.price_version] == [1, 2]

    def test_no_price_is_an_error_and_never_zero(self) -> None:
        """An action of the year before last, when nothing had a price, is refused; the wallet keeps its credits."""
        caller = a_caller()
        a_price("4")
        ben = a_wallet(caller, credits="10")
        assert refused(caller, occurred_at=LAST_YEAR - timedelta(microseconds=1)).code == "no_price"
        assert balance(ben) == 10

    def test_customer_before_plan_before_everyone(self) -> None:
        """Everyone pays 4, plan pro 3, and Cleo has a deal of 2 that starts tomorrow: 4, 3, then 2 instead of 3."""
        caller = a_caller()
        a_price("4")
        a_price("3", segment=Segment.PLAN, segment_key="pro")
        a_price("2", segment=Segment.CUSTOMER, segment_key=f"{caller.project_key}/cleo", effective_from=NOW + DAY)
        a_wallet(caller, "anybody", credits="10")
        cleo = a_wallet(caller, "cleo", credits="10", plan="pro")
        rules = [
            charged(caller, customer="anybody").rule,
            charged(caller, customer="cleo").rule,
            charged(caller, customer="cleo", at=NOW + DAY).rule,
        ]
        assert rules == ["chat.reply/default", "chat.reply/plan/pro", f"chat.reply/customer/{caller.project_key}/cleo"]
        assert account(cleo) == table("""
            kind     lot  credits  value  balance
            deposit  A         10   0.10       10
            charge   A         -3  -0.03        7
            charge   A         -2  -0.02        5
        """)

    def test_the_lines_add_up_to_the_charge(self) -> None:
        """2.5 minutes at 3 credits, rounded up to whole credits: 7.5 and a rounding of 0.5."""
        caller = a_caller()
        a_price("3", rounding_step=Decimal(1))
        a_wallet(caller, credits="10")
        call = charged(caller, quantity=Decimal("2.5"))
        assert [(line["kind"], line["credits"]) for line in call.price_lines] == [("event", "7.5"), ("rounding", "0.5")]
        assert call.credits == 8
