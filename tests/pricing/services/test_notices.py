"""E-mails about proposals, sent to a real mail server that is up, down, or loses its sender."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.utils import timezone

from config import mail
from config.roles import Role
from pricing import tasks
from pricing.models import NoticeOutcome, PriceRule, Proposal, ProposalNotice, Workspace
from pricing.queries import proposals as queries
from pricing.services import notices, prices, proposals
from pricing.services.refusals import OpenProposalError
from tests import people
from tests.billing.services.rivals import at_once
from tests.mail_server import MailServer
from tests.pricing.factories import LAST_YEAR, NOW, EventTypeFactory, PriceRuleFactory
from tests.pricing.proposing import a_price, a_proposal, advised

pytestmark = pytest.mark.django_db
A_PAUSE = timedelta(minutes=2)
_SEND = f"from datetime import datetime; from pricing.services import notices; notices.send_due(now=datetime.fromisoformat('{NOW}'))"


def a_person(role: Role, name: str, *, email: str | None = None, **fields: Any) -> User:
    person = people.a_person(role, name=name)
    User.objects.filter(pk=person.pk).update(email=f"{name}@example.com" if email is None else email, **fields)
    person.refresh_from_db()
    return person


@pytest.fixture
def ann() -> User:
    return a_person(Role.PRODUCT_MANAGER, "ann")


@pytest.fixture
def ben() -> User:
    return a_person(Role.FINANCE, "ben")


@pytest.fixture
def rule() -> PriceRule:
    return priced(PriceRuleFactory.create(event_type__name="chat.reply"))


def priced(rule: PriceRule) -> PriceRule:
    prices.publish_version(rule=rule, credits_per_event=Decimal(4), effective_from=LAST_YEAR, reason="Opening", actor=None, now=NOW)
    return rule


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with MailServer() as running:
        settings.EMAIL_URL = running.url
        for name, value in mail.settings_of(running.url).items():
            setattr(settings, name, value)
        yield running


def owed() -> set[tuple[str, str]]:
    return {(notice.kind, notice.recipient.username) for notice in ProposalNotice.objects.select_related("recipient")}


def outcomes() -> list[str]:
    return list(ProposalNotice.objects.order_by("id").values_list("outcome", flat=True))


def edited(proposal: Proposal, editor: User, credits: str) -> Proposal:
    return proposals.edit(proposal=proposal, definition=a_price(credits), effective_from=None, reason="Rounder", actor=editor, now=NOW)


class TestOwing:
    def test_those_who_may_decide_are_told(self, rule: PriceRule, ann: User, ben: User) -> None:
        a_person(Role.FINANCE, "gone", is_active=False)
        a_person(Role.FINANCE, "without_address", email="")
        a_person(Role.SUPPORT, "support")
        User.objects.create_superuser("root", "root@example.com")
        a_proposal(rule, ann)
        assert owed() == {("proposed", "ben"), ("proposed", "root")}

    def test_whoever_proposed_hears_what_became_of_it(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposals.reject(proposal=a_proposal(rule, ann), reason="No", actor=ben, now=NOW)
        assert owed() == {("proposed", "ben"), ("decided", "ann")}

    def test_a_draft_tells_nobody_before_it_is_submitted(self, rule: PriceRule, ann: User, ben: User) -> None:
        proposal = a_proposal(rule, ben)
        draft = proposals.save_draft(rule=rule, definition=proposal.as_definition(), reason="x", actor=ann, now=NOW)
        proposals.withdraw(proposal=proposal, actor=ben, now=NOW)
        assert owed() == {("proposed", "ann")}
        proposals.submit(proposal=draft, actor=ann, now=NOW)
        assert owed() == {("proposed", "ann"), ("proposed", "ben")}

    def test_the_advisor_is_told_nothing(self, rule: PriceRule, ben: User) -> None:
        proposal = advised(rule)
        assert proposal is not None
        proposals.reject(proposal=proposal, reason="No", actor=ben, now=NOW)
        assert owed() == {("proposed", "ben")}

    def test_those_who_may_still_decide_hear_of_every_edit(self, rule: PriceRule, ann: User, ben: User) -> None:
        a_person(Role.FINANCE, "cem")
        proposal = a_proposal(rule, ann)
        for credits in ("6", "7"):
            edited(proposal, ben, credits)
        told = ProposalNotice.objects.filter(kind="edited").order_by("id")
        assert [(notice.recipient.username, notice.edit) for notice in told] == [("cem", edit) for edit in proposal.edits.all()]

    def test_a_draft_that_is_rewritten_tells_nobody(self, rule: PriceRule, ann: User, ben: User) -> None:
        edited(proposals.save_draft(rule=rule, definition=a_price("5"), reason="x", actor=ann, now=NOW), ann, "6")
        assert not ProposalNotice.objects.exists()

    @pytest.mark.usefixtures("ben")
    def test_what_was_refused_tells_nobody(self, rule: PriceRule, ann: User) -> None:
        a_proposal(rule, ann)
        with pytest.raises(OpenProposalError):
            a_proposal(rule, ann)
        assert ProposalNotice.objects.count() == 1


class TestSending:
    def test_says_what_is_asked_and_what_was_decided(self, rule: PriceRule, ann: User, ben: User, server: MailServer) -> None:
        proposal = a_proposal(rule, ann, reason="Costs <rose>")
        assert notices.send_due(now=NOW) == 1
        [asked] = server.mails
        assert (asked["To"], asked["Subject"]) == ("ben@example.com", "A price for chat.reply/default waits for your decision")
        body = asked.get_payload()
        for words in ("ann proposes", "4 credits per chat.reply", "5 credits per chat.reply", "Costs <rose>", "2026-11-21 10:00 UTC"):
            assert words in body
        proposals.approve(proposal=proposal, reason="Agreed", actor=ben, now=NOW)
        assert notices.send_due(now=NOW) == 1
        told = server.mails[1]
        assert (told["To"], told["Subject"]) == ("ann@example.com", "Your price for chat.reply/default was approved")
        assert "by ben" in told.get_payload()
        assert "Agreed" in told.get_payload()
        assert notices.send_due(now=NOW + timedelta(days=1)) == 0
        assert len(server.mails) == 2

    @pytest.mark.usefixtures("ben")
    def test_says_what_was_edited_last_and_by_whom(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        proposal, cem = a_proposal(rule, ann), a_person(Role.FINANCE, "cem")
        notices.send_due(now=NOW)
        edited(proposal, cem, "6")
        edited(proposal, cem, "7")
        assert notices.send_due(now=NOW) == 1  # one mail: what the first edit said holds no more
        told = server.mails[-1]
        assert (told["To"], told["Subject"]) == ("ben@example.com", "The proposed price for chat.reply/default is another one now")
        for words in ("cem put another price", "7 credits per chat.reply", "Rounder"):
            assert words in told.get_payload()
        assert outcomes()[-2:] == ["moot", "sent"]

    def test_gives_the_reason_of_the_price_that_stands_there_by_then(
        self, rule: PriceRule, ann: User, ben: User, server: MailServer
    ) -> None:
        edited(a_proposal(rule, ann, reason="Costs rose"), ben, "6")
        notices.send_due(now=NOW)
        [asked] = [mail.get_payload() for mail in server.mails if "ann proposes" in mail.get_payload()]
        assert "6 credits per chat.reply" in asked
        assert "Rounder" in asked
        assert "Costs rose" not in asked

    @pytest.mark.usefixtures("ben")
    def test_says_times_as_the_workspace_does(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        Workspace.objects.update(time_zone="Europe/Vienna")
        a_proposal(rule, ann)
        notices.send_due(now=NOW)
        assert "2026-11-21 11:00 CET" in server.mails[0].get_payload()

    @pytest.mark.usefixtures("ben")
    def test_a_server_that_is_away_delays_and_loses_nothing(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        a_person(Role.FINANCE, "cem")
        a_proposal(rule, ann)
        server.__exit__(None, None, None)
        assert notices.send_due(now=NOW) == 0
        first, second = ProposalNotice.objects.order_by("id")
        assert "Connection refused" in first.last_error
        assert (first.attempts, first.due_at, second.attempts) == (1, NOW + A_PAUSE, 0)  # one try tells that it is away
        server.__enter__()
        assert notices.send_due(now=NOW + A_PAUSE - timedelta(seconds=1)) == 1
        assert notices.send_due(now=NOW + A_PAUSE) == 1
        assert sorted(sent["To"] for sent in server.mails) == ["ben@example.com", "cem@example.com"]
        assert outcomes() == ["sent", "sent"]

    @pytest.mark.usefixtures("ben")
    def test_pauses_grow(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        a_proposal(rule, ann)
        server.__exit__(None, None, None)
        at, pauses = NOW, []
        for _ in range(8):
            notices.send_due(now=at)
            due = ProposalNotice.objects.get().due_at
            pauses.append((due - at) // timedelta(minutes=1))
            at = due
        assert pauses == [2, 4, 8, 16, 32, 64, 120, 120]
        server.__enter__()
        assert notices.send_due(now=at) == 1

    def test_what_was_decided_meanwhile_asks_nobody(self, rule: PriceRule, ann: User, ben: User, server: MailServer) -> None:
        proposals.withdraw(proposal=a_proposal(rule, ann), actor=ann, now=NOW)
        assert notices.send_due(now=NOW) == 0
        assert (outcomes(), server.mails) == (["moot"], [])

    @pytest.mark.usefixtures("ben")
    def test_what_is_days_old_is_of_no_use(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        a_proposal(rule, ann)
        assert notices.send_due(now=NOW + timedelta(days=3)) == 0
        assert (outcomes(), server.mails) == (["expired"], [])

    @pytest.mark.usefixtures("ben", "server")
    def test_a_line_break_in_a_key_breaks_no_header(self, ann: User, server: MailServer) -> None:
        event_type = EventTypeFactory.create(name="chat.reply")
        rule = priced(PriceRuleFactory.create(event_type=event_type, segment="plan", segment_key="pro\nBcc: x@y.z"))
        a_proposal(rule, ann)
        assert notices.send_due(now=NOW) == 1
        assert (server.mails[0]["Bcc"], server.mails[0]["To"]) == (None, "ben@example.com")

    def test_an_address_that_is_none_holds_nobody_up(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        a_person(Role.FINANCE, "ben", email="ben\n@example.com")
        a_person(Role.FINANCE, "cem")
        a_proposal(rule, ann)
        assert notices.send_due(now=NOW) + notices.send_due(now=NOW) == 1
        assert [sent["To"] for sent in server.mails] == ["cem@example.com"]

    @pytest.mark.usefixtures("ben")
    def test_without_a_mail_server_nothing_fails_and_the_proposal_waits(self, rule: PriceRule, ann: User) -> None:
        assert configured.EMAIL_URL == ""
        a_proposal(rule, ann)
        assert notices.send_due(now=NOW) == 0
        assert outcomes() == ["due"]
        assert ProposalNotice.objects.get().attempts == 0
        assert queries.open_proposals().count() == 1

    @pytest.mark.usefixtures("ben", "server")
    def test_what_is_done_stays_done(self, rule: PriceRule, ann: User) -> None:
        a_proposal(rule, ann)
        notices.send_due(now=NOW)
        with pytest.raises(IntegrityError, match="stays as it is"):
            ProposalNotice.objects.update(outcome=NoticeOutcome.DUE, done_at=None)


@pytest.mark.django_db(transaction=True)
class TestSenders:
    def test_many_at_once_send_each_mail_once(self, rule: PriceRule, ann: User, server: MailServer) -> None:
        for number in range(12):
            a_person(Role.FINANCE, f"decider_{number}")
        a_proposal(rule, ann)
        results = at_once([partial(notices.send_due, now=NOW)] * 4)
        assert sum(result for result in results if not isinstance(result, Exception)) == 12
        assert len({sent["To"] for sent in server.mails}) == len(server.mails) == 12

    @pytest.mark.slow
    @pytest.mark.usefixtures("ben")
    @pytest.mark.parametrize(("moment", "taken"), [("before the server took the mail", 0), ("before it was marked", 1)])
    def test_a_killed_one_delays_its_mail(self, moment: str, taken: int, rule: PriceRule, ann: User, server: MailServer) -> None:
        """Where the server had taken it, nobody knows: it is sent again, under the id by which mail programs know a double."""
        a_proposal(rule, ann)
        started = threading.Event()
        killer = _Killer(started)
        if taken:
            server.on_mail = killer.kill
        else:
            server.on_word = lambda word: killer.kill() if word == "MAIL" else None
        killer.child = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-c", _SEND],
            cwd=configured.BASE_DIR,
            env={**os.environ, "DATABASE_URL": _this_database(), "EMAIL_URL": server.url},
        )
        started.set()
        assert killer.child.wait(60) == -signal.SIGKILL
        server.on_mail, server.on_word = lambda: None, lambda _word: None
        assert (outcomes(), len(server.mails)) == (["due"], taken)
        assert notices.send_due(now=NOW) == 0  # it may still be under way, for all that anybody knows
        assert notices.send_due(now=NOW + A_PAUSE) == 1
        assert notices.send_due(now=NOW + timedelta(days=1)) == 0
        assert len(server.mails) == taken + 1
        assert len({sent["Message-ID"] for sent in server.mails}) == 1


class _Killer:
    def __init__(self, started: threading.Event) -> None:
        self.started = started
        self.child: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        self.started.wait(60)
        assert self.child is not None
        self.child.kill()
        self.child.wait(60)


def _this_database() -> str:
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"


def test_a_task_sends_what_is_due(ann: User, ben: User, server: MailServer) -> None:
    a_proposal(PriceRuleFactory.create(), ann, effective_from=None, now=timezone.now())
    tasks.send_notices()
    assert [sent["To"] for sent in server.mails] == [ben.email]
