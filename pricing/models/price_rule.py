"""A price rule: whom a price is for. Everyone, the customers of one plan, or one customer.

A rule has no figures of its own; its versions have them. For one event the customer's rule comes first, then the
plan's, then the default, and the first of them that has a version valid at that moment decides.
"""

from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from config.base.models import raises_generation
from pricing.definition import Definition
from pricing.models.event_type import EventType
from pricing.price import Price


class Segment(models.TextChoices):
    """Whom a rule is for, from the narrowest to everyone."""

    CUSTOMER = "customer", "One customer"  # the key is project/external id
    PLAN = "plan", "Customers on a plan"  # the key is the plan's name
    DEFAULT = "default", "Everyone"  # no key


class PriceRule(models.Model):
    """The price of one event type for one segment."""

    event_type = models.ForeignKey(EventType, on_delete=models.PROTECT, related_name="rules")
    segment = models.CharField(max_length=8, choices=Segment.choices, default=Segment.DEFAULT)
    segment_key = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Empty for everyone; the plan's name; or the customer as project/external id.",
    )

    history = HistoricalRecords()

    class Meta:
        ordering = ("event_type", "segment", "segment_key")
        constraints = (
            models.UniqueConstraint(name="price_rule_is_one", fields=("event_type", "segment", "segment_key")),
            models.CheckConstraint(name="price_rule_segment_known", condition=Q(segment__in=Segment.values)),
            models.CheckConstraint(
                name="price_rule_default_has_no_key",
                condition=Q(segment=Segment.DEFAULT, segment_key="") | (~Q(segment=Segment.DEFAULT) & ~Q(segment_key="")),
            ),
        )
        triggers = (raises_generation("prices"),)

    def __str__(self) -> str:
        return rule_name(self.event_type.name, self.segment, self.segment_key)

    def price(self, definition: Definition, *, version_id: int = 0, number: int = 0) -> Price:
        """Return `definition` as rating needs it, as this rule's price; reads `event_type`. Without a number it is no version yet."""
        return Price(
            rule_id=self.pk,
            version_id=version_id,
            rule=str(self),
            version=number,
            event=self.event_type.name,
            credits_per_event=definition.credits_per_event,
            components=tuple(definition.components),
            tiers=tuple(definition.tiers),
            minimum=definition.minimum,
            rounding_step=definition.rounding_step,
            rounding_mode=definition.rounding_mode,
        )


def rule_name(event: str, segment: str, segment_key: str) -> str:
    """Name a rule as bills do: `chat.reply/default`, `chat.reply/plan/pro`, `chat.reply/customer/app/user_42`."""
    return f"{event}/{segment}/{segment_key}" if segment_key else f"{event}/{segment}"
