"""A provider's model, and the names under which apps may report it.

Apps report what the provider answers: a dated snapshot, an alias, sometimes the name of a gateway. `name` is the
catalogue's own; `aliases` are literal names, or patterns with `*`. A literal name always wins over a pattern, a longer
pattern over a shorter one. What matches nothing stays unpriced until a person decides.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from simple_history.models import HistoricalRecords

from config.base.models import raises_generation


class ProviderModel(models.Model):
    """One model of one provider."""

    provider = models.CharField(max_length=64, help_text="Lower-case: anthropic, openai.")
    name = models.CharField(max_length=200)
    aliases = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="Other names, or patterns: claude-sonnet-4-5*, *-preview, *haiku*.",
    )

    history = HistoricalRecords()

    class Meta:
        ordering = ("provider", "name")
        constraints = (
            models.UniqueConstraint(name="provider_model_is_one", fields=("provider", "name")),
            models.CheckConstraint(name="provider_model_is_named", condition=~models.Q(provider="") & ~models.Q(name="")),
        )
        triggers = (raises_generation("prices"),)

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"
