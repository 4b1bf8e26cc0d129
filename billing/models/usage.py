"""Usage records: one normalised record of one action.

Who asked for it, which route and model served it, which units it used, how it went, what it cost the customer in credits
and us in money. Prompts and outputs are never stored. The table is partitioned by month of `occurred_at`, and its
partitions may be dropped by retention; the ledger does not depend on them.
"""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from billing.models.environment import Environment
from billing.models.fields import balance_field, credits_field, money_field
from config.base.models import append_only, never_truncated


class CostStatus(models.TextChoices):
    """What is known about the provider cost of a record."""

    PRICED = "priced"  # every unit had a rate in the catalogue
    UNPRICED = "unpriced"  # some unit had none: a work item, never zero
    REPORTED = "reported"  # the app told the cost itself
    NONE = "none"  # the action used no provider


def _text(length: int, **options: object) -> "models.CharField[str, str]":
    return models.CharField(max_length=length, blank=True, default="", **options)  # type: ignore[arg-type]


class UsageRecord(models.Model):
    """Field groups as in the field dictionary of the product's source documents; the groups are marked below."""

    # Identity and time. In the database the key is (id, occurred_at), as a partitioned table needs it.
    id = models.BigIntegerField(primary_key=True)
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    request_id = _text(64)
    trace_id = _text(128)
    gateway_log_id = _text(128)
    batch_job_id = _text(128)
    # Ownership, environment and workflow
    project = models.ForeignKey("billing.Project", on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    api_key = models.ForeignKey(
        "billing.ApiKey", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    environment = models.CharField(max_length=16, choices=Environment.choices)
    team = models.ForeignKey("billing.Team", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    cost_center = _text(32, verbose_name="cost centre")
    customer = models.ForeignKey(
        "billing.Customer", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    user = _text(128)
    service_account = _text(128)
    workflow = _text(64)
    run_id = _text(128, verbose_name="run")
    job_id = _text(128, verbose_name="job")
    agent_type = _text(64)
    # The product action
    event_type = models.ForeignKey("pricing.EventType", on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    quantity = credits_field(default=1)
    # Model and endpoint
    provider = _text(64)
    model = _text(128)
    endpoint = _text(64)
    modality = _text(32)
    service_tier = _text(32)
    route_group = _text(64)
    final_route = _text(128)
    # Token metrics; `input_tokens` includes cached and audio input, `cache_write_tokens` those kept for an hour, and
    # `output_tokens` reasoning and audio output.
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0, verbose_name="cached input tokens")
    cache_write_tokens = models.BigIntegerField(default=0)
    # The database's own default, so that processes that do not know the column go on writing until they are replaced.
    cache_write_1h_tokens = models.BigIntegerField(default=0, db_default=0, verbose_name="one-hour cache write tokens")
    reasoning_tokens = models.BigIntegerField(default=0)
    audio_input_tokens = models.BigIntegerField(default=0)
    audio_output_tokens = models.BigIntegerField(default=0)
    images = models.IntegerField(default=0)
    video_seconds = models.DecimalField(max_digits=12, decimal_places=3, default=0)
    # Request metrics
    requests = models.IntegerField(default=1)
    fallbacks = models.IntegerField(default=0)
    retries = models.IntegerField(default=0)
    is_batch = models.BooleanField(default=False)
    is_stream = models.BooleanField(default=False)
    is_accepted = models.BooleanField(null=True)
    # Reliability
    status = _text(16)
    status_code = models.SmallIntegerField(null=True)
    error_class = _text(64)
    timeout_reason = _text(64)
    latency_ms = models.IntegerField(null=True)
    ttft_ms = models.IntegerField(null=True, verbose_name="time to first token (ms)")
    duration_ms = models.IntegerField(null=True)
    # Price and cost
    credits = credits_field(default=0)
    price_version = models.ForeignKey(
        "pricing.PriceVersion", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    price_lines = models.JSONField(default=list)
    cost_status = models.CharField(max_length=8, choices=CostStatus.choices)
    cost_amount = money_field(null=True)
    cost_currency = _text(3)
    cost_lines = models.JSONField(default=list)
    # The answer that the caller got, for a repeated call
    balance_after = balance_field(null=True)
    available_after = balance_field(null=True)
    hold = models.ForeignKey("billing.Hold", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    metadata = models.JSONField(default=dict)

    class Meta:
        permissions = (("refund_event", "Can refund an event"),)
        indexes = (
            BrinIndex(fields=("occurred_at",), name="usage_by_time", pages_per_range=32),
            models.Index(fields=("occurred_at",), name="usage_unpriced", condition=Q(cost_status="unpriced")),
            models.Index(fields=("customer", "-occurred_at"), name="usage_of_customer", condition=Q(customer__isnull=False)),
            models.Index(fields=("project", "run_id", "-occurred_at"), name="usage_of_run", condition=~Q(run_id="")),
        )
        constraints = (
            models.CheckConstraint(
                name="usage_1h_writes_are_cache_writes",
                condition=Q(cache_write_1h_tokens__gte=0, cache_write_1h_tokens__lte=F("cache_write_tokens")),
            ),
        )
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"evt_{self.pk}"
