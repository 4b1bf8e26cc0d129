"""One commit for all who wait: single calls that arrive while a flush is under way share the next one.

Each caller puts its event into the queue and sleeps until its result is there. One thread takes whatever waits, at most
`MAX_FLUSH` events, and hands it to `charge`, the same as a batch call does; it starts as soon as the last flush has
ended and never waits for more to come. That is why one hot wallet is as fast as many: its row is locked once for all.
Who comes while a flush of this customer alone waits for the lock still gets on.

A flush that fails as a whole is split, so that one event cannot fail its neighbours. When the database is away every
waiting caller is told at once.

A wallet that somebody else has locked for longer than a moment (a long admin action, another process's large batch) must
not hold up the others. The quick lane gives up on a lock early, flushes customer by customer, and sets those aside that
it had to give up on; the patient lane, a second thread, waits for them as long as the promise to callers allows. As long
as it does, new events of those customers join them there.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import psycopg
from django.db import InterfaceError, InternalError, OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.utils import timezone

from billing.events import Event, Result
from billing.services import charging
from billing.services.metrics import FLUSH_EVENTS

MAX_FLUSH = 512
# Longer than every timeout that a flush can run into; a caller never waits for ever.
ANSWER_WITHIN_SECONDS = 15

# Rivals of a flush hold a wallet for a few milliseconds. The patient lane waits as long as any other call (settings).
QUICK_LOCK_TIMEOUT_MS = 250

log = logging.getLogger(__name__)


class _Waiting:
    """An event and the caller that sleeps until its result is there."""

    __slots__ = ("event", "ready", "result")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.result: Result | Exception | None = None
        self.ready = threading.Lock()
        self.ready.acquire()


def _customer(waiting: _Waiting) -> tuple[int, str, str]:
    event = waiting.event
    return event.caller.project_id, event.caller.environment, event.customer or ""


class _Lane:
    """A queue and the thread that empties it, started by the first event so that it lives in the forked worker."""

    def __init__(self, name: str, flush: Callable[[list[_Waiting]], None]) -> None:
        self.name = name
        self.flush = flush
        self.queue: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self.aside: list[_Waiting] = []  # taken from the queue, and not yet flushed
        self.starting = threading.Lock()
        self.thread: threading.Thread | None = None

    def put(self, waiting: _Waiting) -> None:
        if self.thread is None or not self.thread.is_alive():
            with self.starting:
                if self.thread is None or not self.thread.is_alive():
                    self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                    self.thread.start()
        self.queue.put(waiting)

    def _run(self) -> None:
        while True:
            batch = self.aside or [self.queue.get()]
            self.aside = []
            while len(batch) < MAX_FLUSH and (waiting := self._next()):
                batch.append(waiting)
            self.flush(batch)

    def _next(self) -> _Waiting | None:
        try:
            return self.queue.get_nowait()
        except queue.Empty:
            return None

    def late(self, customer: tuple[int, str, str], room: int) -> list[_Waiting]:
        """Take those of `customer` who have come since the flush began; the others wait for the next one, first in line."""
        late: list[_Waiting] = []
        while len(late) < room and len(self.aside) < MAX_FLUSH and (waiting := self._next()):
            (late if _customer(waiting) == customer else self.aside).append(waiting)
        return late


def charge_one(event: Event) -> Result:
    """Charge one event together with whoever else is waiting. Raises OperationalError when the database is away."""
    waiting = _Waiting(event)
    _quick.put(waiting)
    if not waiting.ready.acquire(timeout=ANSWER_WITHIN_SECONDS):
        raise OperationalError("the charge did not finish in time")
    if isinstance(waiting.result, Exception):
        raise waiting.result
    assert waiting.result is not None
    return waiting.result


# Customers whose wallets the patient lane waits for. Both threads change it, each by one atomic step.
_held_up: set[tuple[int, str, str]] = set()


def _flush_quickly(batch: list[_Waiting]) -> None:
    if held_up := frozenset(_held_up):  # as of one moment, so that each event goes one way
        _wait_for([waiting for waiting in batch if _customer(waiting) in held_up])
        batch = [waiting for waiting in batch if _customer(waiting) not in held_up]
    if batch:
        _flush(_quick, batch, when_locked=_split_by_customer)


def _flush_patiently(batch: list[_Waiting]) -> None:
    _flush(_patient, batch, when_locked=_split_patiently if len(_by_customer(batch)) > 1 else None)
    _held_up.difference_update({_customer(waiting) for waiting in batch})


def _split_patiently(batch: list[_Waiting]) -> None:
    groups = _by_customer(batch)
    for group in groups:
        _flush(_patient, group, when_locked=_split_patiently if len(groups) > 1 else None)


def _by_customer(batch: list[_Waiting]) -> list[list[_Waiting]]:
    return [list(group) for _, group in groupby(sorted(batch, key=_customer), key=_customer)]


def _split_by_customer(batch: list[_Waiting]) -> None:
    groups = _by_customer(batch)
    for group in groups:
        if len(groups) == 1:
            _held_up.add(_customer(group[0]))
            _wait_for(group)
        else:
            _flush(_quick, group, when_locked=_split_by_customer)


def _wait_for(batch: list[_Waiting]) -> None:
    for waiting in batch:
        _patient.put(waiting)


@receiver(connection_created)
def _bound_lock_waits(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Give each connection of the quick lane its lock timeout, also one that a retry inside `charge` has opened."""
    if threading.current_thread() is _quick.thread:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {QUICK_LOCK_TIMEOUT_MS}")


def _flush(lane: _Lane | None, batch: list[_Waiting], *, when_locked: Callable[[list[_Waiting]], None] | None) -> None:
    """Charge `batch` and whoever still gets on from `lane`; tell each its result."""

    def boarding(room: int) -> list[Event]:
        late = lane.late(_customer(batch[0]), room) if lane else []
        batch.extend(late)
        return [waiting.event for waiting in late]

    events = [waiting.event for waiting in batch]
    try:
        results: Sequence[Result | Exception] = charging.charge(events, now=timezone.now(), boarding=boarding)
    except (OperationalError, InterfaceError, InternalError) as error:
        if when_locked and isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            when_locked(batch)
            return
        connection.close()
        results = [error] * len(batch)
    except Exception as error:  # the thread must outlive whatever one event brings up
        connection.close_if_unusable_or_obsolete()
        if len(batch) > 1:
            middle = len(batch) // 2
            _flush(None, batch[:middle], when_locked=when_locked)
            _flush(None, batch[middle:], when_locked=when_locked)
            return
        log.exception("an event could not be charged")
        results = [error]
    FLUSH_EVENTS.observe(len(batch))
    for waiting, result in zip(batch, results, strict=True):
        waiting.result = result
        waiting.ready.release()


_quick = _Lane("flusher", _flush_quickly)
_patient = _Lane("patient flusher", _flush_patiently)
