"""Figures that ask for attention beside the navigation: shown on every page, so each is capped and kept for a minute.

Each query reads an index that holds only the rows in question (wallets with a threshold, unpriced records), so that it
costs what it shows, not what the table holds.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.core.cache import cache
from django.db.models import QuerySet
from django.utils import timezone

from billing.models import Alert, AlertKind, AlertState, AutoTopUp, AutoTopUpState, CheckRun, Project, UsageRecord, Wallet
from billing.queries import (
    budget_exceptions,
    costs,
    money_back,
    movement_requests,
    stripe_balance,
    stripe_events,
    unapplied,
)
from pricing.queries import proposals, rate_imports

CAP: Final = 99
UNPRICED_WINDOW: Final = timedelta(days=30)
_KEPT_SECONDS: Final = 60


def low_wallets() -> str:
    """Count wallets below the threshold that was set for them; empty for none, `99+` above 99."""
    return kept("low_wallets", lambda: capped(below_threshold()))


def below_threshold() -> "QuerySet[Wallet]":
    """Return the wallets whose credits, without what is held, are below their threshold."""
    return Wallet.objects.filter(is_low=True)


def unpriced_records() -> str:
    """Count usage records of the last 30 days whose provider cost is unknown."""
    return kept("unpriced_records", lambda: capped(unpriced(since=timezone.now() - UNPRICED_WINDOW)))


def unpriced(*, since: Any) -> "QuerySet[UsageRecord]":
    """Return the usage records since `since` whose provider cost is unknown to this day."""
    return costs.unpriced(UsageRecord.objects.filter(occurred_at__gte=since))


def stopped_auto_topups() -> str:
    """Count the auto top-ups that stopped by themselves and wait for a person."""
    return kept("stopped_auto_topups", lambda: capped(AutoTopUp.objects.filter(state=AutoTopUpState.STOPPED)))


def open_proposals() -> str:
    """Count the proposed prices that wait for a decision."""
    return kept("open_proposals", lambda: capped(proposals.open_proposals()))


def waiting_movements() -> str:
    """Count the movements of credits that wait for a second person."""
    return kept("waiting_movements", lambda: capped(movement_requests.waiting()))


def waiting_exceptions() -> str:
    """Count the exceptions to budgets that wait for a second person."""
    return kept("waiting_exceptions", lambda: capped(budget_exceptions.waiting()))


def broken_rules() -> str:
    """Count the rules that the last ledger check found broken."""
    return kept("broken_rules", _broken)


def pending_rate_imports() -> str:
    """Count imports of provider rates of which a line waits for a decision."""
    return kept("pending_rate_imports", lambda: capped(rate_imports.pending_imports()))


def unapplied_payments() -> str:
    """Count the payments beside orders that were neither credited nor sent back."""
    return kept("unapplied_payments", lambda: capped(unapplied.waiting()))


def waiting_refunds() -> str:
    """Count the refunds of top-ups that wait for a second person."""
    return kept("waiting_refunds", lambda: capped(money_back.waiting()))


def open_disputes() -> str:
    """Count the disputes and inquiries that are not decided."""
    return kept("open_disputes", lambda: capped(money_back.under_way()))


def dead_stripe_events() -> str:
    """Count Stripe's events that failed too often."""
    return kept("dead_stripe_events", lambda: capped(stripe_events.dead()))


def unexplained_payouts() -> str:
    """Count the payouts of three days and more that their movements do not add up to."""
    return kept("unexplained_payouts", lambda: capped(stripe_balance.unexplained_payouts(now=timezone.now())))


def open_alerts() -> str:
    """Count the alerts that nobody has seen to."""
    return kept("open_alerts", lambda: capped(Alert.objects.filter(state=AlertState.OPEN)))


def open_spikes() -> str:
    """Count the spikes that nobody has seen to."""
    return kept("open_spikes", lambda: capped(Alert.objects.filter(state=AlertState.OPEN, kind=AlertKind.SPIKE)))


def has_demo_data() -> bool:
    """Say whether a demo company lives here."""
    return bool(kept("has_demo_data", lambda: "1" if Project.objects.filter(is_demo=True).exists() else ""))


def _broken() -> str:
    last = CheckRun.objects.order_by("-started_at").first()
    return str(sum(1 for rule in last.rules if rule["break_count"]) or "") if last else ""


def capped(rows: "QuerySet[Any]") -> str:
    """Count rows, at most so many that `99+` says it."""
    count = rows.order_by()[: CAP + 1].count()
    return f"{CAP}+" if count > CAP else str(count or "")


def kept(name: str, read: Callable[[], str]) -> str:
    """Answer from memory for a minute, per process."""
    key = f"badge:{name}"
    text: str | None = cache.get(key)
    if text is None:
        text = read()
        cache.set(key, text, _KEPT_SECONDS)
    return text
