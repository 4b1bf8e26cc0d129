"""Channels of alerts: trying one out, and giving one another secret."""

import json
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from billing.models import AlertChannel, ChannelKind
from billing.models.fields import save_with_reason
from billing.services.alert_outbox import secret_of
from config.base import outbox, webhook
from config.base.errors import DomainError


class TestNotTaken(DomainError):
    """The channel's receiver did not take a test: mend its address, or the receiver, and send another."""

    __test__ = False  # no test of pytest's
    code = "test_not_taken"


def send_test(*, channel: AlertChannel, by: User, now: datetime) -> None:
    """Send one message to say that alerts will arrive, at once and only once. Raises TestNotTaken, which says why."""
    words = f"This is a test of the alert channel {channel.name}, sent by {by.get_username()}. Nothing has happened."
    identity = f"alert-test-{channel.pk}-{now:%Y%m%d%H%M%S%f}"
    try:
        if channel.kind == ChannelKind.EMAIL:
            _mail(channel, words, identity)
        elif channel.kind == ChannelKind.SLACK:
            text = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            webhook.post(channel.address, body=json.dumps({"text": text}).encode(), headers={})
        else:
            _call(channel, words, identity, now)
    except outbox.NotTaken as error:
        said = f" It said: {error.said}" if error.said else ""
        raise TestNotTaken(f"The test did not arrive: {error}.{said}") from error


@transaction.atomic
def renew_secret(*, channel: AlertChannel, reason: str) -> AlertChannel:
    """Give a channel another signing secret; calls are signed with it from now on."""
    row = AlertChannel.objects.select_for_update().get(pk=channel.pk)
    row.secret_number += 1
    save_with_reason(row, "secret_number", reason=reason)
    return row


def _mail(channel: AlertChannel, words: str, identity: str) -> None:
    if not settings.EMAIL_URL:
        raise outbox.NotTaken("there is no mail server, set EMAIL_URL")
    message = outbox.mail(to=channel.address, subject="A test of your alerts", body=words, name=identity)
    outbox.send_mail(channel, write=lambda _: message)


def _call(channel: AlertChannel, words: str, identity: str, now: datetime) -> None:
    body = json.dumps({"id": identity, "type": "alert.test", "words": words}).encode()
    timestamp = str(int(now.timestamp()))
    signed = webhook.signature(secret=secret_of(channel), identity=identity, timestamp=timestamp, body=body)
    headers = {"webhook-id": identity, "webhook-timestamp": timestamp, "webhook-signature": signed}
    webhook.post(channel.address, body=body, headers=headers)
