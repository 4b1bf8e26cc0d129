"""Messages about alerts, sent to a real mail server and a real receiver: each arrives, once to who knows its id, whatever fails."""

import base64
import hashlib
import hmac
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection

from billing.models import Alert, AlertChannel, AlertDelivery, AlertKind, Wallet
from billing.queries import alert_words
from billing.services import alert_outbox, alerts
from config import mail
from config.base import webhook
from tests.billing.factories import NOW, a_caller, a_wallet
from tests.billing.services.rivals import at_once
from tests.http_receiver import TAKEN, Call, Receiver, answering
from tests.mail_server import MailServer

pytestmark = pytest.mark.django_db(transaction=True)
A_PAUSE = timedelta(minutes=2)
_SEND = (
    "from datetime import datetime; from billing.services import alert_outbox; "
    f"alert_outbox.send_due(now=datetime.fromisoformat('{NOW.isoformat()}'))"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with MailServer() as running:
        settings.EMAIL_URL = running.url
        for name, value in mail.settings_of(running.url).items():
            setattr(settings, name, value)
        yield running


def a_channel(address: str, kind: str = "webhook", **terms: Any) -> AlertChannel:
    return AlertChannel.objects.create(name=f"{kind} {address}", kind=kind, address=address, **terms)


def an_alert(wallet: Wallet | None = None, kind: AlertKind = AlertKind.WALLET_LOW, customer: str = "user_42") -> Alert:
    """Raise an alert; its channels are there by then."""
    facts = {"project": "bot", "environment": "production", "customer": customer, "available": "3.5", "balance": "4",
             "low_balance_threshold": "10", "credits": "3.5", "expires_at": "2026-11-22T00:00:00+00:00"}  # fmt: skip
    wallet = wallet or a_wallet(a_caller(), customer)
    alert = alerts.raise_alert(kind=kind, cause=f"{kind}:{Alert.objects.count()}", facts=facts, now=NOW, wallet=wallet)
    assert alert
    return alert


def send(minutes: int = 0) -> int:
    return alert_outbox.send_due(now=NOW + timedelta(minutes=minutes))


def outcomes() -> list[str]:
    return list(AlertDelivery.objects.order_by("pk").values_list("outcome", flat=True))


def is_signed(call: Call, secret: str) -> bool:
    """Verify as a receiver does that has read Standard Webhooks and nothing of ours."""
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    expected = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return call.headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"


class TestMessages:
    def test_a_webhook_is_signed_and_tells_figures_words_and_where(self, receiver: Receiver, settings: Any) -> None:
        settings.SITE_URL = "https://desk.example.com"
        channel = a_channel(receiver.url)
        alert = an_alert()
        assert send() == 1
        [call] = receiver.calls
        assert is_signed(call, alert_outbox.secret_of(channel))
        assert not is_signed(call._replace(body=call.body + b" "), alert_outbox.secret_of(channel))
        assert call.path == "/alerts?secret=T0P"
        assert call.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
        assert json.loads(call.body) == {
            "id": call.headers["webhook-id"],
            "type": "alert.raised",
            "alert": alert.pk,
            "kind": "wallet_low",
            "raised_at": "2026-11-20T10:00:00+00:00",
            "facts": alert.facts,
            "words": "The wallet of user_42 (bot, production) has 3.5 credits available, below the mark of 10 credits.",
            "next_step": alert_words.next_step(alert),
            "link": f"https://desk.example.com/admin/billing/alert/{alert.pk}/change/",
        }
        assert (send(), outcomes()) == (0, ["sent"])

    def test_secrets_differ_and_can_be_changed(self, receiver: Receiver) -> None:
        one, other = a_channel(receiver.url), a_channel("https://other.example")
        old = alert_outbox.secret_of(one)
        one.secret_number = 2
        assert len({old, alert_outbox.secret_of(one), alert_outbox.secret_of(other)}) == 3

    def test_slack_gets_text_that_calls_nobody(self, receiver: Receiver) -> None:
        a_channel(receiver.url, "slack")
        an_alert(customer="<!channel>&co")
        assert send() == 1
        text = json.loads(receiver.calls[0].body)["text"]
        assert text.startswith("The wallet of &lt;!channel&gt;&amp;co (bot, production) has 3.5 credits")
        assert "webhook-signature" not in receiver.calls[0].headers

    def test_an_e_mail(self, server: MailServer) -> None:
        a_channel("desk@example.com", "email")
        an_alert()
        assert send() == 1
        [one] = server.mails
        assert (one["To"], one["Subject"]) == ("desk@example.com", "user_42 is low on credits")
        assert one["Message-ID"].startswith("<alert-delivery-")

    def test_programs_hear_of_the_end_and_after_the_beginning(self, receiver: Receiver) -> None:
        a_channel(receiver.url)
        a_channel(f"{receiver.url}&slack", "slack")
        alert = an_alert(kind=AlertKind.CREDITS_EXPIRE)
        receiver.answer = lambda _call: [answering(500)]
        send()
        alerts.resolve(alerts=[alert], by=None, now=NOW)
        receiver.answer = lambda _call: [TAKEN]
        assert send() == 0, "the word of its end waits"
        assert send(2) == 3
        types = [json.loads(call.body).get("type", "slack") for call in receiver.calls if "slack" not in call.path]
        assert types == ["alert.raised", "alert.raised", "alert.resolved"]


class TestWhatGoesWrong:
    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            ([answering(500, "o\x00h " * 200)], "answered 500: o h o h"),
            ([answering(404, "no such hook")], "answered 404: no such hook"),
            ([answering(429)], "answered 429"),
            ([answering(302, "", "Location: http://127.0.0.1:1/elsewhere")], "answered 302: redirects are not followed"),
            ([b"\x16\x03\x01\x00 rubbish \x00\r\n\r\n"], "no answer in HTTP: BadStatusLine"),
            ([], "no answer in HTTP"),
            ([TAKEN[:10]], "no answer in HTTP"),
        ],
    )
    def test_delays_it_and_it_arrives_under_the_same_id(self, answer: list[bytes], why: str, receiver: Receiver) -> None:
        a_channel(receiver.url)
        an_alert()
        receiver.answer = lambda _call: answer
        assert send() == 0
        [row] = AlertDelivery.objects.all()
        assert (row.outcome, row.attempts) == ("due", 1)
        assert row.last_error.startswith(why)
        assert len(row.last_error) < 250, "what receivers say is not kept at length"
        receiver.answer = lambda _call: [TAKEN]
        assert (send(1), send(2), outcomes()) == (0, 1, ["sent"])
        first, second = receiver.calls
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body

    def test_a_receiver_that_is_down(self, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
        a_channel(receiver.url)
        an_alert()
        receiver.__exit__(None, None, None)
        with caplog.at_level(logging.DEBUG):
            assert send() == 0
        receiver.__enter__()
        assert send(2) == 1
        assert "Connection refused" in caplog.text
        assert "T0P" not in caplog.text, "an address is a password"

    def test_one_that_never_comes_to_an_end_is_cut_off(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhook, "ALTOGETHER_SECONDS", 0.5)
        a_channel(receiver.url)
        an_alert()
        over = threading.Event()

        def drip(_call: Call) -> Iterator[bytes]:
            while not over.wait(0.05):
                yield b"HTTP/1.1 100 Continue\r\n\r\n"

        receiver.answer = drip
        assert send() == 0
        over.set()
        assert outcomes() == ["due"]

    def test_one_that_does_not_answer_holds_nobody_up(self, receiver: Receiver, server: MailServer) -> None:
        """The silent one answers once the others have got theirs: if they waited for it, it would time out."""
        others = threading.Semaphore(0)
        with Receiver() as silent:
            silent.answer = lambda _call: [TAKEN] if all(others.acquire(timeout=4) for _ in range(2)) else []
            receiver.answer = lambda _call: (others.release(), [TAKEN])[1]  # type: ignore[func-returns-value]
            server.on_mail = others.release
            a_channel(silent.url)
            a_channel(receiver.url)
            a_channel("desk@example.com", "email")
            an_alert()
            assert send() == 3

    def test_one_message_that_is_refused_holds_up_no_other(self, receiver: Receiver) -> None:
        a_channel(receiver.url)
        wallet = a_wallet(a_caller())
        refused = an_alert(wallet)
        for _ in range(2):
            an_alert(wallet, AlertKind.CREDITS_EXPIRE)
        receiver.answer = lambda call: [answering(400) if json.loads(call.body)["alert"] == refused.pk else TAKEN]
        assert (send(), outcomes()) == (2, ["due", "sent", "sent"])

    def test_after_twelve_attempts_it_is_a_dead_letter_that_may_be_tried_again(self, receiver: Receiver) -> None:
        a_channel(receiver.url)
        an_alert()
        receiver.answer = lambda _call: [answering(503)]
        for attempt in range(20):
            send(attempt * 120)
        [row] = AlertDelivery.objects.all()
        assert (row.outcome, row.attempts, len(receiver.calls)) == ("expired", 12, 12)
        receiver.answer = lambda _call: [TAKEN]
        later = NOW + timedelta(days=30)
        assert alert_outbox.retry(deliveries=AlertDelivery.objects.all(), now=later) == 1
        assert alert_outbox.retry(deliveries=AlertDelivery.objects.all(), now=later) == 0
        assert alert_outbox.send_due(now=later) == 1
        assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1

    def test_a_mended_address_gets_what_is_due(self, receiver: Receiver) -> None:
        channel = a_channel("http://127.0.0.1:1/wrong")
        an_alert()
        assert send() == 0
        channel.address = receiver.url
        channel.save()
        assert send(2) == 1

    def test_two_addresses_mended_to_one_hold_nothing_up(self, receiver: Receiver) -> None:
        channels = [a_channel("http://127.0.0.1:1/old"), a_channel("http://127.0.0.1:1/older")]
        an_alert()
        for channel in channels:
            channel.address = receiver.url
            channel.save()
        assert send() == 1
        an_alert(customer="user_43")
        assert send() == 1
        assert len(receiver.calls) == 2

    @pytest.mark.parametrize(
        ("address", "why"),
        [
            ("http://hooks.example.com/", "https://"),
            ("http://127.0.0.1.example.com/", "https://"),
            ("ftp://127.0.0.1/", "such as"),
            ("http://127.0.0.1:99999/", "such as"),
            ("http://me:secret@127.0.0.1/", "user or password"),
            ("http://127.0.0.1/ HTTP/1.1\r\nX: y", "such as"),
            ("http://[::1", "such as"),
            ("", "such as"),
        ],
    )
    def test_addresses_that_are_not_called(self, address: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            webhook.check_url(address)

    def test_one_that_cannot_be_put_into_words_holds_up_no_other(self, receiver: Receiver) -> None:
        a_channel(receiver.url)
        wallet = a_wallet(a_caller())
        alerts.raise_alert(kind=AlertKind.SPIKE, cause="odd", facts={}, now=NOW, wallet=wallet)
        an_alert(wallet)
        assert (send(), outcomes()) == (1, ["due", "sent"])


class TestNothingLeftToTell:
    def test_what_was_over_before_it_left(self, receiver: Receiver) -> None:
        a_channel(receiver.url)
        alerts.resolve(alerts=[an_alert()], by=None, now=NOW)
        assert (send(), outcomes(), receiver.calls) == (0, ["moot", "moot"], [])

    def test_a_channel_that_was_turned_off(self, receiver: Receiver) -> None:
        a_channel(receiver.url)
        an_alert()
        AlertChannel.objects.update(is_active=False)
        assert (send(), outcomes()) == (0, ["moot"])

    def test_without_a_mail_server_mails_wait_and_say_why(self) -> None:
        a_channel("desk@example.com", "email")
        an_alert()
        assert send() == 0
        assert "EMAIL_URL" in AlertDelivery.objects.get().last_error
        send(3 * 24 * 60)
        assert outcomes() == ["expired"]


class TestSenders:
    def test_many_at_once_send_each_message_once(self, receiver: Receiver, server: MailServer) -> None:
        a_channel(receiver.url)
        a_channel("desk@example.com", "email")
        wallet = a_wallet(a_caller())
        for _ in range(6):
            an_alert(wallet)
        results = at_once([send] * 4)
        assert sum(result for result in results if isinstance(result, int)) == 12, results
        assert len({call.headers["webhook-id"] for call in receiver.calls}) == len(receiver.calls) == 6
        assert len({one["Message-ID"] for one in server.mails}) == len(server.mails) == 6

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["webhook", "email"])
    @pytest.mark.parametrize("taken", [0, 1])
    def test_a_killed_one_delays_its_message(self, taken: int, kind: str, receiver: Receiver, server: MailServer) -> None:
        """Killed before it was taken, or after and before the answer: nobody knows, so it is sent again, and known by its id."""
        a_channel(receiver.url if kind == "webhook" else "desk@example.com", kind)
        an_alert()
        children: list[subprocess.Popen[bytes]] = []
        started = threading.Event()

        def kill(word: str = "MAIL") -> None:
            if word == "MAIL" and started.wait(60):
                children[0].kill()
                children[0].wait(60)

        def kill_and_answer(_call: Call) -> list[bytes]:
            kill()
            return [TAKEN]

        def kill_unheard() -> None:
            kill()
            raise ConnectionAbortedError

        receiver.answer = kill_and_answer
        if taken:
            server.on_mail = kill
        else:
            server.on_word = kill
            receiver.on_connection = kill_unheard
        database = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"
        environment = {**os.environ, "DATABASE_URL": database, "EMAIL_URL": server.url}
        children.append(subprocess.Popen([sys.executable, "manage.py", "shell", "-c", _SEND], cwd=configured.BASE_DIR, env=environment))
        started.set()
        assert children[0].wait(60) == -signal.SIGKILL
        receiver.answer, receiver.on_connection = lambda _call: [TAKEN], lambda: None
        server.on_mail, server.on_word = lambda: None, lambda _word: None
        assert outcomes() == ["due"]
        assert (send(), send(2)) == (0, 1)
        ids = [call.headers["webhook-id"] for call in receiver.calls] + [one["Message-ID"] for one in server.mails]
        assert len(ids) == taken + 1
        assert len(set(ids)) == 1
