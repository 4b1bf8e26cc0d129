"""`python manage.py meter_trace session.json requests.csv`: meter recorded traffic as apps would report it.

What the formats hold, and how much of it is concluded, is told in `billing.traces`. Running it again charges nothing.
A corrected file is another file, so rows that were left out belong into a file of their own.
"""

import io
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from billing.events import Caller, Event, body_hash
from billing.models import EntryKind, Environment, IdempotencyKey, JobStatus, LedgerEntry, PipelineRun, Project, Wallet
from billing.models.customer import external_id_validator
from billing.services import charging, customers, keys, ledger, partitions, projects, runs
from billing.traces import metering, reading
from billing.traces.metering import Plan, Totals
from billing.traces.trace import Trace, TraceError
from config.base.errors import DomainError
from config.base.exact import CREDIT_PLACES, has_more_places, plain
from pricing import price_book
from pricing.models import EventType, PriceRule, PriceVersion, ProviderRate, Segment
from pricing.services import prices
from pricing.services.refusals import PriceRefusedError

ACTOR = "system:meter_trace"
PROJECT = "traces"
CUSTOMER = "trace"
GRANT_REASON = "trace import"


class Command(BaseCommand):
    """Edge of `charging.charge` for recorded traffic: reads files and the clock, prints what came of it."""

    help = "Meter recorded traffic: agent sessions (.json) and Azure LLM inference traces (.csv). Again charges nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--project", default=PROJECT, help=f"key of the project, made if missing; default: {PROJECT}")
        parser.add_argument("--environment", default=Environment.PRODUCTION.value, choices=Environment.values)
        parser.add_argument("--start", type=_moment, help="when each trace begins (ISO); default: as recorded, sessions end now")
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--customer", default=CUSTOMER, help=f"whose wallet pays, made if missing; default: {CUSTOMER}")
        whose.add_argument("--internal", action="store_true", help="nobody pays: usage of our own, recorded with its cost")
        parser.add_argument("--event", help="event type; default: agent.step for sessions, llm.request for Azure traces")
        parser.add_argument("--price", type=_credits, metavar="CREDITS", help="opening price of an event type that has none")
        parser.add_argument("--grant", type=_credits, metavar="CREDITS", help="give the customer credits first, once for these files")
        parser.add_argument("--import-rates", action="store_true", help="fill an empty catalogue of provider rates from genai-prices")
        parser.add_argument("--json", action="store_true", help="print the totals as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """Read all files, prepare what they need, meter them one after the other."""
        now, began, totals = timezone.now(), time.monotonic(), Totals()
        traces = list(self._read(options["paths"], totals, event=options["event"]))
        if traces:
            try:
                self._meter_all(traces, totals, options, now)
            except (DomainError, PriceRefusedError) as error:
                raise CommandError(str(error)) from error
        self._print(totals, time.monotonic() - began, as_json=options["json"])
        if not totals.is_complete:
            raise CommandError("Some of it was not metered; the lines above say what and why.")

    def _read(self, paths: Sequence[Path], totals: Totals, *, event: str | None) -> Iterator[tuple[Trace, str]]:
        """Yield each trace with its event type; a file or row that cannot be read is told and left out."""
        for path in paths:
            try:
                trace = reading.read(path)
            except TraceError as error:
                totals.faults.append(f"{path}: {error}")
            else:
                totals.faults += [f"{path}: {fault}" for fault in trace.faults]
                if trace.steps:
                    yield trace, event or trace.event
                elif not trace.faults:
                    totals.faults.append(f"{path}: holds no request")
        for fault in totals.faults:
            self.stderr.write(fault)

    def _meter_all(self, traces: Sequence[tuple[Trace, str]], totals: Totals, options: dict[str, Any], now: datetime) -> None:
        customer = None if options["internal"] else _customer_id(options["customer"])
        with transaction.atomic():
            project, _ = projects.ensure(key=options["project"])
            caller = keys.project_caller(project, environment=Environment(options["environment"]), actor=ACTOR)
            wallet = customers.upsert(caller=caller, external_id=customer, changes={}, now=now).customer.wallet if customer else None
            plans = [_plan(trace, event, caller, customer, start=options["start"], now=now) for trace, event in traces]
            _ensure_rates([trace for trace, _ in traces], do_import=options["import_rates"])
            _ensure_prices(plans, wallet, credits=options["price"], now=now)
            if wallet and options["grant"] and _grant(wallet, options["grant"], [trace for trace, _ in traces], project, now):
                self.stderr.write(f"granted {plain(options['grant'])} credits to {customer}")
        for (trace, _), plan in zip(traces, plans, strict=True):
            self._meter(trace, plan, totals)

    def _meter(self, trace: Trace, plan: Plan, totals: Totals) -> None:
        partitions.ensure(first=plan.begins, last=plan.begins + trace.length)
        if trace.agents:
            _announce(trace, plan)
        done, total = 0, len(trace.steps)
        for batch in _batches(metering.events(trace, plan)):
            totals.add(batch, charging.charge(batch, now=timezone.now()))
            done += len(batch)
            self.stderr.write(f"{trace.name}: {done:,} of {total:,}")

    def _print(self, totals: Totals, seconds: float, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(totals.as_json() | {"seconds": round(seconds, 3)}, indent=2))
        else:
            handled = totals.events + totals.duplicates + totals.rejected.total()
            for line in totals.as_lines():
                self.stdout.write(line)
            self.stdout.write(f"time        {seconds:.1f} s, {handled / seconds:,.0f} events/s, reading included")


def _plan(trace: Trace, event: str, caller: Caller, customer: str | None, *, start: datetime | None, now: datetime) -> Plan:
    """Decide when the trace is taken to have begun. A session that was begun before goes on at the time that it had then."""
    begins = start or trace.recorded_at or now - trace.length
    if trace.agents:
        known = PipelineRun.objects.filter(project_id=caller.project_id, environment=caller.environment, run_id=trace.run_id).first()
        begins = known.started_at if known else begins
    if begins + trace.length > now:
        raise CommandError(f"{trace.name} lasts {trace.length} and would end in the future: let it --start earlier.")
    return Plan(caller, customer, event, begins)


def _ensure_prices(plans: Sequence[Plan], wallet: Wallet | None, *, credits: Decimal | None, now: datetime) -> None:
    """Make event types and opening prices where `credits` were given. Raises CommandError when a price is missing."""
    firsts: dict[str, datetime] = {}
    for plan in plans:
        firsts[plan.event] = min(plan.begins, firsts.get(plan.event, plan.begins))
    for event, first in firsts.items():
        kind = EventType.objects.filter(name=event).first()
        if kind is None and credits is None:
            raise CommandError(f"There is no event type {event}. Create it in the admin with a price, or give --price CREDITS.")
        kind = kind or prices.create_event_type(name=event, label=event.replace(".", " ").capitalize(), unit_name="request", actor=None)
        if wallet is None or _is_priced(kind, wallet, first):
            continue
        if PriceVersion.objects.filter(rule__event_type=kind, rule__segment=Segment.DEFAULT).exists():
            raise CommandError(f"{event} had no price at {first.isoformat()}, and a past cannot be priced anew: give a later --start.")
        if credits is None:
            raise CommandError(f"{event} had no price at {first.isoformat()}. Publish one in the admin, or give --price CREDITS.")
        rule = PriceRule.objects.filter(event_type=kind, segment=Segment.DEFAULT).first()
        prices.publish_version(
            rule=rule or prices.create_rule(event_type=kind, actor=None),
            credits_per_event=credits,
            effective_from=first.replace(hour=0, minute=0, second=0, microsecond=0),
            reason="Opening price, given to meter_trace for recorded traffic",
            actor=None,
            now=now,
        )


def _is_priced(kind: EventType, wallet: Wallet, at: datetime) -> bool:
    customer = wallet.customer
    book = price_book.current()
    return book.price_for(event_type_id=kind.pk, customer_key=customer.price_key, plan=customer.plan, at=at) is not None


def _ensure_rates(traces: Sequence[Trace], *, do_import: bool) -> None:
    """Without any rate the cost of every request would stay unknown; a trace without models has none to find anyway."""
    if ProviderRate.objects.exists() or not any(step.usage.model for trace in traces for step in trace.steps):
        return
    if not do_import:
        raise CommandError("There are no provider rates: run `import_rates genai-prices --accept` first, or give --import-rates.")
    call_command("import_rates", "genai-prices", "--accept", stdout=io.StringIO())


def _grant(wallet: Wallet, credits: Decimal, traces: Sequence[Trace], project: Project, now: datetime) -> bool:
    """Give credits once for these files, however often the command runs, and none for files that were begun before."""
    first_keys = {metering.key_of(trace, trace.steps[0]) for trace in traces}
    if IdempotencyKey.objects.filter(project_id=project.pk, key__in=first_keys).count() == len(first_keys):
        return False
    reason = f"{GRANT_REASON} {body_hash('traces', ' '.join(sorted(trace.digest for trace in traces)).encode()).hex()[:12]}"
    if LedgerEntry.objects.filter(wallet=wallet, kind=EntryKind.GRANT, reason=reason).exists():
        return False
    ledger.grant(wallet_id=wallet.pk, credits=credits, reason=reason, actor=ACTOR, now=now)
    return True


def _announce(trace: Trace, plan: Plan) -> None:
    """Make the session a pipeline run and each of its agents a job."""
    ended = {"status": JobStatus.SUCCEEDED, "started_at": plan.begins, "ended_at": plan.begins + trace.length}
    now = plan.begins + trace.length
    runs.put_run(caller=plan.caller, run_id=trace.run_id, changes={"trigger": "trace", **ended}, now=now)
    for agent in trace.agents:
        job = {
            "run_id": trace.run_id,
            "agent_type": agent.agent_type,
            "status": JobStatus.SUCCEEDED if agent.is_completed else JobStatus.FAILED,
            "started_at": plan.begins + agent.starts,
            "ended_at": plan.begins + agent.ends,
        }
        runs.put_job(caller=plan.caller, job_id=metering.job_id(trace, agent.name), changes=job, now=now)


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while batch := list(itertools.islice(events, charging.MAX_EVENTS)):
        yield batch


def _customer_id(text: str) -> str:
    try:
        external_id_validator(text)
    except ValidationError as error:
        raise CommandError(f"--customer: {' '.join(error.messages)}") from error
    return text


def _credits(text: str) -> Decimal:
    try:
        credits = Decimal(text)
        is_good = 0 < credits < 10**12 and not has_more_places(credits, CREDIT_PLACES)
    except InvalidOperation:
        is_good = False
    if not is_good:
        raise ValueError(text)
    return credits


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


_credits.__name__ = "number of credits (more than zero, at most 6 places)"
_moment.__name__ = "ISO 8601 time"
