"""Provider rates: what a provider charges us for one unit of one model, valid `[effective_from, effective_to)`.

A series says what is charged for: a unit kind of a model, in a service tier, in a batch or not, from how many input
tokens of the request on (crossing a threshold reprices the whole request, as providers do). A rate is the price of a
series during one period. Rates are facts with a source; feeds only propose them.

A figure that turns out to be wrong is not changed. Its row is voided and stays for the audit, and rows that name it as
what they correct take its place: the same series, the same period, nothing left open. Only rows that are not voided are
in force.
"""

from typing import Final

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q

from config.base.exact import MONEY_DIGITS, MONEY_PLACES, plain
from config.base.models import append_only, raises_generation
from pricing.models.immutable import ends_after_start, is_in_range, no_overlap
from pricing.models.provider_model import ProviderModel
from pricing.rate_catalogue import STANDARD_TIER
from pricing.units import UnitKind

UNIT_CHOICES: Final = [(kind.value, kind.value.replace("_", " ")) for kind in UnitKind]
_IMMUTABLE = """
    IF TG_OP = 'UPDATE' AND OLD.voided_at IS NULL AND (
        OLD.effective_to IS NULL AND NEW.effective_to IS NOT NULL
            AND to_jsonb(NEW) - 'effective_to' = to_jsonb(OLD) - 'effective_to'
        OR NEW.voided_at IS NOT NULL AND to_jsonb(NEW) - 'voided_at' = to_jsonb(OLD) - 'voided_at'
    ) THEN RETURN NEW; END IF;
    RAISE EXCEPTION 'A provider rate never changes: only its open end may be set, once, or a correction may void it.'
        USING ERRCODE = 'restrict_violation', HINT = 'End the rate and add the next one instead, or correct it.';
"""
# At the end of the transaction, when the voided row and those that correct it are both there.
_TAKES_ITS_PLACE = """
    IF NEW.voided_at IS NOT NULL AND (
        SELECT range_agg(tstzrange(effective_from, effective_to)) FROM pricing_providerrate WHERE corrects_id = NEW.id
    ) IS DISTINCT FROM tstzmultirange(tstzrange(NEW.effective_from, NEW.effective_to)) THEN
        RAISE EXCEPTION 'A provider rate is voided by corrections that take exactly its period.' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.corrects_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM pricing_providerrate WHERE id = NEW.corrects_id AND series_id = NEW.series_id
            AND currency = NEW.currency AND voided_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'A correction takes the place of a voided rate of its series, in the same currency.'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
"""


class RateSeries(models.Model):
    """What a sequence of rates is the price of. It never changes, since its rates would change their meaning."""

    provider_model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="series")
    unit_kind = models.CharField(max_length=16, choices=UNIT_CHOICES)
    service_tier = models.CharField(max_length=32, default=STANDARD_TIER)
    is_batch = models.BooleanField(default=False)
    context_threshold = models.PositiveIntegerField(default=0, help_text="Applies to the whole request from this many input tokens on.")

    class Meta:
        verbose_name_plural = "rate series"
        constraints = (
            models.UniqueConstraint(
                name="rate_series_is_one",
                fields=("provider_model", "unit_kind", "service_tier", "is_batch", "context_threshold"),
            ),
            models.CheckConstraint(name="rate_series_unit_known", condition=Q(unit_kind__in=list(UnitKind))),
            models.CheckConstraint(name="rate_series_tier_named", condition=~Q(service_tier="")),
        )
        triggers = (raises_generation("prices"), append_only())

    def __str__(self) -> str:
        parts = [f"{self.provider_model} {self.unit_kind}"]
        if self.service_tier != STANDARD_TIER:
            parts.append(self.service_tier)
        if self.is_batch:
            parts.append("batch")
        if self.context_threshold:
            parts.append(f"from {self.context_threshold:,} input tokens")
        return ", ".join(parts)


class ProviderRate(models.Model):
    """The price of one series during one period: `price` in `currency` for `per` units."""

    series = models.ForeignKey(RateSeries, on_delete=models.PROTECT, related_name="rates")
    price = models.DecimalField(max_digits=MONEY_DIGITS, decimal_places=MONEY_PLACES)
    per = models.PositiveIntegerField(help_text="1,000,000 for tokens, 1,000 for requests, 1 for images and seconds.")
    currency = models.CharField(max_length=3, default="USD")
    effective_from = models.DateTimeField()
    effective_to = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=64, help_text="Where the figure comes from: a feed, an invoice, a price page.")
    source_detail = models.TextField(blank=True, help_text="Release of the feed, address of a page, what is left open.")
    verified_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()
    corrects = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrections")
    correction_reason = models.CharField(max_length=500, blank=True, default="")
    voided_at = models.DateTimeField(null=True, blank=True, help_text="Since when its corrections hold in its place.")

    class Meta:
        ordering = ("series", "-effective_from")
        permissions = (("correct_rate", "Can correct a wrong provider rate"),)
        constraints = (
            no_overlap("provider_rate_no_overlap", "series", condition=Q(voided_at=None)),
            ends_after_start("provider_rate_ends_after_start"),
            is_in_range("provider_rate_is_in_range", "effective_from", "effective_to"),
            models.CheckConstraint(name="provider_rate_price_not_negative", condition=Q(price__gte=0)),
            models.CheckConstraint(name="provider_rate_per_positive", condition=Q(per__gte=1)),
            models.CheckConstraint(name="provider_rate_currency_is_iso", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(name="provider_rate_has_a_source", condition=~Q(source="")),
            models.CheckConstraint(name="provider_rate_correction_has_a_reason", condition=Q(corrects=None) ^ ~Q(correction_reason="")),
        )
        triggers = (
            raises_generation("prices"),
            pgtrigger.Trigger(name="immutable", when=pgtrigger.Before, operation=pgtrigger.Update | pgtrigger.Delete, func=_IMMUTABLE),
            pgtrigger.Trigger(
                name="takes_its_place",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("voided_at"),
                timing=pgtrigger.Deferred,
                func=_TAKES_ITS_PLACE,
            ),
        )

    def __str__(self) -> str:
        return f"{self.series}: {plain(self.price)} {self.currency} per {self.per:,}"
