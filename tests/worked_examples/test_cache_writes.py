"""What is written to a provider's cache, for five minutes or for an hour: each at its own price, no token twice."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from billing import checks
from billing.events import Caller
from billing.models import Basis, UnpricedGroup, UsageRecord
from billing.queries import costs
from billing.services import rerating, unpriced
from billing.services.rerating import Scope
from pricing.price import Component
from pricing.services import rate_changes
from pricing.units import UnitKind, Usage
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.people import a_person
from tests.worked_examples.books import DAY, account, charged, table

pytestmark = pytest.mark.django_db

SONNET = "claude-sonnet-4-5"
# USD per million tokens, as on the provider's page.
PAGE = {"input": "3", "cache_write": "3.75", "cache_write_1h": "6", "output": "15"}
# The instructions are kept for an hour, the question for five minutes; the last 500 tokens are not kept at all.
STEP = Usage("anthropic", SONNET, input_tokens=12_500, output_tokens=200, cache_write_tokens=12_000, cache_write_1h_tokens=10_000)


@pytest.fixture
def caller() -> Caller:
    return a_caller()


@pytest.fixture
def vera(db: None) -> User:
    return a_person(name="vera")


def add_rates(vera: User, *units: str) -> None:
    figures = {UnitKind(unit): (Decimal(PAGE[unit]), 1_000_000) for unit in units}
    rate_changes.add(
        provider="anthropic", model=SONNET, prices=figures, currency="USD", effective_from=NOW - DAY, source="page", actor=vera, now=NOW
    )


def costed(record_id: int) -> tuple[str, Decimal | None, dict[str, str]]:
    """Return what is known of the cost of a record, and its amounts as charged by unit."""
    row = costs.with_known_costs(UsageRecord.objects.filter(pk=record_id)).get()
    return row.known_status, row.known_cost, {line["unit"]: line["amount"] for line in row.cost_lines}


class TestWhatAStepCostsUs:
    """One step of an agent, at 3.75 for five minutes and 6 USD for an hour, per million tokens:

       500 fresh tokens at 3                0.0015
     2,000 kept for five minutes at 3.75    0.0075
    10,000 kept for an hour at 6            0.06
       200 output tokens at 15              0.003
                                            0.072
    At 3.75 for all 12,000 written tokens it would have been 0.0495.
    """

    @pytest.fixture(autouse=True)
    def _price(self, caller: Caller) -> None:
        a_price("4")
        a_wallet(caller, credits="100")

    def test_each_lifetime_at_its_own_price(self, caller: Caller, vera: User) -> None:
        add_rates(vera, *PAGE)
        record_id = charged(caller, usage=STEP).record_id
        amounts = {"input": "0.0015", "cache_write": "0.0075", "cache_write_1h": "0.06", "output": "0.003"}
        assert costed(record_id) == ("priced", Decimal("0.072"), amounts)
        record = UsageRecord.objects.get()
        assert (record.input_tokens, record.cache_write_tokens, record.cache_write_1h_tokens) == (12_500, 12_000, 10_000)
        assert checks.run().is_clean

    def test_without_a_price_for_an_hour_it_waits_for_one(self, caller: Caller, vera: User) -> None:
        """The price page that was entered had no line for an hour. It is found, added, and the step costed again: 0.072."""
        add_rates(vera, "input", "cache_write", "output")
        record_id = charged(caller, usage=STEP).record_id
        assert costed(record_id)[:2] == ("unpriced", None)
        unpriced.count(now=NOW)
        group = UnpricedGroup.objects.get()
        assert (group.missing, group.units) == ("cache_write_1h", ["cache_write_1h"])
        assert unpriced.reasons([group])[group.pk].sentences == ("There is no rate for cache write 1h.",)
        add_rates(vera, "cache_write_1h")
        scope = Scope(since=NOW - DAY, until=NOW + DAY, basis=Basis.UNPRICED)
        run = rerating.request(scope=scope, reason="Rate added", actor="user:vera", now=NOW + DAY)
        assert rerating.run(rerating_id=run.pk, clock=lambda: NOW + DAY).newly_priced == 1
        assert costed(record_id)[:2] == ("priced", Decimal("0.072"))
        assert checks.run().is_clean

    def test_where_no_write_has_a_price_all_of_it_is_input(self, caller: Caller, vera: User) -> None:
        """12,500 tokens at 3 and 200 at 15 per million: 0.0375 + 0.003."""
        add_rates(vera, "input", "output")
        amounts = {"input": "0.0015", "cache_write": "0.006", "cache_write_1h": "0.03", "output": "0.003"}
        assert costed(charged(caller, usage=STEP).record_id) == ("priced", Decimal("0.0405"), amounts)
        assert checks.run().is_clean


class TestWhatACustomerPays:
    """1 credit per 1,000 tokens written: 12 for the step. With 1.5 for those of an hour: 2 + 15 = 17."""

    @pytest.mark.parametrize(("of_an_hour", "credits", "left"), [(None, "-12", "88"), ("1.5", "-17", "83")])
    def test_the_price_of_an_hour_or_else_that_of_any_write(self, of_an_hour: str | None, credits: str, left: str, caller: Caller) -> None:
        components = [Component("cache_write", Decimal(1), 1000)]
        if of_an_hour:
            components.append(Component("cache_write_1h", Decimal(of_an_hour), 1000))
        a_price("0", components=components)
        ann = a_wallet(caller, credits="100")
        step = charged(caller, usage=STEP)
        assert {line["unit"]: line["quantity"] for line in step.price_lines} == {"cache_write": "2000", "cache_write_1h": "10000"}
        assert account(ann) == table(f"""
            kind     lot  credits  value  balance
            deposit  A        100   1.00      100
            charge   A    {credits}  {Decimal(credits) / 100}   {left}
        """)
