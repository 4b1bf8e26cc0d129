"""The demo company: believable, the same for the same seed, and its books hold."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from random import Random
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Avg, Count, F, Q, Sum
from django.db.models.functions import TruncDate
from psycopg import sql

from billing import checks
from billing.budgeting import State
from billing.models import (
    AgentJob,
    ApiKey,
    AutoTopUp,
    Budget,
    BudgetException,
    Customer,
    Dispute,
    Hold,
    LedgerEntry,
    Lot,
    Payout,
    PipelineRun,
    PlatformFee,
    Project,
    Seal,
    StripeEvent,
    Team,
    TopUp,
    TopUpRefund,
    UsageRecord,
    Wallet,
)
from billing.queries import budgets
from config.demo import DAYS, agent_work, company, shape
from pricing import price_book
from pricing.advisor.recommend import recommend
from pricing.models import EventType, PriceVersion, Proposal, ProposalState, Workspace
from pricing.queries import workspace
from reports.models import RealisedMargin, ReconciliationBreak
from reports.queries.advisor_evidence import evidence_for
from tests.billing.factories import ProjectFactory

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
PASSWORD = "a-demo-password"


def found() -> company.Founded:
    return company.found(password=PASSWORD, now=NOW, seed=7, say=lambda _: None)


@contextmanager
def a_database_of_its_own(name: str, *, empty: str) -> Iterator[None]:
    """Let everything inside be committed, to a copy of the empty test database that is thrown away afterwards."""
    before = connection.settings_dict["NAME"]
    connection.close()
    server = psycopg.connect(**{**connection.get_connection_params(), "dbname": "postgres"}, autocommit=True)
    # A session that a thread of an earlier test has left there would be in the way.
    server.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [empty])
    server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(empty)))
    connection.settings_dict["NAME"] = name
    price_book.forget()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
        price_book.forget()
        server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        server.close()


def sums() -> dict[str, Any]:
    """What two equal companies agree on, ids and secrets aside."""
    return {
        "records": UsageRecord.objects.aggregate(Count("id"), Sum("credits"), Sum("input_tokens"), Sum("cost_amount")),
        "entries": sorted(LedgerEntry.objects.values_list("kind").annotate(Count("id"), Sum("credits"), Sum("value"))),
        "customers": sorted(
            Customer.objects.values_list("project__key", "external_id", "environment", "name", "plan", "wallet__balance", "wallet__held")
        ),
        "jobs": sorted(AgentJob.objects.values_list("job_id", "agent_type", "status")),
        "proposals": list(Proposal.objects.order_by("id").values_list("state", "reason", "evidence_hash", "definition", "backtest")),
        "topups": sorted(TopUp.objects.values_list("status", "credits", "bonus_credits", "amount_minor", "currency", "created_at")),
        "money back": sorted(TopUpRefund.objects.values_list("state", "amount_minor", "credits")),
        "payouts": sorted(Payout.objects.values_list("amount_minor", "currency", "is_reconciled")),
        "events": sorted(StripeEvent.objects.values_list("type", "state").annotate(Count("id"))),
        "holds": sorted(Hold.objects.values_list("status").annotate(Count("id"))),
    }


class TestDay:
    def test_a_week_has_working_days(self) -> None:
        random = Random(1)
        counts = [(day.is_weekend, day.count(1000, random)) for day in shape.days(NOW) if day.ago < 7]
        assert max(count for is_weekend, count in counts if is_weekend) < min(count for is_weekend, count in counts if not is_weekend) / 1.5

    def test_drift_grows_from_nothing_to_one(self) -> None:
        drift = [day.drift for day in shape.days(NOW)]
        assert (drift[0], drift[-1]) == (0, 1)
        assert drift == sorted(drift)


@pytest.mark.django_db
class TestCommand:
    def test_keeps_away_from_a_company_that_is_real(self) -> None:
        EventType.objects.create(name="chat.reply", label="Chat reply")
        with pytest.raises(CommandError, match="Use an empty one"):
            call_command("demo", stdout=StringIO())
        assert not Project.objects.exists()

    def test_says_when_an_earlier_run_was_interrupted(self) -> None:
        ProjectFactory.create(is_demo=True)
        with pytest.raises(CommandError, match="begun here and not finished"):
            call_command("demo", stdout=StringIO())


@pytest.fixture(scope="module")
def empty(django_db_setup: None) -> str:
    """The name of the empty test database."""
    return str(connection.settings_dict["NAME"])


@pytest.fixture(scope="module")
def founded(empty: str, django_db_blocker: Any) -> Iterator[company.Founded]:
    with django_db_blocker.unblock(), a_database_of_its_own("demo_company", empty=empty):
        yield found()


@pytest.mark.slow
@pytest.mark.usefixtures("founded")
class TestCompany:
    """One company for all of these: it takes a while to live ninety days."""

    @pytest.fixture(autouse=True)
    def _may_read(self, django_db_blocker: Any) -> Iterator[None]:
        with django_db_blocker.unblock():
            yield

    def test_is_the_same_again_for_the_same_seed(self, empty: str) -> None:
        once = sums()
        with a_database_of_its_own("demo_again", empty=empty):
            found()
            assert sums() == once

    def test_is_declared_as_invented(self) -> None:
        assert Project.objects.filter(is_demo=True).count() == Project.objects.count() == 5
        assert all("(demo)" in name for model in (Project, Team) for name in model.objects.values_list("name", flat=True))
        assert all("(demo)" in customer.name for customer in Customer.objects.all())
        assert "(demo)" in Workspace.objects.get().name
        assert {user.email.rpartition("@")[2] for user in User.objects.all()} == {"example.com"}

    def test_has_people_for_every_role_and_owners_for_every_team(self) -> None:
        assert set(User.objects.values_list("username", flat=True)) == {"finance", "product", "support", "engineer", "admin"}
        assert all(user.check_password(PASSWORD) and user.is_staff for user in User.objects.all())
        assert Team.objects.filter(budget_owner__isnull=False).count() == 4
        assert set(ApiKey.objects.values_list("environment", flat=True)) == {"production", "staging", "development", "evaluation"}

    def test_fills_the_last_ninety_days_and_nothing_else(self, founded: company.Founded) -> None:
        assert 60_000 <= founded.events <= 100_000
        captured = Hold.objects.filter(status="captured").count()
        assert UsageRecord.objects.count() == founded.events + captured
        days = UsageRecord.objects.annotate(on=TruncDate("occurred_at")).values_list("on", flat=True).distinct()
        assert len(days) == DAYS + 1
        assert not UsageRecord.objects.filter(Q(occurred_at__gt=NOW) | Q(recorded_at__gt=NOW)).exists()

    def test_works_on_working_days_and_by_daylight(self) -> None:
        counts: Counter[bool] = Counter()
        hours: Counter[int] = Counter()
        for at in UsageRecord.objects.filter(environment="production", customer__isnull=False).values_list("occurred_at", flat=True):
            counts[at.weekday() >= 5] += 1
            hours[at.hour] += 1
        assert counts[False] / 5 > 1.8 * counts[True] / 2
        assert hours[10] > 5 * hours[3]

    def test_shows_the_storm_on_its_day(self) -> None:
        storm = next(day.on for day in shape.days(NOW) if day.is_storm)
        retried = UsageRecord.objects.filter(retries__gt=0)
        assert set(retried.annotate(on=TruncDate("occurred_at")).values_list("on", flat=True)) == {storm}
        assert retried.count() > 100
        failed = UsageRecord.objects.filter(error_class="overloaded")
        assert failed.count() > 20
        refunded = LedgerEntry.objects.filter(kind="refund", usage_record_id__in=failed.values("id"))
        assert refunded.count() > 20

    def test_has_budgets_of_every_colour_with_exceptions(self) -> None:
        standing = {one.row.action: one.standing.state for one in budgets.shown(Budget.objects.exclude(window="week"), now=NOW)}
        assert standing == {"alert": State.GREEN, "block": State.RED, "downgrade": State.GREEN}
        [weekly] = budgets.shown(Budget.objects.filter(window="week"), now=NOW)
        assert (weekly.standing.state, weekly.row.windows.count() >= 8) == (State.YELLOW, True)
        asked = BudgetException.objects.order_by("id").values_list("budget__action", "state", "requested_by__username")
        assert list(asked) == [("block", "approved", "engineer"), ("alert", "requested", "product")]

    def test_has_asked_the_advisor_and_answered(self) -> None:
        approved = Proposal.objects.get(state=ProposalState.APPROVED)
        assert (str(approved.rule), approved.source, str(approved.decided_by)) == ("agent.run/default", "advisor", "finance")
        assert RealisedMargin.objects.filter(version=approved.version).count() == 2
        rejected = Proposal.objects.get(state=ProposalState.REJECTED)
        assert (str(rejected.rule), "campaign" in rejected.decision_reason) == ("image.generate/default", True)

    def test_leaves_proposals_that_follow_from_its_usage(self) -> None:
        waiting = Proposal.objects.filter(state=ProposalState.PROPOSED).select_related("rule__event_type")
        assert "chat.reply/default" in {str(proposal.rule) for proposal in waiting}
        for proposal in waiting:
            evidence = evidence_for(proposal.rule, now=NOW)
            assert (proposal.source, proposal.evidence_hash) == ("advisor", evidence.hash)
            assert recommend(evidence, workspace.policy(workspace.load())).as_json() == proposal.recommendation

    def test_drifts_to_dearer_and_longer_replies(self) -> None:
        chats = UsageRecord.objects.filter(event_type__name="chat.reply", environment="production", retries=0)
        early, late = chats.filter(occurred_at__lt=NOW - timedelta(days=55)), chats.filter(occurred_at__gt=NOW - timedelta(days=10))

        def per_reply(records: Any, figure: str) -> float:
            return float(records.aggregate(mean=Avg(figure))["mean"])

        assert per_reply(late, "input_tokens") > 1.3 * per_reply(early, "input_tokens")
        assert per_reply(late, "cost_amount") > 1.8 * per_reply(early, "cost_amount")
        dear = Q(model="claude-sonnet-4-5")
        assert late.filter(dear).count() / late.count() > 1.5 * early.filter(dear).count() / early.count()

    def test_has_wallets_in_every_condition(self) -> None:
        assert Customer.objects.filter(environment="production").count() == 150
        assert Wallet.objects.filter(balance__lt=0, status="active").count() == 1
        assert Wallet.objects.filter(balance__lt=0, status="frozen").count() == 1
        assert Wallet.objects.filter(balance__gte=0, balance__lt=F("low_balance_threshold")).count() >= 5
        assert set(Hold.objects.values_list("status", flat=True)) == {"open", "captured", "released", "expired"}
        kinds = set(LedgerEntry.objects.values_list("kind", flat=True))
        assert kinds == {"deposit", "grant", "charge", "refund", "adjustment", "expiry", "transfer", "withdrawal"}
        assert Lot.objects.filter(kind="paid").values("unit_value").distinct().count() >= 3

    def test_sells_through_stripe_and_not_everything_goes_well(self) -> None:
        statuses = Counter(TopUp.objects.values_list("status", flat=True))
        assert set(statuses) == {"open", "paid", "failed", "expired"}
        assert statuses["paid"] > 25
        assert sorted(Dispute.objects.values_list("state", "has_frozen")) == [("open", True), ("won", False)]
        assert sorted(TopUpRefund.objects.values_list("state", "needs_approval")) == [("requested", True), ("succeeded", False)]
        assert set(TopUp.objects.filter(status="paid").values_list("currency", flat=True)) == {"USD", "EUR"}
        assert TopUp.objects.filter(is_suspicious=True).count() == 1

    def test_leaves_a_break_a_dead_letter_and_a_saved_card_to_try(self) -> None:
        unfinished = StripeEvent.objects.exclude(state__in=["done", "ignored"])
        assert list(unfinished.values_list("event_id", "state")) == [("evt_demo_dead_letter", "dead")]
        assert list(ReconciliationBreak.objects.values_list("kind", "amount_minor", "state")) == [("unknown_here", 1900, "open")]
        auto = AutoTopUp.objects.get()
        assert auto.state == "active"
        assert auto.wallet.customer.stripe.method_label.startswith("Visa 4242")
        assert auto.wallet.balance > auto.threshold

    def test_is_paid_out_to_the_last_cent(self) -> None:
        assert Payout.objects.filter(is_reconciled=True).count() == Payout.objects.count() >= 6
        assert PlatformFee.objects.count() > 25

    def test_knows_every_cost_status_environment_and_agent_type(self) -> None:
        assert set(UsageRecord.objects.values_list("cost_status", flat=True)) == {"priced", "unpriced", "reported", "none"}
        assert set(UsageRecord.objects.values_list("environment", flat=True)) >= {"production", "staging", "evaluation"}
        assert UsageRecord.objects.filter(customer=None).exists()
        assert UsageRecord.objects.filter(is_batch=True, cost_status="priced").exists()
        assert set(AgentJob.objects.values_list("agent_type", flat=True)) == set(agent_work.AGENT_TYPES)
        assert PipelineRun.objects.filter(jobs__isnull=True).count() == 0

    def test_has_prices_with_a_history_and_a_future(self) -> None:
        assert PriceVersion.objects.filter(number__gte=3).count() >= 2
        assert set(PriceVersion.objects.values_list("rule__segment", flat=True)) == {"default", "plan", "customer"}
        assert PriceVersion.objects.filter(effective_from__gt=NOW).count() == 1
        used = LedgerEntry.objects.filter(kind="charge").values_list("price_version__rule__segment", flat=True).distinct()
        assert set(used) == {"default", "plan", "customer"}

    def test_has_an_event_that_came_late(self) -> None:
        assert UsageRecord.objects.filter(recorded_at__gt=F("occurred_at") + timedelta(days=2)).count() == 1

    def test_holds_its_books(self) -> None:
        report = checks.run()
        assert report.is_clean, report.breaks[:5]
        assert Seal.objects.count() > 500

    def test_is_found_by_a_second_run_which_does_nothing(self) -> None:
        before, out = sums(), StringIO()
        call_command("demo", stdout=out)
        assert "is here already" in out.getvalue()
        assert sums() == before
