"""An event type: the product's own word for an action that users pay for, such as `chat.reply` or `image.generate`.

Users are charged per event type, never per token, so that a price can be said in the words of the product. The name is
what apps send and what records keep, so it is chosen once; an event type that is no longer sold is made inactive.
"""

from typing import Final

from django.core.validators import RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from config.base.models import raises_generation

EVENT_NAME: Final = r"^[a-z0-9_]+(\.[a-z0-9_]+)*$"


class EventType(models.Model):
    """One kind of paid action."""

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(EVENT_NAME, "Use lower-case words joined by dots, such as chat.reply.")],
        help_text="What apps send. Lower-case letters, digits and _, in words joined by dots.",
    )
    label = models.CharField(max_length=100, help_text="How people call it: Chat reply.")
    description = models.TextField(blank=True)
    unit_name = models.CharField(
        max_length=40, default="event", help_text="What a quantity of 1 is, in the singular: reply, image, minute."
    )
    is_active = models.BooleanField(default=True, help_text="Apps may report it. Records of the past stay.")

    history = HistoricalRecords()

    class Meta:
        ordering = ("name",)
        constraints = (models.CheckConstraint(name="event_type_name_is_dotted", condition=models.Q(name__regex=EVENT_NAME)),)
        triggers = (raises_generation("prices"),)

    def __str__(self) -> str:
        return self.name
