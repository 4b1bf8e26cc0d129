"""Alerts of wallets: low, frozen, and credits that are about to expire.

Low and frozen wallets are found by indexes that hold no others. An episode, from becoming low until not being low any
more, is told of once; its alert ends with it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from billing.models import Alert, AlertKind, AlertState, Wallet, WalletStatus
from billing.services import alerts
from billing.services.alerts import News
from config.base.exact import plain

EXPIRES_WITHIN: Final = timedelta(days=7)
# A wallet that is low, and not, and low again, as holds come and go, is told of once in so long.
QUIET_FOR: Final = timedelta(minutes=10)
_PAGE: Final = 1_000
_EXPIRING: Final = """
    SELECT l.wallet_id, date_trunc('day', l.expires_at, 'UTC'), sum(l.remaining), min(l.expires_at),
        p.id, p.key, c.id, c.environment, c.external_id
    FROM billing_lot l
    JOIN billing_wallet w ON w.id = l.wallet_id
    JOIN billing_customer c ON c.id = w.customer_id
    JOIN billing_project p ON p.id = c.project_id
    WHERE l.is_open AND l.kind <> 'overdraft' AND l.expires_at > %(now)s AND l.expires_at <= %(until)s
      AND (l.wallet_id, date_trunc('day', l.expires_at, 'UTC')) > (%(wallet)s, %(day)s)
      AND NOT EXISTS (
        SELECT FROM billing_alert a WHERE a.kind = 'credits_expire' AND a.wallet_id = l.wallet_id
          AND a.window_starts_at = date_trunc('day', l.expires_at, 'UTC')
      )
    GROUP BY 1, 2, p.id, c.id ORDER BY 1, 2 LIMIT %(page)s
"""
_SPENT_OR_EXPIRED: Final = """
    SELECT a.id FROM billing_alert a WHERE a.kind = 'credits_expire' AND a.state <> 'resolved' AND NOT EXISTS (
        SELECT FROM billing_lot l WHERE l.wallet_id = a.wallet_id AND l.is_open AND l.kind <> 'overdraft'
          AND l.expires_at > %(now)s AND l.expires_at >= a.window_starts_at AND l.expires_at < a.window_starts_at + interval '1 day'
    )
"""


def evaluate(*, now: datetime) -> int:
    """Tell of wallets that became low or frozen, and resolve what is over; return how many alerts were raised."""
    episodes = (
        (AlertKind.WALLET_LOW, Q(is_low=True), Q(wallet__is_low=False)),
        (AlertKind.WALLET_FROZEN, Q(status=WalletStatus.FROZEN), ~Q(wallet__status=WalletStatus.FROZEN)),
    )
    count = 0
    for kind, is_so, is_over in episodes:
        unresolved = Alert.objects.filter(kind=kind).exclude(state=AlertState.RESOLVED)
        alerts.resolve(alerts=unresolved.filter(is_over), by=None, now=now)
        for page in _untold(kind, is_so, now):
            count += len(alerts.raise_all([_news(kind, wallet) for wallet in page], now=now))
    return count


def _untold(kind: AlertKind, is_so: Q, now: datetime) -> Iterator[list[Any]]:
    """Yield pages of wallets whose episode nobody was told of; `before` counts the earlier ones."""
    told = Alert.objects.filter(kind=kind, wallet=OuterRef("pk"))
    counted = told.order_by().values("wallet").annotate(count=Count("pk")).values("count")
    rows: QuerySet[Any] = (
        Wallet.objects.filter(is_so)
        .filter(~Exists(told.exclude(state=AlertState.RESOLVED)), ~Exists(told.filter(resolved_at__gt=now - QUIET_FOR)))
        .annotate(before=Coalesce(Subquery(counted, output_field=IntegerField()), 0), available=F("balance") - F("held"))
        .select_related("customer__project")
        .order_by("pk")
    )
    last = 0
    while page := list(rows.filter(pk__gt=last)[:_PAGE]):
        yield page
        last = page[-1].pk


def _news(kind: AlertKind, wallet: Any) -> News:
    customer = wallet.customer
    facts = _whose(customer.project.key, customer.pk, customer.environment, customer.external_id) | {
        "balance": plain(wallet.balance),
        "available": plain(wallet.available),
        "low_balance_threshold": None if wallet.low_balance_threshold is None else plain(wallet.low_balance_threshold),
    }
    return News(
        kind=kind, cause=f"{kind}:{wallet.pk}:{wallet.before + 1}", facts=facts, wallet_id=wallet.pk, project_id=customer.project_id
    )


def _whose(project: str, customer_number: int, environment: str, customer: str) -> dict[str, Any]:
    return {"project": project, "environment": environment, "customer": customer, "customer_number": customer_number}


def evaluate_expiring(*, now: datetime) -> int:
    """Tell of credits that expire within a week, once for each wallet and day (UTC); resolve where none are left to expire."""
    with connection.cursor() as cursor:
        cursor.execute(_SPENT_OR_EXPIRED, {"now": now})
        over = [pk for (pk,) in cursor.fetchall()]
    alerts.resolve(alerts=Alert.objects.filter(pk__in=over), by=None, now=now)
    count = 0
    for page in _expiring(now):
        count += len(alerts.raise_all(page, now=now))
    return count


def _expiring(now: datetime) -> Iterator[list[News]]:
    wallet, day = 0, now
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_EXPIRING, {"now": now, "until": now + EXPIRES_WITHIN, "wallet": wallet, "day": day, "page": _PAGE})
            rows = cursor.fetchall()
        if not rows:
            return
        yield [
            News(
                kind=AlertKind.CREDITS_EXPIRE,
                cause=f"credits_expire:{wallet_id}:{starts_at:%Y-%m-%d}",
                facts=_whose(key, number, environment, customer) | {"credits": plain(credits), "expires_at": expires_at.isoformat()},
                window_starts_at=starts_at,
                wallet_id=wallet_id,
                project_id=project_id,
            )
            for wallet_id, starts_at, credits, expires_at, project_id, key, number, environment, customer in rows
        ]
        wallet, day = rows[-1][:2]
