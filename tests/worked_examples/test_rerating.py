"""A model that nobody had a rate for, and a rate that was wrong: what the usage turns out to have cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from billing import checks
from billing.events import Caller
from billing.models import Basis, CostAdjustment, LedgerEntry, Rerating, UsageRecord
from billing.queries import costs
from billing.services import rerating, seals
from billing.services.rerating import Scope
from pricing.models import ProviderRate
from pricing.services import rate_changes
from pricing.units import UnitKind, Usage
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.people import a_person
from tests.worked_examples.books import DAY, charged

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
# 1,000 tokens in, of which 600 came from the cache; 200 out, of which 50 were reasoning.
REPLY = Usage("acme", "nova-2", input_tokens=1_000, cache_read_tokens=600, output_tokens=200, reasoning_tokens=50)
MILLION = 1_000_000
LATER = NOW + timedelta(hours=3)


@pytest.fixture
def caller() -> Caller:
    caller = a_caller()
    a_price("4")
    a_wallet(caller, credits="100")
    return caller


@pytest.fixture
def vera(db: None) -> User:
    return a_person(name="vera")


def add_rates(vera: User, since: datetime = OCTOBER, **prices: str) -> dict[str, ProviderRate]:
    """Add what a million of each unit of nova-2 costs."""
    figures = {UnitKind(unit): (Decimal(price), MILLION) for unit, price in prices.items()}
    rates = rate_changes.add(
        provider="acme", model="nova-2", prices=figures, currency="USD", effective_from=since, source="price page", actor=vera, now=NOW
    )
    return {rate.series.unit_kind: rate for rate in rates}


def rerate(*, at: datetime = LATER, basis: Basis = Basis.UNPRICED, rate_ids: tuple[int, ...] = (), since: datetime = OCTOBER) -> Rerating:
    scope = Scope(since=since, until=at, basis=basis, rate_ids=rate_ids)
    row = rerating.request(scope=scope, reason="Rates added", actor="user:vera", now=at)
    return rerating.run(rerating_id=row.pk, clock=lambda: at)


def known(record_id: int) -> tuple[str, Decimal | None]:
    row = costs.with_known_costs(UsageRecord.objects.filter(pk=record_id)).get()
    return row.known_status, row.known_cost


class TestAModelThatNobodyKnew:
    """Charged at 4 credits, cost unknown. Then acme's price page is found: in 3, cached 0.30, out 15 USD per million.

    400 fresh tokens at 3          0.0012
    600 cached tokens at 0.30      0.00018
    150 output tokens at 15        0.00225
     50 reasoning tokens at 15     0.00075   (no rate of their own: as output)
                                   0.00438
    """

    def test_gets_its_exact_cost_once(self, caller: Caller, vera: User) -> None:
        record = charged(caller, usage=REPLY).record_id
        assert known(record) == ("unpriced", None)
        add_rates(vera, input="3", cache_read="0.30", output="15")
        run = rerate()
        assert known(record) == ("priced", Decimal("0.00438"))
        assert (run.examined, run.adjusted, run.newly_priced, run.still_unpriced) == (1, 1, 1, 0)
        [model] = run.by_model
        assert (model["model"], model["before"], model["after"], model["currency"]) == ("nova-2", "0", "0.00438", "USD")
        adjustment = CostAdjustment.objects.get()
        assert (adjustment.amount_before, adjustment.amount, adjustment.amount_after) == (None, Decimal("0.00438"), Decimal("0.00438"))
        quantities = {line["unit"]: line["quantity"] for line in adjustment.lines}
        assert quantities == {"input": "400", "cache_read": "600", "output": "150", "reasoning": "50"}

    def test_a_second_run_finds_nothing(self, caller: Caller, vera: User) -> None:
        charged(caller, usage=REPLY)
        add_rates(vera, input="3", output="15")
        rerate()
        for basis in (Basis.UNPRICED, Basis.ALL):
            assert rerate(basis=basis).adjusted == 0
        assert CostAdjustment.objects.count() == 1

    def test_the_books_of_the_past_stay_as_they_are(self, caller: Caller, vera: User) -> None:
        charged(caller, usage=REPLY)
        seals.seal_due(now=LATER)
        add_rates(vera, input="3", output="15")
        rerate()
        assert LedgerEntry.objects.get(kind="charge").provider_cost is None
        assert UsageRecord.objects.get().cost_status == "unpriced"
        assert CostAdjustment.objects.get().recorded_at == LATER
        report = checks.run()
        assert report.is_clean, report.breaks

    def test_a_rate_that_begins_later_leaves_what_was_before_unpriced(self, caller: Caller, vera: User) -> None:
        early = charged(caller, usage=REPLY, occurred_at=NOW - 10 * DAY).record_id
        late = charged(caller, usage=REPLY).record_id
        add_rates(vera, since=NOW - DAY, input="3", output="15")
        run = rerate()
        assert known(early) == ("unpriced", None)
        assert known(late)[0] == "priced"
        assert [model["why"] for model in run.by_model] == [{"begins_later": 1}]


class TestARateThatWasWrong:
    """Input was entered at 3 USD per million; the invoice says 2.50. 400 fresh and 600 cached tokens (no rate of their own)
    at 3 are 0.003, at 2.50 they are 0.0025; output stays 200 x 15 per million = 0.003.
    """

    def test_is_adjusted_by_the_difference(self, caller: Caller, vera: User) -> None:
        wrong = add_rates(vera, input="3", output="15")["input"]
        record = charged(caller, usage=REPLY).record_id
        assert known(record) == ("priced", Decimal("0.006"))
        rate_changes.correct(
            rate=wrong, price=Decimal("2.50"), per=MILLION, source="invoice", reason="Typed wrong", actor=vera, now=NOW + DAY / 24
        )
        run = rerate(basis=Basis.RATES, rate_ids=(wrong.pk,))
        adjustment = CostAdjustment.objects.get()
        assert adjustment.amount == Decimal("-0.0005")
        assert known(record) == ("priced", Decimal("0.0055"))
        assert (run.adjusted, run.newly_priced) == (1, 0)
        assert wrong.pk not in {int(line["rate_id"]) for line in adjustment.lines}
        assert rerate(basis=Basis.RATES, rate_ids=(wrong.pk,)).adjusted == 0
        assert checks.run().is_clean

    def test_a_second_correction_goes_on_from_the_first(self, caller: Caller, vera: User) -> None:
        rate = add_rates(vera, input="3", output="15")["input"]
        record = charged(caller, usage=REPLY).record_id
        for hour, price in ((1, "2.50"), (2, "2.75")):
            at = NOW + timedelta(hours=hour)
            wrong, [rate] = (
                rate,
                rate_changes.correct(rate=rate, price=Decimal(price), per=MILLION, source="invoice", reason="x", actor=vera, now=at),
            )
            rerate(basis=Basis.RATES, rate_ids=(wrong.pk,), at=at)
        assert [row.amount for row in CostAdjustment.objects.order_by("number")] == [Decimal("-0.0005"), Decimal("0.00025")]
        assert known(record) == ("priced", Decimal("0.00575"))
        assert checks.run().is_clean

    def test_that_was_right_until_a_day_changes_only_what_came_then(self, caller: Caller, vera: User) -> None:
        wrong = add_rates(vera, input="3", output="15")["input"]
        before = charged(caller, usage=REPLY, occurred_at=NOW - 10 * DAY).record_id
        after = charged(caller, usage=REPLY).record_id
        rate_changes.correct(
            rate=wrong, price=Decimal(4), per=MILLION, since=NOW - DAY, source="notice", reason="Raised", actor=vera, now=NOW + DAY / 24
        )
        assert rerate(basis=Basis.RATES, rate_ids=(wrong.pk,)).adjusted == 1
        assert known(before) == ("priced", Decimal("0.006"))
        assert known(after) == ("priced", Decimal("0.007"))

    def test_what_the_app_stated_itself_is_left_alone(self, caller: Caller, vera: User) -> None:
        stated = charged(caller, usage=REPLY, provider_cost=Decimal("0.02")).record_id
        add_rates(vera, input="3", output="15")
        assert rerate(basis=Basis.ALL).examined == 0
        assert known(stated) == ("reported", Decimal("0.02"))

    def test_a_known_cost_never_becomes_unknown(self, caller: Caller, vera: User) -> None:
        rates = add_rates(vera, input="3", output="15")
        record = charged(caller, usage=REPLY).record_id
        model = rates["input"].series.provider_model
        model.name = "nova-3"
        model.save()
        run = rerate(basis=Basis.ALL)
        assert (run.adjusted, run.kept, run.still_unpriced) == (0, 1, 0)
        assert run.by_model[0]["why_kept"] == {"unknown_model": 1}
        assert known(record) == ("priced", Decimal("0.006"))
