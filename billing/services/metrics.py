"""What `/metrics` tells of billing: what this process counted about metering, and how Stripe's inbox stands."""

import logging
from collections.abc import Iterator

from django.db import Error
from django.utils import timezone
from prometheus_client import REGISTRY, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from billing.queries import stripe_events

log = logging.getLogger(__name__)

EVENTS = Counter("meterdesk_events_total", "Events answered, by result code.", ["result"])
REFUSALS = Counter(
    "meterdesk_refusals_total", "Calls refused by the rules of the desk, by code; events of batches are told by result.", ["code"]
)
FLUSH_EVENTS = Histogram("meterdesk_flush_events", "Events per metering transaction.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512))


class StripeInbox(Collector):
    """The inbox as it is when somebody asks: the same from every process. Nothing while the database is away."""

    def describe(self) -> Iterator[Metric]:
        """Name no metric when this is registered, which would ask the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        try:
            waiting = stripe_events.waiting()
        except Error as error:
            log.warning("the inbox could not be counted: %s", error)
            return
        now = timezone.now()
        ages = GaugeMetricFamily(
            "meterdesk_stripe_inbox_age_seconds", "How long the oldest event waits that nobody has looked at.", labels=["queue"]
        )
        counts = GaugeMetricFamily("meterdesk_stripe_inbox_events", "Events that have not come to an end.", labels=["queue", "state"])
        for queue, one in waiting.items():
            ages.add_metric([queue], (now - one.oldest_at).total_seconds() if one.oldest_at else 0.0)
            for state, count in (("new", one.new), ("again", one.again), ("dead", one.dead)):
                counts.add_metric([queue, state], count)
        yield ages
        yield counts


REGISTRY.register(StripeInbox())
