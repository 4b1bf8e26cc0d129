"""Finding breaks with Stripe and seeing to them.

Whatever the comparison finds is brought into the table of breaks: new ones are opened, those that are not found any more are
closed, and those that come back, or explain another amount than the one that a person explained, are opened again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from billing.models import BalanceTransaction
from billing.models.fields import save_with_reason
from billing.queries import stripe_modes
from config.base.database import patient, retrying
from config.base.errors import DomainError
from reports.models import BreakState, ReconciliationBreak, ReconciliationSignOff
from reports.queries import reconciliation as queries
from reports.reconciliation import Break

# The task looks this far back; older breaks stay as they are until a period that holds them is looked at.
LOOK_BACK: Final = timedelta(days=400)
# A page compares so many movements itself; more are left to the task.
AT_ONCE: Final = 20_000
_MOST: Final = 10_000_000
_SECONDS: Final = 600
# How many seconds to wait for another finder or signer.
_PATIENCE: Final = 15
_FACTS: Final = ("category", "amount_minor", "currency", "detail", "topup_id", "happened_at")


class BreakIsGone(DomainError):
    """There is nothing to see to: the two sides agree by now."""

    code = "break_is_gone"


class BreakChanged(DomainError):
    """The comparison found another amount meanwhile."""

    code = "break_changed"


class ReconciliationNotSigned(DomainError):
    """See to the open breaks first, or wait until the period is over."""

    code = "reconciliation_not_signed"


@dataclass(frozen=True, slots=True)
class Found:
    """How many breaks there are, and how many of them were opened or closed just now."""

    there: int
    opened: int
    closed: int


def find(*, now: datetime, since: datetime | None = None, until: datetime | None = None, is_live: bool | None = None) -> Found:
    """Compare the two sides for a period, the last 400 days if none is given, and bring the breaks up to date.

    Real money and Stripe's test mode are compared each for itself; only one of them if it is given.
    """
    start, end = since or now - LOOK_BACK, until or now + timedelta(days=1)
    modes = (True, False) if is_live is None else (is_live,)
    done = [retrying(partial(_find, start, end, mode, now)) for mode in modes]
    return Found(sum(one.there for one in done), sum(one.opened for one in done), sum(one.closed for one in done))


def is_much(*, now: datetime) -> bool:
    """Say whether finding breaks would keep a page waiting, so that the task should do it."""
    there = BalanceTransaction.objects.filter(created_at__gte=now - LOOK_BACK)[: AT_ONCE + 1]
    return there.count() > AT_ONCE


def _find(start: datetime, end: datetime, is_live: bool, now: datetime) -> Found:
    with _alone():
        found = queries.matched(since=start, until=end, now=now, is_live=is_live, most=_MOST).breaks
        return _bring_up_to_date([one for one in found if start <= one.at < end], start, end, is_live, now)


@contextmanager
def _alone() -> Iterator[None]:
    """Find or sign alone, with everything that is read and written as of one moment.

    The lock is that of a table that only signing writes to: a table is locked before the moment is chosen, while an advisory
    lock would choose it first and wait then, and what the one before did would not be seen.
    """
    outermost = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        patient(seconds=_SECONDS)
        cursor.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}s'; LOCK TABLE reports_reconciliationsignoff IN SHARE ROW EXCLUSIVE MODE")
        yield


def assign(*, broken: ReconciliationBreak, owner: User | None, note: str) -> None:
    """Write down who sees to a break, and how far it is; without a note the last one stays. Raises BreakIsGone."""
    with transaction.atomic():
        row = ReconciliationBreak.objects.select_for_update().get(pk=broken.pk)
        _must_be_there(row)
        row.owner, row.note = owner, note or row.note
        if row.state in queries.OPEN_STATES:
            row.state = BreakState.IN_WORK if owner else BreakState.OPEN
        save_with_reason(row, "owner", "note", "state", reason=note or f"{owner or 'Nobody'} sees to it")


def explain(*, broken: ReconciliationBreak, seen_minor: int, explanation: str, actor: User) -> None:
    """Let a break stay as it is, and keep why. Raises BreakIsGone, and BreakChanged when it is not of the amount that was seen."""
    with transaction.atomic():
        row = ReconciliationBreak.objects.select_for_update().get(pk=broken.pk)
        _must_be_there(row)
        if row.amount_minor != seen_minor:
            raise BreakChanged("The amount has changed since you opened this. Look at the break again, then explain it.")
        row.owner, row.note, row.state = row.owner or actor, explanation, BreakState.EXPLAINED
        save_with_reason(row, "owner", "note", "state", reason=explanation)


def sign(
    *, since: datetime, until: datetime, digest: str, note: str, actor: User, now: datetime, is_live: bool | None = None
) -> ReconciliationSignOff:
    """Sign the figures of a period that is over, which are those of `digest`, after looking for breaks once more.

    Looking, comparing and signing are of one moment. Raises ReconciliationNotSigned; the breaks that were found stay.
    """
    if until > now:
        raise ReconciliationNotSigned("This period is not over. Sign it when it is.")
    mode = stripe_modes.usual() if is_live is None else is_live
    draft = ReconciliationSignOff(since=since, until=until, is_live=mode, digest=digest, note=note, signed_by=actor, signed_at=now)
    if refusal := retrying(lambda: _sign(draft)):
        raise ReconciliationNotSigned(refusal)
    return draft


def _sign(draft: ReconciliationSignOff) -> str:
    """Keep the signature, or say why not; then what was found on the way is kept all the same."""
    period: Any = {"since": draft.since, "until": draft.until, "is_live": draft.is_live}
    with _alone():
        _find(draft.since, draft.until, draft.is_live, draft.signed_at)
        there = queries.breaks(**period)
        waiting = there.filter(state__in=queries.OPEN_STATES).count()
        if waiting:
            what = "1 break of this period is" if waiting == 1 else f"{waiting:,} breaks of this period are"
            return f"{what} neither gone nor explained. Explain them, or have them mended; then sign."
        figures = queries.statement(**period, now=draft.signed_at)
        if figures.digest != draft.digest:
            return (
                "The figures of this period have changed since the page showed them, and nothing was signed. Look at it again, then sign."
            )
        last = queries.last_sign_off(**period)
        if last is not None and last.digest == figures.digest:
            when = timezone.localtime(last.signed_at)
            return f"{last.signed_by} signed these figures already, on {when:%Y-%m-%d} at {when:%H:%M}. There is nothing left to sign."
        draft.pk, draft.figures, draft.line_count, draft.explained = None, figures.as_json, len(figures.lines), there.count()
        draft.save(force_insert=True)
        return ""


def _must_be_there(broken: ReconciliationBreak) -> None:
    broken.refresh_from_db()
    if broken.state == BreakState.RESOLVED:
        raise BreakIsGone("This break is gone: both sides agree by now.")


def _bring_up_to_date(found: Iterable[Break], start: datetime, end: datetime, is_live: bool, now: datetime) -> Found:
    wanted = {(one.kind.value, one.subject): one for one in found}
    subjects = [one.subject for one in wanted.values()]
    of_mode = ReconciliationBreak.objects.select_for_update().filter(is_live=is_live)
    here = of_mode.filter(happened_at__gte=start, happened_at__lt=end)
    known = {(row.kind, row.subject): row for row in here}
    known |= {(row.kind, row.subject): row for row in of_mode.filter(subject__in=subjects)}
    opened = 0
    for key, one in wanted.items():
        row = known.pop(key, None)
        opened += _open(row, one, is_live, now)
    gone = [row for row in known.values() if row.state != BreakState.RESOLVED and start <= row.happened_at < end]
    for row in gone:
        row.state, row.closed_at, row.seen_at = BreakState.RESOLVED, now, now
        save_with_reason(row, "state", "closed_at", "seen_at", reason="Both sides agree now")
    return Found(len(wanted), opened, len(gone))


def _open(row: ReconciliationBreak | None, one: Break, is_live: bool, now: datetime) -> bool:
    """Open a break, or bring a known one up to date; True when it was opened, for the first time or again."""
    facts = {
        "category": one.category.value,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "detail": one.detail[:500],
        "topup_id": one.topup_id,
        "happened_at": one.at,
    }
    if row is None:
        ReconciliationBreak.objects.create(kind=one.kind.value, subject=one.subject, is_live=is_live, found_at=now, seen_at=now, **facts)
        return True
    is_other = (row.amount_minor, row.currency) != (one.amount_minor, one.currency)
    is_back = row.state == BreakState.RESOLVED or (row.state == BreakState.EXPLAINED and is_other)
    if not is_back and all(getattr(row, name) == facts[name] for name in _FACTS):
        ReconciliationBreak.objects.filter(pk=row.pk).update(seen_at=now)
        return False
    for name, value in facts.items():
        setattr(row, name, value)
    row.seen_at = now
    if is_back:
        row.state, row.closed_at = BreakState.IN_WORK if row.owner_id else BreakState.OPEN, None
    save_with_reason(row, *facts, "seen_at", "state", "closed_at", reason="Found again" if is_back else "It changed")
    return is_back
