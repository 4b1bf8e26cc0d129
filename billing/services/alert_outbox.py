"""Sending what alerts owe: e-mails, signed webhooks and messages in Slack's format.

Every receiver has a thread and a queue of its own, so that a slow or dead one holds nobody up. What is owed to one is
sent in order; the word that an alert is over never before the word that it was raised.
"""

import json
import time
from base64 import b64encode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection
from django.db.models import Exists, Min, OuterRef, Q, QuerySet
from django.template.loader import render_to_string
from django.utils.crypto import salted_hmac

from billing.models import AlertChannel, AlertDelivery, AlertKind, AlertState, ChannelKind, DeliveryOutcome
from billing.queries import alert_words
from config.base import outbox, webhook

MOST_ATTEMPTS: Final = 12  # the last about 14 hours after the first
_AT_ONCE: Final = 8  # receivers
_Receiver = tuple[str, str]  # kind, address; all mail is one
_MAIL: Final[_Receiver] = (ChannelKind.EMAIL, "")
# Of these there is nothing left to tell once they are over. A threshold that was reached was reached.
_PASSING: Final = (AlertKind.FORECAST, AlertKind.WALLET_LOW, AlertKind.CREDITS_EXPIRE, AlertKind.WALLET_FROZEN)
# Who mends the address of a channel wants what is due to arrive there, once: of two channels mended to one, one follows.
_FOLLOW_CHANNELS: Final = """
    UPDATE billing_alertdelivery d SET address = mended.address FROM (
        SELECT DISTINCT ON (d.alert_id, d.kind, d.tells, c.address) d.id, c.address
        FROM billing_alertdelivery d JOIN billing_alertchannel c ON c.id = d.channel_id
        WHERE d.outcome = 'due' AND d.address <> c.address AND NOT EXISTS (
            SELECT FROM billing_alertdelivery other
            WHERE other.alert_id = d.alert_id AND other.kind = d.kind AND other.address = c.address AND other.tells = d.tells
        )
        ORDER BY d.alert_id, d.kind, d.tells, c.address, d.id
    ) mended WHERE d.id = mended.id
"""


def send_due(*, now: datetime) -> int:
    """Send what is due; return how many messages arrived."""
    _clear_away(now)
    until = time.monotonic() + outbox.RUN_SECONDS
    receivers = _receivers(now)
    if not receivers:
        return 0
    with ThreadPoolExecutor(min(len(receivers), _AT_ONCE)) as pool:
        return sum(pool.map(partial(_work_off, now=now, until=until), receivers))


def retry(*, deliveries: Iterable[AlertDelivery], now: datetime) -> int:
    """Have dead letters tried again, anew and under the same id; return how many those were."""
    dead = AlertDelivery.objects.filter(pk__in=[one.pk for one in deliveries], outcome=DeliveryOutcome.EXPIRED)
    return dead.update(outcome=DeliveryOutcome.DUE, done_at=None, attempts=0, created_at=now, due_at=now)


def secret_of(channel: AlertChannel) -> str:
    """Return the secret that a channel's calls are signed with; another one with another number or SECRET_KEY."""
    made = salted_hmac("billing.alert_channel", f"{channel.pk}.{channel.secret_number}", algorithm="sha256").digest()
    return f"whsec_{b64encode(made).decode()}"


def identity_of(delivery: AlertDelivery) -> str:
    """Return the id under which a message is sent, every time. With its time: another desk counts from one as well."""
    return f"alert-delivery-{delivery.pk}-{delivery.alert.raised_at:%Y%m%d%H%M%S}"


def _clear_away(now: datetime) -> None:
    """Settle what is not sent any more."""
    with connection.cursor() as cursor:
        cursor.execute(_FOLLOW_CHANNELS)
    if not settings.EMAIL_URL:
        unsent = AlertDelivery.objects.filter(outcome=DeliveryOutcome.DUE, kind=ChannelKind.EMAIL, last_error="")
        unsent.update(last_error="There is no mail server: set EMAIL_URL.")
    outbox.expire(AlertDelivery.objects.all(), now=now)
    due = AlertDelivery.objects.filter(outcome=DeliveryOutcome.DUE, due_at__lte=now)
    # The last attempt began and nobody knows its end.
    due.filter(attempts__gte=MOST_ATTEMPTS).update(outcome=DeliveryOutcome.EXPIRED, done_at=now)
    opening = AlertDelivery.objects.filter(alert=OuterRef("alert"), kind=OuterRef("kind"), channel=OuterRef("channel"), tells="raised")
    untold = Q(tells="raised", attempts=0, alert__state=AlertState.RESOLVED, alert__kind__in=_PASSING)
    never_told = Q(tells="resolved") & Exists(opening.filter(outcome__in=(DeliveryOutcome.MOOT, DeliveryOutcome.EXPIRED)))
    moot = due.filter(Q(channel__is_active=False) | untold).values("pk")
    AlertDelivery.objects.filter(pk__in=moot).update(outcome=DeliveryOutcome.MOOT, done_at=now)
    AlertDelivery.objects.filter(pk__in=due.filter(never_told).values("pk")).update(outcome=DeliveryOutcome.MOOT, done_at=now)


def _rows(receiver: _Receiver) -> "QuerySet[AlertDelivery]":
    opening = AlertDelivery.objects.filter(alert=OuterRef("alert"), kind=OuterRef("kind"), channel=OuterRef("channel"), tells="raised")
    rows = AlertDelivery.objects.select_related("alert", "channel").exclude(
        Q(tells="resolved") & Exists(opening.filter(outcome=DeliveryOutcome.DUE))
    )
    kind, address = receiver
    return rows.filter(kind=kind, address=address) if address else rows.filter(kind=kind)


def _receivers(now: datetime) -> list[_Receiver]:
    """Return who is owed something now, those who have failed least first."""
    due = AlertDelivery.objects.filter(outcome=DeliveryOutcome.DUE, due_at__lte=now)
    called = due.exclude(kind=ChannelKind.EMAIL).order_by().values_list("kind", "address").annotate(failed=Min("attempts"))
    receivers = [(kind, address) for kind, address, _ in sorted(called, key=lambda row: row[2])]
    mailed = settings.EMAIL_URL and due.filter(kind=ChannelKind.EMAIL).exists()
    return [_MAIL, *receivers] if mailed else receivers


def _work_off(receiver: _Receiver, *, now: datetime, until: float) -> int:
    try:
        return outbox.work_off(_rows(receiver), send=partial(_send, now=now), now=now, until=until, most_attempts=MOST_ATTEMPTS)
    finally:
        connection.close()  # this thread's own


def _send(delivery: AlertDelivery, *, now: datetime) -> str:
    """Send one message; raises as `outbox.work_off` wants it."""
    try:
        content = _content(delivery)
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise outbox.NotTaken(f"its figures cannot be put into words: {type(error).__name__}") from error
    if delivery.kind == ChannelKind.EMAIL:
        return outbox.send_mail(delivery, write=partial(_mail, content=content))
    if delivery.kind == ChannelKind.SLACK:
        webhook.post(delivery.address, body=json.dumps({"text": _slack_text(content)}).encode(), headers={})
        return outbox.SENT
    if delivery.channel is None:
        return outbox.MOOT
    # The body is the same at every attempt; the time and with it the signature are of this one.
    body = json.dumps(content).encode()
    identity, timestamp = content["id"], str(int(now.timestamp()))
    signed = webhook.signature(secret=secret_of(delivery.channel), identity=identity, timestamp=timestamp, body=body)
    headers = {"webhook-id": identity, "webhook-timestamp": timestamp, "webhook-signature": signed}
    webhook.post(delivery.address, body=body, headers=headers)
    return outbox.SENT


def _mail(delivery: AlertDelivery, *, content: dict[str, Any]) -> EmailMessage:
    body = render_to_string("billing/mail/alert.txt", content)
    return outbox.mail(to=delivery.address, subject=alert_words.title(delivery.alert), body=body, name=content["id"])


def _slack_text(content: dict[str, Any]) -> str:
    text = "\n".join(line for line in (f"{content['words']} {content['next_step']}", content["link"]) if line)
    for letter, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # or a customer's id could call everybody
        text = text.replace(letter, written)
    return text


def _content(delivery: AlertDelivery) -> dict[str, Any]:
    alert = delivery.alert
    return {
        "id": identity_of(delivery),
        "type": f"alert.{delivery.tells}",
        "alert": alert.pk,
        "kind": alert.kind,
        "raised_at": alert.raised_at.isoformat(),
        "facts": alert.facts,
        "words": alert_words.sentence(alert),
        "next_step": alert_words.next_step(alert),
        "link": f"{settings.SITE_URL}/admin/billing/alert/{alert.pk}/change/" if settings.SITE_URL else "",
    }
