"""A desk with one row of everything that has a page."""

from datetime import datetime, timedelta
from decimal import Decimal

from axes.models import AccessAttempt
from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from billing.events import Charged
from billing.models import (
    AgentJob,
    AlertChannel,
    BalanceTransaction,
    CheckRun,
    Dispute,
    Hold,
    Launch,
    MovementRequest,
    Payout,
    PipelineRun,
    PlatformFee,
    Project,
    Rerating,
    Seal,
    StripeEvent,
    TopUpRefund,
    UnpricedGroup,
    Wallet,
)
from billing.services import budget_exceptions, charging
from pricing.models import PriceVersion
from reports.models import ReconciliationBreak
from tests.billing import budgeting
from tests.billing.alerting import an_alert
from tests.billing.factories import ProjectFactory, a_caller, a_price, a_token, a_wallet, an_event
from tests.billing.saving import an_auto_topup
from tests.billing.selling import a_pack, an_order
from tests.people import a_person
from tests.pricing.factories import ProviderRateFactory, RateChangeFactory
from tests.pricing.proposals import a_persons_proposal


def a_company(now: datetime) -> Project:
    """Make a project with a key, a price, a customer with credits, and one charged event."""
    project = ProjectFactory.create(key="support-bot", name="Support bot")
    caller = a_caller(project)
    a_token(project)
    a_price("4")
    a_wallet(caller, credits="1000", now=now - timedelta(hours=3))
    [result] = charging.charge([an_event(caller, request_id="req_first")], now=now)
    assert isinstance(result, Charged)
    return project


def everything() -> dict[str, int]:
    """Make at least one row of each model that has a page; returns one key per model label."""
    now = timezone.now()
    budget = budgeting.a_budget("1000", now=now)  # before anything is charged: it waits for charges under way, as ours would be
    project = a_company(now)
    run = PipelineRun.objects.create(project=project, run_id="run_1", started_at=now)
    AgentJob.objects.create(project=project, job_id="job_1", run=run, started_at=now)
    ProviderRateFactory.create()
    RateChangeFactory.create()
    wallet = project.customers.get().wallet
    Hold.objects.create(
        project=project,
        wallet=wallet,
        event_type=PriceVersion.objects.get().rule.event_type,
        credits=Decimal(10),
        available_after=Decimal(900),
        created_at=now,
        first_expires_at=now + timedelta(hours=1),
        expires_at=now + timedelta(hours=1),
    )
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    Seal.objects.create(
        starts_at=hour, ends_at=hour + timedelta(hours=1), entry_count=0, credits=0, value=0, previous_digest="", digest="d", sealed_at=now
    )
    CheckRun.objects.create(started_at=now, duration_ms=1, entry_count=0, is_clean=True, rules=[], actor="system:tests")
    period = {"since": hour, "until": now}
    Rerating.objects.create(**period, basis="unpriced", reason="Rates added", actor="user:vera", requested_at=now, position_at=hour)
    seen = {"first_seen_at": hour, "last_seen_at": now, "counted_at": now}
    UnpricedGroup.objects.create(model="nova-2", first_record_id=1, last_record_id=1, **seen)
    StripeEvent.objects.create(
        event_id="evt_1",
        type="charge.updated",
        is_live=False,
        object_id="ch_1",
        origin="webhook",
        body='{"data": {"object": {"id": "ch_1"}}}',
        happened_at=now,
        received_at=now,
        due_at=now,
    )
    topup = an_order(wallet, pack=a_pack())
    at = {"created_at": now, "changed_at": now}
    TopUpRefund.objects.create(
        topup=topup, amount_minor=1, state="requested", needs_approval=True, requested_by=a_person(name="asks"), **at
    )
    lost = {"stripe_status": "lost", "state": "lost", "opened_at": now, "changed_at": now, "told_at": now}
    Dispute.objects.create(topup=topup, stripe_id="dp_1", amount_minor=1, currency="USD", **lost)
    an_auto_topup(wallet, now=now)
    _settlement(now, wallet)
    ReconciliationBreak.objects.create(
        kind="fee", subject="txn_1", category="fees", amount_minor=88, currency="USD", happened_at=now, found_at=now, seen_at=now
    )
    AccessAttempt.objects.create(username="ann", ip_address="127.0.0.1", user_agent="", failures_since_start=3)
    interval = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.HOURS)
    PeriodicTask.objects.create(name="Seal the ledger", task="billing.tasks.seal", interval=interval)
    a_persons_proposal(a_person(name="somebody"), PriceVersion.objects.get().rule)
    facts = {"reason": "Renewal", "limit_credits": Decimal(100), "moved_credits": Decimal(0), "requested_at": now}
    MovementRequest.objects.create(kind="grant", wallet=wallet, credits=Decimal(500), requested_by=a_person(name="asker"), **facts)
    about = {"reason": "Launch", "ticket": "OPS-1", "expires_at": now + timedelta(hours=1), "requested_by": a_person(name="needs more")}
    budget_exceptions.request(budget=budget, extra=Decimal(10), now=now, **about)  # type: ignore[arg-type]
    an_alert("spike", project=project)
    AlertChannel.objects.create(name="Operations", kind="email", address="ops@example.com")
    Launch.objects.create(name="Autumn campaign", starts_at=now, ends_at=now + timedelta(days=7))
    Group.objects.create(name="Own cut")
    return {model._meta.label_lower: _a_row(model) for model in _registered()}


def _settlement(now: datetime, wallet: Wallet) -> None:
    """Make a payout of one movement, with its fee."""
    at = {"currency": "USD", "created_at": now, "received_at": now}
    payout = Payout.objects.create(stripe_id="po_1", amount_minor=455, status="paid", arrives_on=now.date(), **at)
    moved = {"amount_minor": 500, "fee_minor": 45, "net_minor": 455, "payout": payout, "payout_id_at_stripe": "po_1"}
    BalanceTransaction.objects.create(stripe_id="txn_1", type="charge", reporting_category="charge", source="ch_1", **moved, **at)
    payment = wallet.payments.order_by("pk")[0]
    PlatformFee.objects.create(
        payment=payment,
        balance_transaction="txn_1",
        amount_minor=45,
        currency="USD",
        amount=Decimal("0.45"),
        kind="payment",
        happened_at=now,
        recorded_at=now,
    )


def _registered() -> list[type[Model]]:
    from django.contrib import admin

    return list(admin.site._registry)


def _a_row(model: type[Model]) -> int:
    rows = model._default_manager.order_by("-pk")
    key: int | None = rows.values_list("pk", flat=True).first()
    assert key is not None, f"no row of {model._meta.label}: everything() must make one"
    return key
