"""What reports keep because it cannot be worked out again once the usage records behind it are dropped."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import balance_field, money_field
from config.base.models import append_only, never_truncated
from pricing.models import PriceVersion


class RealisedMargin(models.Model):
    """How a version that was proposed did in its first days, written once those are over and late events are in."""

    version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="+")
    days = models.PositiveSmallIntegerField(help_text="So many days from its start were to be looked at.")
    start = models.DateTimeField()
    end = models.DateTimeField(help_text="Sooner than `days` after the start where the next version came before.")
    events = models.BigIntegerField()
    unpriced = models.BigIntegerField(help_text="Of them without a known cost: in no sum.")
    credits = balance_field()
    value = money_field()
    cost = money_field()
    currency = models.CharField(max_length=3)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(name="realised_margin_is_kept_once", fields=("version", "days")),
            models.CheckConstraint(name="realised_margin_period_is_not_empty", condition=Q(end__gt=F("start"), days__gte=1)),
            models.CheckConstraint(name="realised_margin_is_of_the_past", condition=Q(recorded_at__gte=F("end"))),
            models.CheckConstraint(name="realised_margin_counts_add_up", condition=Q(unpriced__gte=0, events__gte=F("unpriced"))),
        )
        triggers = (append_only(), never_truncated())

    def __str__(self) -> str:
        return f"{self.version}, {self.days} days"
