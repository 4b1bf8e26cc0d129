"""E-mails about money, sent to a real mail server: to those who may see to it, once per cause, whatever fails."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from email.message import Message
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction

from billing.models import BillingNotice, BillingNoticeKind, Dispute, DisputeState, EventState, MovementKind, StripeEvent, Wallet
from billing.services import auto_topup_terms, budget_exceptions, disputes, inbox, movement_requests, notices, topup_refunds
from config import mail
from config.roles import Role
from pricing.models import Workspace
from tests import people, stripe_objects
from tests.billing import saving
from tests.billing.budgeting import a_budget
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.selling import a_session, an_order, told
from tests.billing.services.rivals import at_once
from tests.billing.stripe_inbox import arrived, handled_by
from tests.billing.topups import a_paid_topup
from tests.mail_server import MailServer

pytestmark = pytest.mark.django_db
A_PAUSE = timedelta(minutes=2)
_SEND = f"from datetime import datetime; from billing.services import notices; notices.send_due(now=datetime.fromisoformat('{NOW}'))"


def a_person(role: Role, name: str, *permissions: str) -> User:
    person = people.a_person(role, name=name)
    person.email = f"{name}@example.com"
    person.save()
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return person


@pytest.fixture
def ann() -> User:
    return a_person(Role.FINANCE, "ann", "refund_topup", "approve_refund")


@pytest.fixture
def wallet() -> Wallet:
    return a_wallet(a_caller())


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with MailServer() as running:
        settings.EMAIL_URL = running.url
        for name, value in mail.settings_of(running.url).items():
            setattr(settings, name, value)
        yield running


def stop(wallet: Wallet, why: str = "Your card was declined.") -> None:
    if not hasattr(wallet, "auto_topup"):
        saving.an_auto_topup(wallet)
    with transaction.atomic():
        auto_topup_terms.stop_wallet(wallet_id=wallet.pk, why=why, now=NOW)


def owed() -> list[tuple[str, str]]:
    return [(notice.kind, notice.recipient.username) for notice in BillingNotice.objects.order_by("pk").select_related("recipient")]


def text_of(one: Message) -> str:
    body = one.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode()


def sent(server: MailServer) -> tuple[str, str]:
    """Return subject and text of the newest mail."""
    assert server.mails
    return server.mails[-1]["Subject"], text_of(server.mails[-1])


class TestOwing:
    def test_only_those_who_may_see_to_it_and_have_an_address(self, wallet: Wallet, ann: User) -> None:
        a_person(Role.SUPPORT, "support")
        people.a_person(Role.FINANCE, name="without_address")
        stop(wallet)
        assert owed() == [("auto_topup_stopped", "ann")]

    def test_once_per_cause(self, wallet: Wallet, ann: User) -> None:
        topup = an_order(wallet)
        for _ in range(2):
            notices.owe(kind=BillingNoticeKind.TOPUP_MISMATCH, about=topup, now=NOW)
        assert owed() == [("topup_mismatch", "ann")]

    def test_a_mismatch_a_dispute_and_a_large_refund(self, wallet: Wallet, ann: User) -> None:
        ben = a_person(Role.SUPPORT, "ben", "approve_refund")
        told("checkout.session.completed", a_session(an_order(wallet), amount_total=1))
        assert owed() == [("topup_mismatch", "ann")]
        topup = a_paid_topup(wallet, amount_minor=50_000, book_value="500")
        topup_refunds.request(topup_id=topup.pk, amount_minor=100, reason="x", requested_by=ben, now=NOW)
        topup_refunds.request(topup_id=topup.pk, amount_minor=40_000, reason="x", requested_by=ben, now=NOW)
        assert owed()[1:] == [("refund_requested", "ann")]  # not to whoever asked
        dispute = stripe_objects.dispute(payment_intent=topup.payment_intent, charge=topup.charge, amount=100)
        for status in ("warning_needs_response", "needs_response", "under_review"):
            disputes.apply(dispute | {"status": status}, NOW)
        assert owed()[2:] == [("dispute_opened", "ann")]

    def test_a_movement_above_the_limit(self, wallet: Wallet, ann: User, server: MailServer) -> None:
        ben = a_person(Role.FINANCE, "ben", "decide_movement")
        wish = {"kind": MovementKind.GRANT, "wallet_id": wallet.pk, "reason": "Fair credits", "requested_by": ben, "now": NOW}
        movement_requests.move(credits=Decimal(10_000), **wish)  # type: ignore[arg-type]
        assert owed() == []
        movement_requests.move(credits=Decimal("0.5"), **wish)  # type: ignore[arg-type]
        assert owed() == [("movement_requested", "ann")]  # not to whoever asked
        assert notices.send_due(now=NOW) == 1
        subject, text = sent(server)
        assert subject == "0.5 credits by hand for user_42 wait for approval"
        assert "Fair credits" in text

    def test_an_exception_to_a_budget(self, wallet: Wallet, ann: User, server: MailServer) -> None:
        budget = a_budget("100", name="Support bot")
        terms = {"reason": "Launch", "ticket": "OPS-1", "recharge_id": "INV-7", "expires_at": NOW + timedelta(days=1)}
        row = budget_exceptions.request(
            budget=budget,
            extra=Decimal("12.5"),
            requested_by=a_person(Role.FINANCE, "ben"),
            now=NOW,
            **terms,  # type: ignore[arg-type]
        )
        assert owed() == [("exception_requested", "ann")]  # not to whoever asked
        assert notices.send_due(now=NOW) == 1
        subject, text = sent(server)
        assert subject == "12.5 credits more for the budget Support bot wait for approval"
        for words in ("ben asks for more", "Until:     2026-11-21 10:00:00", "Launch", "OPS-1", "INV-7"):
            assert words in text
        budget_exceptions.reject(exception_id=row.pk, reason="No", decided_by=ann, now=NOW)

    @pytest.mark.usefixtures("stripe_desk")
    def test_dead_letters_in_one_mail_an_hour(self, ann: User) -> None:
        def broken(_: StripeEvent, __: Any) -> str:
            raise ValueError("broken")

        with handled_by(broken):
            for number in range(3):
                event = arrived(id=f"evt_dead_{number}")
                StripeEvent.objects.filter(pk=event.pk).update(attempts=inbox.MAX_ATTEMPTS - 1)
            inbox.work_off(now=NOW)
        assert StripeEvent.objects.filter(state=EventState.DEAD).count() == 3
        assert owed() == [("dead_letter", "ann")]


class TestSending:
    def test_says_what_happened_and_where(self, wallet: Wallet, ann: User, server: MailServer, settings: Any) -> None:
        settings.SITE_URL = "https://desk.example.com"
        stop(wallet, "4 declines in a row, the last: <rose>")
        assert notices.send_due(now=NOW) == 1
        subject, text = sent(server)
        assert (server.mails[0]["To"], subject) == ("ann@example.com", "Auto top-up of user_42 has stopped")
        assert "the last: <rose>" in text
        assert f"https://desk.example.com/admin/billing/customer/{wallet.customer_id}/change/" in text
        assert notices.send_due(now=NOW + timedelta(days=1)) == 0

    def test_every_kind_can_be_written(self, wallet: Wallet, ann: User, server: MailServer) -> None:
        Workspace.objects.update(time_zone="Europe/Vienna")
        told("checkout.session.completed", a_session(an_order(wallet), amount_total=1))
        topup = a_paid_topup(wallet, amount_minor=50_000, book_value="500")
        topup_refunds.request(topup_id=topup.pk, amount_minor=40_000, reason="Unhappy", requested_by=people.a_person(name="cem"), now=NOW)
        dispute = Dispute.objects.create(
            stripe_id="dp_1", topup=topup, amount_minor=1234, currency="USD", state=DisputeState.OPEN, opened_at=NOW, changed_at=NOW,
            told_at=NOW, evidence_due_at=NOW, reason="fraudulent",
        )  # fmt: skip
        notices.owe(kind=BillingNoticeKind.DISPUTE_OPENED, about=dispute, now=NOW)
        auto = saving.an_auto_topup(wallet)
        type(auto).objects.update(state="backing_off", failures=1, next_attempt_at=NOW)
        failed = an_order(wallet, channel="auto", status="failed", failure="Your card was declined.")
        notices.owe(kind=BillingNoticeKind.AUTO_TOPUP_DECLINED, about=failed, now=NOW)
        assert notices.send_due(now=NOW) == 4
        type(auto).objects.update(why="The cap of the day is reached: 30 of 30 USD were charged.", state="active")
        notices.owe(kind=BillingNoticeKind.AUTO_TOPUP_CAPPED, about=auto, now=NOW, cause="1:day")
        assert notices.send_due(now=NOW) == 1
        subjects = [one["Subject"] for one in server.mails]
        assert subjects == [
            "A top-up of user_42 was paid otherwise than ordered",
            "A refund of 400 USD for user_42 waits for approval",
            "user_42 disputes 12.34 USD",
            "Auto top-up of user_42 was declined",
            "Auto top-up of user_42 has reached its cap",
        ]
        texts = " ".join(text_of(one) for one in server.mails)
        for words in (
            "Paid otherwise: 0.01 USD",
            "cem asks",
            "Unhappy",
            "Answer by: 2026-11-20 11:00 CET",
            "Next try:",
            "30 of 30 USD",
            "raise the cap",
        ):
            assert words in texts

    def test_what_is_settled_tells_nobody(self, wallet: Wallet, ann: User, server: MailServer) -> None:
        stop(wallet)
        auto_topup_terms.start_again(wallet_id=wallet.pk, reason="x", now=NOW)
        assert notices.send_due(now=NOW) == 0
        assert [notice.outcome for notice in BillingNotice.objects.all()] == ["moot"]

    def test_a_server_that_is_away_delays_and_loses_nothing(self, wallet: Wallet, ann: User, server: MailServer) -> None:
        stop(wallet)
        server.__exit__(None, None, None)
        assert notices.send_due(now=NOW) == 0
        server.__enter__()
        assert notices.send_due(now=NOW + A_PAUSE - timedelta(seconds=1)) == 0
        assert notices.send_due(now=NOW + A_PAUSE) == 1


@pytest.mark.django_db(transaction=True)
class TestSenders:
    def test_many_at_once_send_each_mail_once(self, server: MailServer) -> None:
        for number in range(6):
            a_person(Role.FINANCE, f"finance_{number}")
        stop(a_wallet(a_caller()))
        results = at_once([lambda: notices.send_due(now=NOW)] * 4)
        assert sum(result for result in results if not isinstance(result, Exception)) == 6
        assert len({one["To"] for one in server.mails}) == len(server.mails) == 6

    @pytest.mark.slow
    @pytest.mark.parametrize("taken", [0, 1])
    def test_a_killed_one_delays_its_mail(self, taken: int, server: MailServer) -> None:
        """Where the server had taken it, nobody knows: it is sent again, under the id by which mail programs know a double."""
        a_person(Role.FINANCE, "ann")
        stop(a_wallet(a_caller()))
        children: list[subprocess.Popen[bytes]] = []
        started = threading.Event()

        def kill(word: str = "MAIL") -> None:
            if word == "MAIL" and started.wait(60):
                children[0].kill()
                children[0].wait(60)

        if taken:
            server.on_mail = kill
        else:
            server.on_word = kill
        database = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"
        environment = {**os.environ, "DATABASE_URL": database, "EMAIL_URL": server.url}
        children.append(subprocess.Popen([sys.executable, "manage.py", "shell", "-c", _SEND], cwd=configured.BASE_DIR, env=environment))
        started.set()
        assert children[0].wait(60) == -signal.SIGKILL
        server.on_mail, server.on_word = lambda: None, lambda _word: None
        assert (BillingNotice.objects.get().outcome, len(server.mails)) == ("due", taken)
        assert notices.send_due(now=NOW) == 0
        assert notices.send_due(now=NOW + A_PAUSE) == 1
        assert len(server.mails) == taken + 1
        assert len({one["Message-ID"] for one in server.mails}) == 1
