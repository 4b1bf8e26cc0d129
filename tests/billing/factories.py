"""A company in a few lines: a project with a key, customers with credits, an event type with a price.

Factories for plain rows; what has a command of its own (deposits, keys, prices) is made by that command.
"""

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory

from billing.events import Caller, Event
from billing.models import CostCenter, Environment, PaymentSource, Project, Scope, Team, Wallet
from billing.services import customers, keys, sales
from billing.services.journal import Posted
from pricing.models import EventType, PriceRule, PriceVersion, Segment
from pricing.services import prices

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
LAST_YEAR = datetime(2025, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


class TeamFactory(DjangoModelFactory[Team]):
    class Meta:
        model = Team

    name = Sequence(lambda n: f"Team {n}")


class CostCenterFactory(DjangoModelFactory[CostCenter]):
    class Meta:
        model = CostCenter

    code = Sequence(lambda n: f"CC-{4000 + n}")
    name = "Support"


class ProjectFactory(DjangoModelFactory[Project]):
    class Meta:
        model = Project

    key = Sequence(lambda n: f"project-{n}")
    name = Sequence(lambda n: f"Project {n}")
    team = SubFactory(TeamFactory)
    cost_center = SubFactory(CostCenterFactory)


def a_token(project: Project, *, scopes: list[Scope] | None = None, now: datetime = NOW, **options: Any) -> str:
    """Issue a key and return its token."""
    return keys.issue(project=project, name="tests", scopes=scopes or list(Scope), now=now, **options).token


def a_caller(project: Project | None = None, *, environment: Environment = Environment.PRODUCTION) -> Caller:
    """Speak for a project without a key."""
    return keys.project_caller(project or ProjectFactory.create(), environment=environment, actor="system:tests")


def a_price(
    credits: str = "4", *, event: str = "chat.reply", segment: Segment = Segment.DEFAULT, segment_key: str = "", **options: Any
) -> PriceVersion:
    """Publish a price, in force since last year unless told otherwise."""
    event_type, _ = EventType.objects.get_or_create(name=event, defaults={"label": event})
    rule, _ = PriceRule.objects.get_or_create(event_type=event_type, segment=segment, segment_key=segment_key)
    terms: dict[str, Any] = {"effective_from": LAST_YEAR, "reason": "Opening price", "actor": None, "now": NOW}
    return prices.publish_version(rule=rule, credits_per_event=Decimal(credits), **(terms | options))


def a_wallet(caller: Caller, customer: str = "user_42", *, credits: str | None = None, plan: str = "", now: datetime = NOW) -> Wallet:
    """Create a customer; with `credits` its wallet is topped up at one cent a credit."""
    wallet = customers.upsert(caller=caller, external_id=customer, changes={"plan": plan}, now=now).customer.wallet
    if credits is not None:
        a_deposit(wallet, credits, now=now)
        wallet.refresh_from_db()
    return wallet


def a_deposit(wallet: Wallet, credits: str, *, amount: str | None = None, now: datetime = NOW, **options: Any) -> Posted:
    """Top a wallet up, at one cent a credit unless an amount is given."""
    value = Decimal(amount) if amount is not None else Decimal(credits) / 100
    terms = {"source": PaymentSource.CUSTOM, "payment_id": f"pay_{next(_numbers)}", "actor": "system:tests", "currency": "USD"}
    return sales.deposit(wallet_id=wallet.pk, credits=Decimal(credits), amount=value, now=now, **(terms | options))


def an_event(caller: Caller, key: str | None = None, **fields: Any) -> Event:
    """Report one `chat.reply` of user_42; a key of its own unless one is given."""
    facts = {"event": "chat.reply", "customer": "user_42", "body_hash": b"0" * 16, "request_id": "req_test"}
    return Event(caller=caller, idempotency_key=key or f"key_{next(_numbers)}", **(facts | fields))
