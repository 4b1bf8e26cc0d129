"""Rate imports: what a feed says otherwise than the catalogue, line by line, and who accepted it.

A feed never writes into the catalogue. An import compares one release of it with the catalogue and keeps the differences as
lines; what comes of a line is decided once and stays. A newer import of the same source supersedes the lines that wait, and so
does comparing its newest release again: a row of its own that names the import whose release it is.
"""

from typing import Final

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from config.base.exact import MONEY_DIGITS, MONEY_PLACES
from config.base.models import append_only, never_truncated
from pricing.feeds.diff import Kind
from pricing.feeds.guards import TITLES, Guard
from pricing.feeds.statement import Figure
from pricing.models.provider_rate import UNIT_CHOICES, ProviderRate
from pricing.rate_catalogue import STANDARD_TIER
from pricing.units import UnitKind


class ChangeState(models.TextChoices):
    """Where a line stands; the last three are final."""

    PENDING = "pending", "Waiting for a decision"
    ACCEPTED = "accepted", "Accepted"
    REJECTED = "rejected", "Rejected"
    SUPERSEDED = "superseded", "Superseded"


KIND_CHOICES: Final = [(kind.value, kind.value.capitalize()) for kind in Kind]
_DECISION: Final = ("state", "decided_by_id", "decided_at", "decision_reason", "rate_id")


class RateImport(models.Model):
    """One release of a feed, compared with the catalogue at one moment."""

    source = models.CharField(max_length=64, help_text="The feed: genai-prices, litellm.")
    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    providers = ArrayField(models.CharField(max_length=64), default=list, blank=True, help_text="Empty: all that the feed has.")
    as_of = models.DateTimeField(help_text="The moment of which the feed is taken to speak.")
    counts = models.JSONField(help_text="Lines by kind, guarded lines, prices that agree, what was left out.")
    left_out = models.JSONField(help_text="What the feed has and the catalogue cannot express: provider, model, what, why.")
    holds_from = models.DateTimeField(
        null=True, blank=True, help_text="Prices without a date hold from then on. Empty: from their acceptance."
    )
    # As `pricing.feeds.kept` packs it; none where it was imported before releases were kept, or compares one again.
    release = models.BinaryField(null=True, blank=True)
    again_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="comparisons")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                name="rate_import_is_one",
                fields=("source", "sha256", "providers"),
                condition=Q(again_of=None),
                violation_error_message="This release was imported already.",
            ),
            models.CheckConstraint(name="rate_import_keeps_a_release_once", condition=Q(again_of=None) | Q(release=None)),
            models.CheckConstraint(name="rate_import_has_a_source", condition=~Q(source="")),
            models.CheckConstraint(name="rate_import_has_a_fingerprint", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")),
        )
        triggers = (never_truncated(), append_only())

    def __str__(self) -> str:
        return f"{self.source} as of {self.as_of:%Y-%m-%d}: {self.file_name}"


class RateChange(models.Model):
    """One line: the series, what the catalogue says, what the feed says, from when on, and what came of it."""

    rate_import = models.ForeignKey(RateImport, on_delete=models.PROTECT, related_name="changes")
    source = models.CharField(max_length=64)
    kind = models.CharField(max_length=9, choices=KIND_CHOICES)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    aliases = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    unit_kind = models.CharField(max_length=16, choices=UNIT_CHOICES, blank=True, default="", help_text="Empty where the line adds names.")
    service_tier = models.CharField(max_length=32, default=STANDARD_TIER)
    is_batch = models.BooleanField(default=False)
    context_threshold = models.PositiveIntegerField(default=0)
    catalogue_price = models.DecimalField(max_digits=MONEY_DIGITS, decimal_places=MONEY_PLACES, null=True, blank=True)
    catalogue_per = models.PositiveIntegerField(null=True, blank=True)
    catalogue_currency = models.CharField(max_length=3, blank=True, default="")
    price = models.DecimalField(max_digits=MONEY_DIGITS, decimal_places=MONEY_PLACES, null=True, blank=True)
    per = models.PositiveIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    effective_from = models.DateTimeField(null=True, blank=True, help_text="Empty: from the moment of acceptance.")
    effective_to = models.DateTimeField(null=True, blank=True)
    detail = models.TextField(blank=True, default="")
    guards = models.JSONField(default=list, blank=True, help_text="What holds the line back: name and sentence of each guard.")
    state = models.CharField(max_length=10, choices=ChangeState.choices, default=ChangeState.PENDING)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True, default="")
    # The rate that was added; of a line that ends one, the rate that was ended.
    rate = models.ForeignKey(ProviderRate, on_delete=models.PROTECT, null=True, blank=True, related_name="changes")

    class Meta:
        ordering = ("id",)
        permissions = (("accept_rates", "Can accept or reject provider rates of a feed"),)
        constraints = (
            models.UniqueConstraint(
                name="rate_change_waits_once",
                fields=(
                    *("source", "provider", "model", "unit_kind", "service_tier", "is_batch", "context_threshold", "kind"),
                    "effective_from",
                ),
                condition=Q(state="pending"),
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="rate_change_kind_known", condition=Q(kind__in=list(Kind))),
            models.CheckConstraint(name="rate_change_state_known", condition=Q(state__in=ChangeState.values)),
            models.CheckConstraint(
                name="rate_change_names_a_unit",
                condition=Q(kind="alias", unit_kind="") | (~Q(kind="alias") & Q(unit_kind__in=list(UnitKind))),
            ),
            models.CheckConstraint(
                name="rate_change_states_a_price",
                condition=Q(kind__in=("alias", "ended"), price=None, per=None)
                | (
                    Q(
                        kind__in=("new", "changed", "announced"),
                        price__isnull=False,
                        per__isnull=False,
                        price__gte=0,
                        per__gte=1,
                        currency__regex=r"^[A-Z]{3}$",
                    )
                ),
            ),
            models.CheckConstraint(
                name="rate_change_ends_after_start",
                condition=Q(effective_to=None) | Q(effective_from=None) | Q(effective_to__gt=models.F("effective_from")),
            ),
            models.CheckConstraint(
                name="rate_change_accepted_names_its_rate",
                condition=Q(kind="alias", rate=None) | (~Q(kind="alias") & (Q(state="accepted") ^ Q(rate=None))),
            ),
            models.CheckConstraint(
                name="rate_change_decision_has_a_time",
                condition=Q(state="pending", decided_at=None) | ~Q(state="pending") & Q(decided_at__isnull=False),
            ),
            models.CheckConstraint(
                name="rate_change_rejected_by_a_person_with_a_reason",
                condition=~Q(state="rejected") | (Q(decided_by__isnull=False) & ~Q(decision_reason="")),
            ),
            # A guard is passed by a person who says why, never by a program.
            models.CheckConstraint(
                name="rate_change_guard_passed_by_a_person_with_a_reason",
                condition=~Q(state="accepted") | Q(guards=[]) | (Q(decided_by__isnull=False) & ~Q(decision_reason="")),
            ),
        )
        indexes = (
            models.Index(fields=("rate_import", "provider", "model"), name="rate_change_of_an_import"),
            models.Index(fields=("rate_import",), condition=Q(state="pending"), name="rate_change_waits"),
            models.Index(fields=("source", "provider", "model"), condition=Q(state="rejected"), name="rate_change_rejected"),
        )
        triggers = (
            never_truncated(),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="is_decided_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                func=f"""
                    IF OLD.state <> 'pending' THEN
                        RAISE EXCEPTION 'A line that was decided stays as it is.' USING ERRCODE = 'restrict_violation';
                    END IF;
                    IF to_jsonb(NEW) - ARRAY{list(_DECISION)} IS DISTINCT FROM to_jsonb(OLD) - ARRAY{list(_DECISION)} THEN
                        RAISE EXCEPTION 'What a feed said stays as it is: only a decision may be added.'
                            USING ERRCODE = 'restrict_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
        )

    def __str__(self) -> str:
        return f"{self.of_model} {self.unit_words}"

    @property
    def of_model(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def unit_words(self) -> str:
        """Say what is priced, such as `output, flex, batch`; of a line that adds names, `names`."""
        if not self.unit_kind:
            return "names"
        parts = [self.get_unit_kind_display()]
        if self.service_tier != STANDARD_TIER:
            parts.append(self.service_tier)
        if self.is_batch:
            parts.append("batch")
        if self.context_threshold:
            parts.append(f"from {self.context_threshold:,} input tokens")
        return ", ".join(parts)

    @property
    def ours(self) -> Figure | None:
        """What the catalogue said when the feed was compared."""
        if self.catalogue_price is None or self.catalogue_per is None:
            return None
        return Figure(self.catalogue_price, self.catalogue_per, self.catalogue_currency)

    @property
    def theirs(self) -> Figure | None:
        """What the feed says."""
        return Figure(self.price, self.per, self.currency) if self.price is not None and self.per is not None else None

    @property
    def guard_titles(self) -> list[tuple[str, str]]:
        """Return the title and the sentence of each guard."""
        return [(TITLES[Guard(guard["guard"])], guard["sentence"]) for guard in self.guards]


class RateStatement(models.Model):
    """What each feed said last about a series: what another feed is compared with."""

    source = models.CharField(max_length=64)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    unit_kind = models.CharField(max_length=16)
    service_tier = models.CharField(max_length=32)
    is_batch = models.BooleanField()
    context_threshold = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=MONEY_DIGITS, decimal_places=MONEY_PLACES)
    per = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    stated_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="rate_statement_is_one",
                fields=("source", "provider", "model", "unit_kind", "service_tier", "is_batch", "context_threshold"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.source}: {self.provider}/{self.model} {self.unit_kind} {self.price} {self.currency} per {self.per:,}"
