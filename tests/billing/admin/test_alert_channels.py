"""Channels: an address that can be called, a test that arrives, and a secret for who may have it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import AlertChannel
from billing.services import alert_outbox
from config import mail
from config.base import webhook
from config.roles import Role
from tests.billing.admin.dialogs import HTMX, address, send, went_through
from tests.http_receiver import Receiver, answering
from tests.mail_server import MailServer
from tests.people import signed_in

pytestmark = pytest.mark.django_db
LIST, ADD = reverse("admin:billing_alertchannel_changelist"), reverse("admin:billing_alertchannel_add")


@pytest.fixture
def finance() -> Client:
    return signed_in(Role.FINANCE)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def a_channel(kind: str, to: str) -> AlertChannel:
    return AlertChannel.objects.create(name=f"<{kind}> & co", kind=kind, address=to)


def change(row: AlertChannel) -> str:
    return reverse("admin:billing_alertchannel_change", args=(row.pk,))


class TestAChannel:
    @pytest.mark.parametrize(
        ("kind", "to"),
        [("email", "ops@example.com"), ("slack", "https://hooks.example.com/T1/B2"), ("webhook", "http://127.0.0.1:9/alerts")],
    )
    def test_is_made(self, finance: Client, kind: str, to: str) -> None:
        form = {"name": "Operations", "kind": kind, "address": f" {to} ", "alerts": ["spike", "threshold"], "is_active": "on"}
        sent = finance.post(ADD, form)
        assert sent.status_code == 302, sent.content.decode()
        row = AlertChannel.objects.get()
        assert (row.kind, row.address, row.alerts, row.is_active) == (kind, to, ["spike", "threshold"], True)
        assert "T1/B2" not in finance.get(LIST).content.decode()

    @pytest.mark.parametrize(
        ("kind", "to", "words"),
        [
            ("email", "ops", "This is no e-mail address."),
            ("email", "a@example.com, b@example.com", "This is no e-mail address."),
            ("webhook", "hooks.example.com", "must be an address such as https://"),
            ("webhook", "ftp://hooks.example.com", "must be an address such as https://"),
            ("webhook", "http://hooks.example.com", "must begin with https://"),
            ("slack", "https://me:secret@hooks.example.com", "must not name a user"),
            ("slack", "https://hooks.example.com:99999/", "must be an address such as https://"),
            ("slack", "", "required"),
            ("pigeon", "https://hooks.example.com", "valid choice"),
        ],
    )
    def test_has_an_address_of_its_kind(self, finance: Client, kind: str, to: str, words: str) -> None:
        sent = finance.post(ADD, {"name": "Operations", "kind": kind, "address": to})
        assert sent.status_code == 200
        assert words in sent.content.decode()
        assert AlertChannel.objects.count() == 0

    def test_is_changed_and_switched_off_with_a_reason_and_keeps_its_kind(self, finance: Client) -> None:
        row = a_channel("email", "ops@example.com")
        form = {"name": "Operations", "kind": "webhook", "address": "team@example.com"}
        assert finance.post(change(row), form).status_code == 200
        assert finance.post(change(row), form | {"address": "https://x.example.com", "change_reason": "x"}).status_code == 200
        assert finance.post(change(row), form | {"change_reason": "On holiday"}).status_code == 302
        row.refresh_from_db()
        assert (row.kind, row.address, row.is_active) == ("email", "team@example.com", False)
        assert AlertChannel.history.latest().history_change_reason == "On holiday"

    def test_is_not_for_support_and_engineers(self) -> None:
        row = a_channel("webhook", "https://hooks.example.com/s3cret")
        for role in (Role.SUPPORT, Role.ENGINEER):
            browser = signed_in(role)
            assert browser.get(LIST).status_code == browser.get(change(row)).status_code == 403
            for action in ("send_test", "show_secret", "renew_secret"):
                sent = browser.post(address(f"billing_alertchannel_{action}", row), {"reason": "x"}, headers=HTMX)
                assert sent.status_code == 403


class TestATest:
    def test_is_signed(self, finance: Client, receiver: Receiver) -> None:
        row = a_channel("webhook", receiver.url)
        assert went_through(send(finance, "billing_alertchannel_send_test", row))
        [call] = receiver.calls
        told = json.loads(call.body)
        assert (told["type"], told["id"]) == ("alert.test", call.headers["webhook-id"])
        assert "sent by finance" in told["words"]
        signed = webhook.signature(
            secret=alert_outbox.secret_of(row), identity=told["id"], timestamp=call.headers["webhook-timestamp"], body=call.body
        )
        assert call.headers["webhook-signature"] == signed

    def test_is_in_slacks_format(self, finance: Client, receiver: Receiver) -> None:
        assert went_through(send(finance, "billing_alertchannel_send_test", a_channel("slack", receiver.url)))
        [call] = receiver.calls
        assert "&lt;slack&gt; &amp; co" in json.loads(call.body)["text"]

    def test_is_mailed(self, finance: Client, settings: Any) -> None:
        row = a_channel("email", "ops@example.com")
        settings.EMAIL_URL = ""
        assert "there is no mail server" in send(finance, "billing_alertchannel_send_test", row).content.decode()
        with MailServer() as server:
            settings.EMAIL_URL = server.url
            for name, value in mail.settings_of(server.url).items():
                setattr(settings, name, value)
            assert went_through(send(finance, "billing_alertchannel_send_test", row))
            [message] = server.mails
        assert (message["To"], message["Subject"]) == ("ops@example.com", "A test of your alerts")
        assert "could not" not in send(finance, "billing_alertchannel_send_test", row).content.decode()

    def test_that_does_not_arrive_says_why(self, finance: Client, receiver: Receiver) -> None:
        row = a_channel("webhook", receiver.url)
        receiver.answer = lambda _call: [answering(404, "no such <hook>")]
        refused = send(finance, "billing_alertchannel_send_test", row).content.decode()
        assert "The test did not arrive: answered 404. It said: no such &lt;hook&gt;" in refused
        receiver.__exit__(None, None, None)
        assert "The test did not arrive: no answer" in send(finance, "billing_alertchannel_send_test", row).content.decode()
        receiver.__enter__()


class TestTheSecret:
    def test_is_shown_and_renewed(self, finance: Client) -> None:
        row = a_channel("webhook", "https://hooks.example.com/")
        first = alert_outbox.secret_of(row)
        assert first not in finance.get(change(row)).content.decode()
        assert first in send(finance, "billing_alertchannel_show_secret", row).content.decode()
        renewed = send(finance, "billing_alertchannel_renew_secret", row, reason="Leaked").content.decode()
        row.refresh_from_db()
        assert alert_outbox.secret_of(row) in renewed
        assert first not in renewed
        assert AlertChannel.history.latest().history_change_reason == "Leaked"

    def test_is_offered_where_calls_are_signed(self, finance: Client) -> None:
        for kind, to, offered in (("webhook", "https://a.example.com/", True), ("slack", "https://b.example.com/", False)):
            assert ("Show the signing secret" in finance.get(change(a_channel(kind, to))).content.decode()) is offered
