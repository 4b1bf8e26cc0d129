"""A price of 5 credits was predicted to leave 60 %; what it left in its first 7 and 30 days."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, transaction

from billing.events import Caller
from config.roles import Role
from pricing.admin import panels
from pricing.models import PriceRule, PriceVersion, Proposal
from pricing.services import advising, proposals
from reports import scorecards
from reports.models import RealisedMargin
from reports.queries import scorecard
from tests import people
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.pricing.proposals import a_backtest
from tests.reports.usage import LARGE, act, tokens, two_models

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
STARTS = NOW - 12 * DAY


@pytest.fixture
def caller() -> Caller:
    two_models()
    a_price("4")
    caller = a_caller()
    a_wallet(caller, credits="1000", now=STARTS - DAY)
    return caller


@pytest.fixture
def proposal(caller: Caller) -> Proposal:
    """Five credits instead of four, proposed by one and approved by another, tested to leave 60 %."""
    rule = PriceRule.objects.get()
    ann, ben = (User.objects.create(username=name) for name in ("ann", "ben"))
    better = PriceVersion.objects.get().definition()
    better = type(better)(Decimal(5), (), (), better.minimum, better.rounding_step, better.rounding_mode)
    asked = proposals.propose(rule=rule, definition=better, reason="Costs rose", actor=ann, now=STARTS - DAY)
    advising.record_backtest(proposal=asked, definition=better, backtest=a_backtest(margin_after="0.6"))
    proposals.approve(proposal=asked, effective_from=STARTS, reason="Yes", actor=ben, now=STARTS - DAY)
    return Proposal.objects.select_related("version__rule").get()


def use(caller: Caller, at: datetime) -> None:
    """Five credits for a cent each, and a cost of 0.015."""
    act(caller, at, usage=tokens(LARGE, 0, 1000))


def scores(proposal: Proposal, *, now: datetime = NOW) -> list[Any]:
    return [
        (score.days, score.realised and score.realised.events, score.is_final, score.is_cut_short)
        for score in scorecard.of_proposal(proposal, now=now)
    ]


class TestScore:
    def test_compares_what_was_predicted_with_what_came(self, caller: Caller, proposal: Proposal) -> None:
        use(caller, STARTS - timedelta(seconds=1))  # under the price before
        use(caller, STARTS)
        week, month = scorecard.of_proposal(proposal, now=NOW)
        assert (week.predicted, month.predicted) == (Decimal("0.6"), Decimal("0.6"))
        assert week.realised
        assert (week.realised.value, week.realised.cost, week.realised.margin) == (Decimal("0.05"), Decimal("0.015"), Decimal("0.7"))
        assert week.difference == Decimal("0.1")

    def test_begins_with_the_version(self, proposal: Proposal) -> None:
        assert scores(proposal, now=STARTS) == []

    def test_counts_each_day_once(self, caller: Caller, proposal: Proposal) -> None:
        for days in (0, 6, 7, 11):
            use(caller, STARTS + days * DAY)
        assert scores(proposal) == [(7, 2, False, False), (30, 4, False, False)]

    def test_ends_where_the_next_version_begins(self, caller: Caller, proposal: Proposal) -> None:
        a_price("6", effective_from=STARTS + 2 * DAY, now=STARTS)
        for days in (0, 1, 2):
            use(caller, STARTS + days * DAY)
        proposal.refresh_from_db()
        assert scores(Proposal.objects.get()) == [(7, 2, False, True), (30, 2, False, True)]

    def test_without_usage_has_no_margin(self, proposal: Proposal) -> None:
        week, _ = scorecard.of_proposal(proposal, now=NOW)
        assert week.realised
        assert (week.realised.margin, week.difference) == (None, None)


class TestPrediction:
    def test_is_the_backtests_which_those_who_decide_read(self) -> None:
        said = {"margin": {"suggested": "0.58"}}
        assert scorecard.predicted_margin(Proposal(recommendation=said, backtest={"margin_after": "0.57"})) == Decimal("0.57")

    def test_without_a_backtest_is_the_advisors_unless_somebody_edited(self) -> None:
        said = {"margin": {"suggested": "0.58"}}
        assert scorecard.predicted_margin(Proposal(recommendation=said)) == Decimal("0.58")
        assert scorecard.predicted_margin(Proposal(recommendation=said, original={})) is None

    def test_may_be_missing(self) -> None:
        assert scorecard.predicted_margin(Proposal()) is None
        assert scorecard.predicted_margin(Proposal(recommendation={"margin": {"suggested": None}})) is None


class TestKeeping:
    def test_waits_for_late_events_and_happens_once(self, caller: Caller, proposal: Proposal) -> None:
        use(caller, STARTS)
        settled = STARTS + 7 * DAY + scorecard.SETTLES
        assert scorecards.keep_due(now=settled - timedelta(seconds=1)) == 0
        assert scorecards.keep_due(now=settled) == 1
        assert scorecards.keep_due(now=settled) == 0
        assert scorecards.keep_due(now=STARTS + 34 * DAY) == 1
        assert [(row.days, row.events, row.value) for row in RealisedMargin.objects.order_by("days")] == [
            (7, 1, Decimal("0.05")),
            (30, 1, Decimal("0.05")),
        ]

    def test_makes_a_score_final(self, caller: Caller, proposal: Proposal) -> None:
        use(caller, STARTS)
        scorecards.keep_due(now=NOW)
        assert scores(proposal) == [(7, 1, True, False), (30, 1, False, False)]

    def test_leaves_prices_alone_that_nobody_proposed(self, caller: Caller) -> None:
        assert scorecards.keep_due(now=NOW) == 0


class TestRow:
    @pytest.fixture
    def row(self, caller: Caller, proposal: Proposal) -> RealisedMargin:
        scorecards.keep_due(now=NOW)
        return RealisedMargin.objects.get()

    def test_never_changes(self, row: RealisedMargin) -> None:
        row.value = Decimal(9)
        with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
            row.save()
        with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
            row.delete()

    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("realised_margin_is_kept_once", {}),
            ("realised_margin_period_is_not_empty", {"days": 0}),
            ("realised_margin_is_of_the_past", {"days": 30, "recorded_at": STARTS}),
            ("realised_margin_counts_add_up", {"days": 30, "unpriced": 2, "events": 1}),
        ],
    )
    def test_holds(self, row: RealisedMargin, constraint: str, change: dict[str, Any]) -> None:
        row.pk = None
        for name, value in change.items():
            setattr(row, name, value)
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            row.save(force_insert=True)


class TestPanel:
    def test_tells_both_margins_on_the_pages_of_proposal_and_rule(self, caller: Caller, proposal: Proposal, time_machine: Any) -> None:
        time_machine.move_to(NOW, tick=False)
        use(caller, STARTS)
        scorecards.keep_due(now=NOW)
        client = people.signed_in(Role.FINANCE)
        for address in (f"proposal/{proposal.pk}", f"pricerule/{proposal.rule.pk}"):
            page = " ".join(client.get(f"/admin/pricing/{address}/change/").content.decode().split())
            for figure in ("60.0 %", "70.0 %", "+10.0 points", "Final, 2026-11-08 to 2026-11-15", "So far, until"):
                assert figure in page, (address, figure)

    def test_is_nothing_before_it_begins(self, caller: Caller) -> None:
        assert panels.of_rule(PriceRule.objects.get()) == []
