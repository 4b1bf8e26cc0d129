"""A price version: what a rule costs during one period, `[effective_from, effective_to)`.

Versions are the memory of "what did we charge in April?". One is written when a price is decided and never changes
again; a new price is a new version, which ends the one before it at the moment that it starts.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Mod
from django.db.models.lookups import Exact

from config.base.exact import CREDIT_DIGITS, CREDIT_PLACES, CREDIT_STEP, Rounding
from config.base.models import never_truncated, raises_generation
from pricing.definition import Definition
from pricing.models.immutable import ends_after_start, immutable, is_in_range, no_overlap
from pricing.models.price_rule import PriceRule
from pricing.price import Component, Price, Tier

_ROUNDING_CHOICES = [
    (Rounding.UP.value, "Up"),
    (Rounding.DOWN.value, "Down"),
    (Rounding.HALF_UP.value, "Nearest, half up"),
    (Rounding.HALF_EVEN.value, "Nearest, half to even"),
]


class PriceVersion(models.Model):
    """One immutable state of one rule."""

    rule = models.ForeignKey(PriceRule, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(help_text="Counts from 1 within the rule.")
    credits_per_event = models.DecimalField(max_digits=CREDIT_DIGITS, decimal_places=CREDIT_PLACES)
    components = models.JSONField(default=list, blank=True, help_text="A list of pricing.price.Component.")
    tiers = models.JSONField(default=list, blank=True, help_text="A list of pricing.price.Tier.")
    minimum = models.DecimalField(
        max_digits=CREDIT_DIGITS,
        decimal_places=CREDIT_PLACES,
        default=0,
        help_text="Credits that an event costs at least.",
    )
    rounding_step = models.DecimalField(
        max_digits=CREDIT_DIGITS,
        decimal_places=CREDIT_PLACES,
        default=CREDIT_STEP,
        help_text="Charges are multiples of it: 1 for whole credits, 0.5 for halves.",
    )
    rounding_mode = models.CharField(max_length=9, choices=_ROUNDING_CHOICES, default=Rounding.HALF_UP.value)
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True, help_text="Empty while nothing follows it.")
    reason = models.TextField(help_text="Why the price is what it is.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("rule", "-number")
        permissions = (("publish_price", "Can publish a price version"),)
        constraints = (
            models.UniqueConstraint(name="price_version_number_is_one", fields=("rule", "number")),
            no_overlap("price_version_no_overlap", "rule"),
            ends_after_start("price_version_ends_after_start"),
            is_in_range("price_version_is_in_range", "effective_from", "effective_to"),
            models.CheckConstraint(name="price_version_number_positive", condition=Q(number__gte=1)),
            models.CheckConstraint(name="price_version_credits_not_negative", condition=Q(credits_per_event__gte=0, minimum__gte=0)),
            models.CheckConstraint(name="price_version_step_positive", condition=Q(rounding_step__gt=0)),
            # Else rounding down could end below the minimum.
            models.CheckConstraint(
                name="price_version_minimum_is_a_step", condition=Exact(Mod(F("minimum"), F("rounding_step")), Value(0))
            ),
            models.CheckConstraint(name="price_version_mode_known", condition=Q(rounding_mode__in=list(Rounding))),
            models.CheckConstraint(name="price_version_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(name="price_version_approver_differs", condition=~Q(approved_by=F("created_by"))),
        )
        triggers = (
            raises_generation("prices"),
            never_truncated(),
            immutable("price version", "Publish a new version of the rule instead."),
        )

    def __str__(self) -> str:
        return f"{self.rule} v{self.number}"

    def definition(self) -> Definition:
        """Return what was decided when the price was set."""
        return Definition(
            credits_per_event=self.credits_per_event,
            components=tuple(map(Component.from_json, self.components)),
            tiers=tuple(map(Tier.from_json, self.tiers)),
            minimum=self.minimum,
            rounding_step=self.rounding_step,
            rounding_mode=Rounding(self.rounding_mode),
        )

    def as_price(self) -> Price:
        """Return the version as rating needs it; reads `rule` and its `event_type`."""
        return self.rule.price(self.definition(), version_id=self.pk, number=self.number)
