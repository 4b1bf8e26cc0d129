"""Events in the inbox as tests need them: posted as Stripe would, and handlers that stand in for nothing but themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from billing.models import StripeEvent
from billing.services import inbox
from billing.services.stripe_handling import Handler
from tests.stripe_objects import SECRET, body_of, charge, event, signature

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
TEST_KEY = "sk_test_of_the_tests"


def post(happened: dict[str, Any], *, now: datetime = NOW) -> inbox.Receipt:
    """Post an event as Stripe would."""
    body, secret = body_of(happened), next(iter(settings.STRIPE_WEBHOOK_SECRETS), SECRET)
    return inbox.receive(body=body, signature=signature(body, secret=secret, at=int(now.timestamp())), now=now)


def arrived(kind: str = "tests.happened", *, now: datetime = NOW, **overlay: Any) -> StripeEvent:
    """Post an event about some charge and return its row."""
    return StripeEvent.objects.get(event_id=post(event(kind, charge(), **overlay), now=now).event_id)


@contextmanager
def handled_by(handler: Handler, kind: str = "tests.happened") -> Iterator[None]:
    """Have a type of events worked off by `handler`."""
    inbox.HANDLERS[kind] = handler
    try:
        yield
    finally:
        del inbox.HANDLERS[kind]


def noting(seen: list[str]) -> Handler:
    """Note which events come, in their order."""

    def handler(event: StripeEvent, _: datetime) -> str:
        seen.append(event.event_id)
        return "Seen."

    return handler
