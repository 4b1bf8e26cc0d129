"""Stripe's events: stored as they arrive, worked off by a task, asked for when they did not arrive.

**The row is the truth.** An event is answered when it is stored, and stored once, by Stripe's id. The worker is woken, but
need not be: beat looks every few seconds. What never arrived is found by `sweep`, which asks Stripe.

**At least once.** Whoever takes an event first puts it off for as long as working it off may last; the handler commits
its own transaction; then the event is marked. A worker that is killed before the handler's commit has done nothing, one
that is killed after it has done all but the mark: in both cases the event is due again a minute later, and handlers,
whose effects are keyed by Stripe's ids, find their work done. Marked before it was done, an event could be lost; and in
one transaction with its effect, a handler could not ask Stripe without holding locks.

No event blocks those behind it: one that fails waits longer each time, comes after those that nobody has looked at, and becomes
a dead letter after two days and a half.

**Deposits wait for nobody.** Every event begins in their queue, where Stripe is not asked. One whose handler needs Stripe's answer
moves on to another queue, which workers and runs of its own work off: however slow Stripe is, paid orders are deposited meanwhile.

**"Not ours" is believed after an hour.** A refund knows its payment, not its order; when the event of the payment is late,
the refund looks like somebody else's. Within an hour that event has come, or the sweeper has asked for it.
"""

import json
import logging
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from kombu.exceptions import OperationalError as BrokerAwayError

from billing.errors import StripeNotSetUp, StripeUnavailable
from billing.models import BillingNoticeKind, EventOrigin, EventQueue, EventState, EventSweep, StripeEvent
from billing.services import disputes, notices, saved_cards, settlements, stripe_gateway, topup_events, topup_refunds
from billing.services.stripe_handling import AsksStripe, Handler, NotOurs, NotYet
from billing.stripe_envelope import Envelope, NotAnEvent, envelope, read, verify
from config.base.errors import DomainError

log = logging.getLogger(__name__)

# Who works off which type of event, from every room of the Stripe work.
HANDLERS: Final[dict[str, Handler]] = {
    **topup_events.HANDLERS,
    **topup_refunds.HANDLERS,
    **disputes.HANDLERS,
    **settlements.HANDLERS,
    **saved_cards.HANDLERS,
}

# Longer than a handler may take with its calls to Stripe, so that an event is not taken while it is worked on.
_WHILE_AT_WORK: Final = timedelta(minutes=1)
_FIRST_PAUSE: Final = timedelta(seconds=10)
_LONGEST_PAUSE: Final = timedelta(hours=6)
MAX_ATTEMPTS: Final = 20
_SECOND_LOOK: Final = timedelta(minutes=1)
_LOOKS: Final = 3
_DOUBT: Final = timedelta(hours=1)
# One run ends after this many seconds and leaves the rest to the next, well before Celery would end it in the middle. Where Stripe is
# asked, auto top-ups and refunds want their turn too.
_LONGEST_RUN: Final = {EventQueue.DEPOSITS: 300, EventQueue.STRIPE: 60, None: 300}
# A Stripe that does not answer is left alone until the next run.
_MOST_UNANSWERED: Final = 3
TASKS: Final = {
    EventQueue.DEPOSITS: "billing.tasks.work_off_stripe_events",
    EventQueue.STRIPE: "billing.tasks.ask_stripe_about_events",
}

# Stripe keeps events for 30 days, and may show one a little later than it happened.
KEPT: Final = timedelta(days=30)
OVERLAP: Final = timedelta(minutes=30)
_ASKED_AT_ONCE: Final = 100
# Stripe lists the newest first: nothing of a sweep is worked off before the oldest is here too.
_WHILE_SWEEPING: Final = timedelta(minutes=10)

# After Redis failed to take a message, nobody is woken for this long: beat finds the row.
_QUIET_SECONDS: Final = 15.0
_woken_again_at = 0.0


class EventIsDone(DomainError):
    """What the event tells of is in the books; there is nothing to try again."""

    code = "event_is_done"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the webhook answers; `is_new` is False for a duplicate."""

    event_id: str
    is_new: bool


def receive(*, body: bytes, signature: str, now: datetime) -> Receipt:
    """Store an event that Stripe posted, once, and wake the worker.

    Raises StripeNotSetUp, TooLarge, InvalidSignature, NotAnEvent.
    """
    if not settings.STRIPE_WEBHOOK_SECRETS or not stripe_gateway.is_set_up():
        raise StripeNotSetUp("Stripe is not set up here: set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET.")
    verify(body, signature, secrets=settings.STRIPE_WEBHOOK_SECRETS, now=now)
    arrived = read(body)
    is_new = _store(arrived, body.decode(), EventOrigin.WEBHOOK, now, due_at=now)
    if is_new:
        transaction.on_commit(wake)
    return Receipt(arrived.event_id, is_new)


def sweep(*, now: datetime) -> int:
    """Ask Stripe for what happened since it was asked last, and store what is not here; return how many had been missed.

    What was put aside because it met the key of the other mode is taken up again, now that its own key asks.
    Raises StripeNotSetUp, StripeUnavailable, StripeRefused; what was stored until then stays, and the next sweep begins
    where this one did.
    """
    stripe = stripe_gateway.gateway()
    last = EventSweep.objects.filter(is_live=stripe.is_live).first()
    since = max(now - KEPT, last.reached_at - OVERLAP) if last else now - KEPT
    missed = 0
    listed = stripe.list_events(since=since)
    while page := list(islice(listed, _ASKED_AT_ONCE)):
        missed += sum(_store(found, body, EventOrigin.SWEEPER, now, due_at=now + _WHILE_SWEEPING) for found, body in _unknown(page))
    stored = StripeEvent.objects.filter(origin=EventOrigin.SWEEPER, received_at=now, state=EventState.DUE, attempts=0)
    stored.update(due_at=F("happened_at"))
    aside = StripeEvent.objects.filter(received_at__gte=since, state=EventState.IGNORED, is_live=stripe.is_live)
    met_other_key = aside.filter(outcome=_of_other_mode(is_live=stripe.is_live))
    missed += met_other_key.update(state=EventState.DUE, attempts=0, due_at=now, done_at=None, outcome="")
    EventSweep.objects.update_or_create(is_live=stripe.is_live, defaults={"reached_at": now})
    return missed


def work_off(*, now: datetime, queue: EventQueue | None = None) -> int:
    """Work off what is due in a queue, or in all; return how many events came to an end.

    What nobody has looked at comes first, then what was tried least often, each the longest due first.
    """
    ended, unanswered, moved, began = 0, 0, 0, time.monotonic()
    while stripe_gateway.is_set_up() and (elapsed := time.monotonic() - began) < _LONGEST_RUN[queue] and unanswered < _MOST_UNANSWERED:
        at = now + timedelta(seconds=elapsed)
        event = _take(at, queue)
        if event is None:
            break
        try:
            ended += _work_off(event, at)
        except AsksStripe:
            moved += _move(event, at)
        except StripeUnavailable as error:
            unanswered += 1
            log.warning("Stripe did not answer about event %s (%s): %s", event.event_id, event.type, error)
            _put_off(event, error.detail, at)
    if moved and queue is not None:
        wake(EventQueue.STRIPE)
    return ended


def retry(*, event: StripeEvent, actor: str, now: datetime) -> None:
    """Have an event tried again at once, as if it had just arrived. Raises EventIsDone."""
    if not _retry({"pk": event.pk}, actor, now):
        raise EventIsDone("This event is done: what it tells of is in the books.")


def retry_all_dead(*, actor: str, now: datetime) -> int:
    """Have all dead letters tried again; return how many there were."""
    return _retry({"state": EventState.DEAD}, actor, now)


def wake(queue: EventQueue = EventQueue.DEPOSITS) -> None:
    """Tell a worker that there is something to do; without Redis nobody is told, and beat finds it within seconds."""
    global _woken_again_at  # noqa: PLW0603 - a Redis that hangs must cost one event its timeout, not every event
    if time.monotonic() < _woken_again_at:
        return
    try:
        current_app.send_task(TASKS[queue])
    except BrokerAwayError as error:
        _woken_again_at = time.monotonic() + _QUIET_SECONDS
        log.warning("no worker could be woken for an event; beat will find it: %s", error)


def _store(arrived: Envelope, body: str, origin: EventOrigin, now: datetime, *, due_at: datetime) -> bool:
    """Write the event down unless it is here; say whether it is new. One statement, so that duplicates wait for nobody."""
    event = StripeEvent(
        event_id=arrived.event_id,
        type=arrived.type,
        api_version=arrived.api_version,
        is_live=arrived.is_live,
        object_id=arrived.object_id,
        origin=origin,
        body=body,
        happened_at=arrived.happened_at,
        received_at=now,
        due_at=due_at,
    )
    fields = [field for field in StripeEvent._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    values = [field.get_db_prep_save(getattr(event, field.attname), connection) for field in fields]
    places = ", ".join(["%s"] * len(fields))
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{StripeEvent._meta.db_table}" ({columns}) VALUES ({places}) ON CONFLICT ("event_id") DO NOTHING', values
        )
        return bool(cursor.rowcount)


def _unknown(page: list[dict[str, Any]]) -> Iterator[tuple[Envelope, str]]:
    """Yield the events of a page that are not here, each with its body."""
    known = set(StripeEvent.objects.filter(event_id__in=[event.get("id") for event in page]).values_list("event_id", flat=True))
    for event in page:
        if event.get("id") in known:
            continue
        try:
            body = json.dumps(event, default=str)
            yield envelope(event), body
        except NotAnEvent:
            log.exception("Stripe listed an event that cannot be read: %s", event.get("id"))


@transaction.atomic
def _take(now: datetime, queue: EventQueue | None = None) -> StripeEvent | None:
    """Put the next due event off, so that nobody else takes it, and return it."""
    due = StripeEvent.objects.filter(state=EventState.DUE, due_at__lte=now, queue__in=[queue] if queue else EventQueue.values)
    event = due.order_by("attempts", "due_at", "id").select_for_update(skip_locked=True).first()
    if event is not None:
        event.due_at = now + max(_WHILE_AT_WORK, _pause(event.attempts))
        event.attempts += 1
        event.save(update_fields=["due_at", "attempts"])
    return event


def _work_off(event: StripeEvent, now: datetime) -> bool:
    """Have one event handled; say whether it came to an end."""
    if event.attempts > MAX_ATTEMPTS:
        return _put_off(event, "Every worker that took this event ended in the middle of it.", now)
    if why := _nobodys(event):
        return _end(event, EventState.IGNORED, why, now)
    try:
        outcome = HANDLERS[event.type](event, now)
    except NotOurs as reason:
        return _put_aside(event, str(reason), now)
    except NotYet as reason:
        return _put_off(event, str(reason), now)
    except (AsksStripe, StripeUnavailable):
        raise
    except Exception as error:  # whatever it is, the events behind it go on
        log.exception("event %s (%s) could not be worked off (attempt %s)", event.event_id, event.type, event.attempts)
        return _put_off(event, f"{type(error).__name__}: {error}", now, error="".join(traceback.format_exception(error)))
    return _end(event, EventState.DONE, outcome, now)


def _nobodys(event: StripeEvent) -> str:
    """Say why no handler shall see the event; empty if one shall."""
    if event.is_live != stripe_gateway.gateway().is_live:
        return _of_other_mode(is_live=event.is_live)
    return "" if event.type in HANDLERS else "Nothing here works with events of this type."


def _of_other_mode(*, is_live: bool) -> str:
    modes = ("live mode", "test") if is_live else ("test mode", "live")
    return f"An event of Stripe's {modes[0]}, while the {modes[1]} key is set here."


def _move(event: StripeEvent, now: datetime) -> int:
    """Let the event go on in the queue where Stripe is asked, as one that nobody has looked at."""
    due = StripeEvent.objects.filter(pk=event.pk, state=EventState.DUE)
    return due.update(queue=EventQueue.STRIPE, attempts=F("attempts") - 1, due_at=now, outcome="Stripe is being asked.")


def _put_aside(event: StripeEvent, reason: str, now: datetime) -> bool:
    """Ignore the event at the third look, an hour after it came, else look again: what makes it ours may be under way.

    Three looks also where it waited for longer: after an outage its payment may be worked off beside it.
    """
    last_look = event.received_at + _DOUBT
    if now >= last_look and event.attempts >= _LOOKS:
        return _end(event, EventState.IGNORED, reason, now)
    until = now + _SECOND_LOOK if event.attempts == 1 else max(last_look, now + _SECOND_LOOK)
    return _put_off(event, f"{reason} (looked at again, in case it comes late)", now, until=until)


def _end(event: StripeEvent, state: EventState, outcome: str, now: datetime) -> bool:
    """Mark the event, unless somebody who took it meanwhile has."""
    still_open = StripeEvent.objects.filter(pk=event.pk, state__in=[EventState.DUE, EventState.DEAD])
    return bool(still_open.update(state=state, outcome=_plain(outcome)[:500], done_at=now, last_error=""))


def _put_off(event: StripeEvent, outcome: str, now: datetime, *, error: str = "", until: datetime | None = None) -> bool:
    """Let the event be due again after a pause; after the last attempt it is a dead letter."""
    state = EventState.DEAD if event.attempts >= MAX_ATTEMPTS else EventState.DUE
    due_at = until or now + _pause(event.attempts - 1)
    due = StripeEvent.objects.filter(pk=event.pk, state=EventState.DUE)
    with transaction.atomic():
        is_here = due.update(state=state, outcome=_plain(outcome)[:500], last_error=_plain(error)[-8000:], due_at=due_at)
        if is_here and state == EventState.DEAD:  # what breaks one breaks many: one mail an hour tells of all
            notices.owe(kind=BillingNoticeKind.DEAD_LETTER, about=event, now=now, cause=f"{now:%Y-%m-%dT%H}")
    return False


def _retry(which: dict[str, Any], actor: str, now: datetime) -> int:
    events = StripeEvent.objects.filter(**which).exclude(state=EventState.DONE)
    count = events.update(state=EventState.DUE, attempts=0, due_at=now, done_at=None, retried_by=actor, retried_at=now)
    transaction.on_commit(wake)
    return count


def _pause(attempts: int) -> timedelta:
    """10 seconds, then twice as long each time, at most six hours."""
    return min(_FIRST_PAUSE * (1 << min(attempts, 16)), _LONGEST_PAUSE)


def _plain(text: str) -> str:
    """What PostgreSQL can keep as text: an error may quote what caused it, NUL and lone surrogates included."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
