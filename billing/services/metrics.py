"""What this process counts about metering, for `/metrics`."""

from prometheus_client import Counter, Histogram

EVENTS = Counter("meterdesk_events_total", "Events answered, by result code.", ["result"])
FLUSH_EVENTS = Histogram("meterdesk_flush_events", "Events per metering transaction.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
