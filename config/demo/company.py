"""Founding the company: everything in the order in which it would have happened.

One transaction per day: rows that change with every charge would grow ever longer tails of dead versions in a single one
(measured: twice the time). The last thing that is written marks the company as finished.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.conf import settings
from django.db import connection, transaction

from billing.events import Charged, Event, Outcome, Owner, Refused
from billing.models import IdempotencyKey, LedgerEntry, Project, Seal, UsageRecord
from billing.services import charging, holds, partitions, seals, sweeping, unpriced
from config.demo import agent_work, buyers, decisions, limits, people, price_list, shape, to_try, traffic
from config.demo.agent_work import Run
from config.demo.money import Till
from config.demo.shape import Day
from config.demo.stripe import running
from config.demo.top_ups import Shop
from pricing.feeds import files
from pricing.models import EventType, Workspace
from pricing.models.workspace import THE_WORKSPACE
from pricing.services import rate_decisions, rate_imports
from reports import advice, breaks, scorecards

NAME = "Lumen & Finch (demo)"
PROVIDERS = ("anthropic", "openai", "google", "mistral")
FLUSHES_PER_DAY = 6
_LAST = "late"  # the key of the event that is charged last
Say = Callable[[str], None]


class NotEmptyError(Exception):
    """The database holds data of a real company; the demo would mix with it."""


@dataclass(slots=True)
class Founded:
    """What was made."""

    new_users: tuple[str, ...]
    events: int = 0
    refused: int = 0


def is_begun() -> bool:
    """Say whether this database has a demo company, whole or not."""
    return Project.objects.filter(is_demo=True).exists()


def is_finished() -> bool:
    """Say whether the demo company was made to its end."""
    return IdempotencyKey.objects.filter(project_id__in=Project.objects.filter(is_demo=True), key=traffic.key_of(_LAST)).exists()


def found(*, password: str, now: datetime, seed: int, say: Say) -> Founded:
    """Make the whole company and seal its hours. Raises NotEmptyError."""
    if any(model.objects.exists() for model in (EventType, UsageRecord, LedgerEntry, Seal)):
        raise NotEmptyError("This database has prices or usage of its own, and the demo company would mix with them. Use an empty one.")
    days = shape.days(now)
    with _unsealed(), running.for_history(settings.VAR_DIR) as bank:
        with _step():
            staff = people.hire(password=password, now=now)
            callers = people.open_projects(staff.users, now=days[0].starts)
            Workspace.objects.get_or_create(pk=THE_WORKSPACE)
            Workspace.objects.filter(pk=THE_WORKSPACE, name="Meterdesk").update(name=NAME)
            _fill_rates(opened=days[0].starts, now=now)
            price_list.publish(staff.users, now=now)
            partitions.ensure(first=days[0].starts, last=now + timedelta(days=70))
            say("people, projects, provider rates and prices are there")
            customers = buyers.sign_up(callers, Random(seed), first=days[0].starts)  # noqa: S311 - a company is invented here, not a key
            till = Till(customers, staff.users, seed, Shop(bank, staff.users) if bank else None)
            till.open(now=days[0].starts)
            say(f"{len(customers)} customers have wallets")
        founded = Founded(staff.new)
        for day in days:
            if day.ago == limits.OPENED_DAYS_AGO:
                with _step():
                    limits.open_all(staff.users, now=day.starts + timedelta(hours=9))
            with _step():
                _live(day, callers, till, founded, now=now, seed=seed)
            if day.ago % 15 == 0:
                say(f"{len(days) - 1 - day.ago} of {len(days) - 1} days, {founded.events:,} events")
        with _step():
            _finish(till, founded, now=now)
        with _step():
            limits.review(staff.users, now=now)
        with _step():
            given = list(advice.advise_all(advice.rules_in_force(now=now), now=now))
            scorecards.keep_due(now=now)
            proposed = sum(one.proposal is not None for one in given)
            say(f"the Pricing Advisor has looked at {len(given)} prices and proposes to change {proposed}")
        say(f"{len(seals.seal_due(now=now)):,} hours are sealed")
        unpriced.count(now=now)
        found_breaks = breaks.find(now=now)
        say(f"the reconciliation with Stripe has found {found_breaks.there} break{'' if found_breaks.there == 1 else 's'} to see to")
    return founded


@contextmanager
def _unsealed() -> Iterator[None]:
    """Keep others from sealing the hours that we are still writing into: the lock that sealing takes, for longer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [seals.SEALING_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [seals.SEALING_LOCK])


@contextmanager
def _step() -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '60s'")
        yield


def _fill_rates(*, opened: datetime, now: datetime) -> None:
    """Take over what the installed feed states; what a guard holds back waits for whoever looks at the desk."""
    feed = files.installed(only_providers=PROVIDERS)
    done = rate_imports.import_feed(feed=feed, as_of=now, providers=PROVIDERS, actor=None, now=opened)
    rate_decisions.accept_unguarded(rate_import=done.rate_import, actor=None, now=opened)


def _live(day: Day, callers: traffic.Callers, till: Till, founded: Founded, *, now: datetime, seed: int) -> None:
    """Live through one day, as far as it is over."""
    if day.starts + timedelta(hours=1) > now:
        return
    sweeping.expire_due_lots(now=day.starts + timedelta(minutes=5))
    till.begin(day)
    decisions.begin(day, till.users)
    runs = agent_work.of_day(day, till.buyers, seed=seed)
    events = sorted([*traffic.of_day(day, callers, till.buyers, seed=seed), *_steps(runs)], key=lambda e: (_at(e), e.idempotency_key))
    at = day.starts + timedelta(hours=1)
    length = timedelta(days=1) / FLUSHES_PER_DAY
    for number in range(FLUSHES_PER_DAY):
        upto = min(max(day.starts + length * (number + 1), at), now)
        part = [event for event in events if _at(event) < upto]
        events = events[len(part) :]
        _charge(part, day, till, founded, now=upto)
    for run in runs:
        if run.starts <= now:
            agent_work.announce(run, now=now)
    holds.expire_due(now=min(day.starts + timedelta(days=1), now))


def _steps(runs: list[Run]) -> list[Event]:
    return [event for run in runs for job in run.jobs for event in job.events]


def _at(event: Event) -> datetime:
    assert event.occurred_at is not None
    return event.occurred_at


def _charge(events: list[Event], day: Day, till: Till, founded: Founded, *, now: datetime) -> None:
    for start in range(0, len(events), charging.MAX_EVENTS):
        batch = events[start : start + charging.MAX_EVENTS]
        results = charging.charge(batch, now=now)
        till.note(batch, results, day)
        founded.events += sum(isinstance(result, Charged) for result in results)
        founded.refused += sum(isinstance(result, Refused) for result in results)


def _finish(till: Till, founded: Founded, *, now: datetime) -> None:
    """The last minutes: holds that are still open, an event of Stripe's that failed, and one of ours that comes three days late."""
    if till.shop:
        to_try.fail_an_event(till.shop.bank, now=now)
    agents = [b for b in till.buyers if b.project == "agent-platform" and b.habit is buyers.Habit.BUYS]
    for number, buyer in enumerate(agents[:3]):
        till.hold(buyer, f"open/{number}", now, expires_in=6 * 3600)
    caller = agents[0].caller
    facts = {"outcome": Outcome("ok", 200), "owner": Owner(workflow="pipeline"), "metadata": {"note": "sent again"}}
    late = traffic.event(caller, "agent.run", now - timedelta(days=3), _LAST, **facts)
    _charge([late], shape.days(now)[-1], till, founded, now=now)
