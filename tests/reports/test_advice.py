"""Advice from recorded usage: what is proposed, that nothing is proposed twice, and that one bad rule stops no other."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command

from billing.events import Caller
from billing.models import Basis, CostStatus, UsageRecord
from billing.services import rerating
from billing.services.rerating import Scope
from pricing.advisor.evidence import Evidence
from pricing.advisor.policy import Policy
from pricing.advisor.recommend import recommend
from pricing.models import PriceRule, PriceVersion, Proposal, ProposalState, ProviderRate, Workspace
from pricing.queries import proposals as queries
from pricing.services import advising, proposals, rate_changes
from pricing.services.refusals import StaleProposalError
from reports import advice, tasks
from reports.advice import Advice
from tests.billing.factories import NOW, a_caller, a_price, a_wallet
from tests.billing.services.rivals import at_once
from tests.reports.usage import LARGE, act, tokens, two_models

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
FIRST = datetime(2026, 11, 13, tzinfo=UTC)  # the current window: seven days up to yesterday


def a_week(caller: Caller, first: datetime, *, output_tokens: int, event: str = "chat.reply") -> None:
    for day in range(7):
        act(caller, first + day * DAY + timedelta(hours=9), event=event, usage=tokens(LARGE, 0, output_tokens))


@pytest.fixture
def caller() -> Caller:
    """Four credits for a cent each; replies cost 0.015 the week before and 0.03 since, which leaves 25 % of 62.5 %."""
    two_models()
    a_price("4")
    settings = {"advisor_window_days": 7, "advisor_minimum_events": 5}
    Workspace.objects.update_or_create(pk=1, defaults=settings)
    caller = a_caller()
    a_wallet(caller, credits="1000", now=FIRST - 8 * DAY)
    a_week(caller, FIRST - 7 * DAY, output_tokens=1000)
    a_week(caller, FIRST, output_tokens=2000)
    return caller


def advise(*, now: datetime = NOW, **options: Any) -> list[Advice]:
    return list(advice.advise_all(advice.rules_in_force(now=now), now=now, **options))


def command(*arguments: str) -> tuple[str, int]:
    out = StringIO()
    with time_machine.travel(NOW, tick=False):
        try:
            call_command("advise", *arguments, stdout=out)
        except SystemExit as ended:
            return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


class TestProposal:
    def test_follows_from_the_usage(self, caller: Caller) -> None:
        [given] = advise()
        made = Proposal.objects.get()
        assert (given.proposal, given.outcome) == (made.pk, f"{made} was opened.")
        assert made.definition["credits_per_event"] == "5"  # a quarter more is as far as it goes at a time
        assert made.backtest
        assert (made.backtest["events"], made.backtest["credits_after"], made.backtest["margin_before"]) == (7, "35", "0.25")

    def test_can_be_replayed_from_what_is_stored(self, caller: Caller) -> None:
        advise()
        made = Proposal.objects.get()
        assert made.evidence
        assert made.policy
        again = recommend(Evidence.from_json(made.evidence), Policy.from_json(made.policy))
        assert again.as_json() == made.recommendation

    def test_predicts_what_the_backtest_finds(self, caller: Caller) -> None:
        advise()
        made = Proposal.objects.get()
        assert made.recommendation
        assert made.backtest
        assert Decimal(made.recommendation["margin"]["suggested"]) == Decimal(made.backtest["margin_after"])

    def test_is_opened_once(self, caller: Caller) -> None:
        advise()
        [again] = advise(now=NOW + timedelta(hours=3))
        assert again.outcome.endswith("is open already.")
        assert Proposal.objects.count() == 1

    def test_is_replaced_when_what_it_stands_on_changes(self, caller: Caller) -> None:
        advise()
        act(caller, FIRST + DAY, usage=tokens(LARGE, 0, 9000))  # a late one
        advise(now=NOW + timedelta(minutes=5))
        states = Proposal.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == [ProposalState.SUPERSEDED, ProposalState.PROPOSED]

    def test_stands_back_behind_a_persons(self, caller: Caller) -> None:
        ann = User.objects.create(username="ann")
        wanted = replace(PriceVersion.objects.get().definition(), credits_per_event=Decimal(6))
        proposals.propose(rule=PriceRule.objects.get(), definition=wanted, reason="Mine", actor=ann, now=NOW)
        [given] = advise()
        assert given.outcome.startswith("Nothing was proposed")
        assert Proposal.objects.count() == 1

    def test_is_not_made_in_a_dry_run(self, caller: Caller) -> None:
        [given] = advise(is_dry=True)
        assert given.recommendation
        assert given.recommendation.definition
        assert not Proposal.objects.exists()


class TestRerating:
    """What a re-rating changes under a proposal that waits."""

    def rerate(self, *, now: datetime, **scope: Any) -> None:
        period = Scope(FIRST - 8 * DAY, now, **{"basis": Basis.ALL, **scope})
        run = rerating.request(scope=period, reason="Rates", actor="user:vera", now=now)
        rerating.run(rerating_id=run.pk, clock=lambda: now)

    def dearer(self, *, now: datetime) -> None:
        ann, _ = User.objects.get_or_create(username="ann")
        [rate] = ProviderRate.objects.filter(series__unit_kind="output", series__provider_model__name=LARGE, voided_at=None)
        price = rate.price + 1
        rate_changes.correct(rate=rate, price=price, per=rate.per, source="invoice", reason="A slip", actor=ann, now=now)

    def test_that_finds_other_costs_makes_it_stale_and_advice_is_given_again(self, caller: Caller) -> None:
        advise()
        first = Proposal.objects.get()
        later = NOW + timedelta(hours=1)
        self.dearer(now=later)
        self.rerate(now=later)
        first.refresh_from_db()
        assert first.recosted_at == later
        ben = User.objects.create(username="ben")
        with pytest.raises(StaleProposalError, match="re-rated since"):
            proposals.approve(proposal=first, effective_from=NOW + DAY, reason="Ok", actor=ben, now=later)
        advise(now=later + timedelta(minutes=1))
        second = Proposal.objects.get(state=ProposalState.PROPOSED)
        assert (second.pk != first.pk, queries.is_stale(queries.with_staleness().get(pk=second.pk))) == (True, False)

    def test_that_finds_nothing_leaves_it(self, caller: Caller) -> None:
        advise()
        self.rerate(now=NOW + timedelta(hours=1))
        assert Proposal.objects.get().recosted_at is None

    def test_that_was_at_work_while_usage_was_read_is_not_missed(self, caller: Caller) -> None:
        """Its costs were recorded after the moment of which the evidence tells, and before there was a proposal to mark."""
        self.dearer(now=NOW - DAY)
        self.rerate(now=NOW + timedelta(minutes=1))
        advise(now=NOW)
        assert Proposal.objects.get().recosted_at == NOW

    def test_and_new_usage_after_the_window_leaves_it(self, caller: Caller) -> None:
        advise()
        act(caller, NOW, usage=tokens(LARGE, 0, 90_000))
        assert not queries.is_stale(queries.with_staleness().get())


class TestRules:
    def test_that_fail_are_told_and_stop_no_other(self, caller: Caller) -> None:
        version = a_price("2", event="aaa.broken")
        UsageRecord.objects.create(
            id=1,
            occurred_at=FIRST,
            recorded_at=FIRST,
            project_id=caller.project_id,
            environment="production",
            event_type=version.rule.event_type,
            price_version=version,
            cost_status=CostStatus.PRICED,
            cost_amount=Decimal(1),  # and no line that says of what
            cost_currency="USD",
        )
        broken, fine = advise()
        assert (broken.rule, "add up" in broken.error) == ("aaa.broken/default", True)
        assert fine.proposal
        out, code = command("--dry-run")
        assert code == 1
        assert "aaa.broken/default: FAILED" in out
        assert "chat.reply/default v1: RAISE" in out

    def test_are_those_with_a_price_in_force(self, caller: Caller) -> None:
        a_price("2", event="image.generate", effective_from=NOW + DAY)
        retired = a_price("2", event="old.event").rule.event_type
        retired.is_active = False
        retired.save()
        assert list(map(str, advice.rules_in_force(now=NOW))) == ["chat.reply/default"]


class TestBacktestOpen:
    def test_tests_what_a_person_proposes(self, caller: Caller) -> None:
        ann = User.objects.create(username="ann")
        wanted = replace(PriceVersion.objects.get().definition(), credits_per_event=Decimal(6))
        proposals.propose(rule=PriceRule.objects.get(), definition=wanted, reason="Mine", actor=ann, now=NOW)
        assert advice.backtest_open(now=NOW) == 1
        made = Proposal.objects.get()
        assert made.backtest
        assert (made.backtest["start"], made.backtest["credits_after"]) == (FIRST.isoformat(), "42")
        assert advice.backtest_open(now=NOW) == 0

    def test_leaves_alone_for_an_hour_what_any_worker_has_tried(self, caller: Caller) -> None:
        """Whatever a process remembers: the attempt of another one counts, and an edit begins anew."""
        ann = User.objects.create(username="ann")
        wanted = replace(PriceVersion.objects.get().definition(), credits_per_event=Decimal(6))
        proposal = proposals.propose(rule=PriceRule.objects.get(), definition=wanted, reason="Mine", actor=ann, now=NOW)
        hour = timedelta(hours=1)
        assert advising.claim_backtest(proposal=proposal, again_after=hour, now=NOW)
        cache.clear()
        assert advice.backtest_open(now=NOW + hour - timedelta(seconds=1)) == 0
        assert advice.backtest_open(now=NOW + hour) == 1

    def test_begins_anew_with_an_edited_price(self, caller: Caller) -> None:
        ann = User.objects.create(username="ann")
        wanted = replace(PriceVersion.objects.get().definition(), credits_per_event=Decimal(6))
        proposal = proposals.propose(rule=PriceRule.objects.get(), definition=wanted, reason="Mine", actor=ann, now=NOW)
        assert advising.claim_backtest(proposal=proposal, again_after=timedelta(hours=1), now=NOW)
        edited = replace(wanted, credits_per_event=Decimal(7))
        proposals.edit(proposal=proposal, definition=edited, effective_from=None, reason="Better", actor=ann, now=NOW)
        assert not advising.claim_backtest(proposal=proposal, again_after=timedelta(hours=1), now=NOW)
        assert advice.backtest_open(now=NOW) == 1


class TestCommand:
    def test_says_what_and_why(self, caller: Caller) -> None:
        out, code = command("chat.reply")
        assert code == 0
        assert "chat.reply/default v1: RAISE" in out
        assert "62.5 % at the baseline, 25.0 % now, 60.0 % wanted" in out
        assert "tokens" in out
        assert "maximum_step" in out
        assert "was opened" in out

    def test_prints_json(self, caller: Caller) -> None:
        out, _ = command("--json")
        [given] = json.loads(out)
        assert given["recommendation"]["verdict"] == "raise"
        assert given["proposal"] == Proposal.objects.get().pk

    def test_tells_what_it_would_have_said(self, caller: Caller) -> None:
        out, _ = command("--as-of", "2026-11-13")
        assert "62.5 % now" in out
        assert not Proposal.objects.exists()

    def test_knows_no_other_rules(self, caller: Caller) -> None:
        with pytest.raises(CommandError, match=r"no rule chat\.answer with a price in force. There are: chat\.reply/default"):
            command("chat.answer")

    def test_has_nothing_to_say_without_prices(self) -> None:
        assert command() == ("No price is in force.\n", 0)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_opens_one_proposal(self, caller: Caller) -> None:
        with time_machine.travel(NOW, tick=False):
            assert at_once([tasks.advise] * 3) == [None] * 3
        assert Proposal.objects.get().state == ProposalState.PROPOSED
