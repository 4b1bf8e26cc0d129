"""Budgets: limits on what a scope may spend in a window, what was spent, and the exceptions that people granted.

What is spent in a window is the sum of the usage that occurred in it, kept in a row per window that only grows by usage;
the ledger check proves that it is the sum. A blocking budget's row is moved in the charge's own transaction, under a lock;
the others by a task, at most a minute later (`services/budget_folding.py`).
"""

from decimal import Decimal
from typing import Any

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from billing.budgeting import Action, Measure, Window
from billing.models.api_key import ApiKey
from billing.models.customer import Customer
from billing.models.environment import Environment
from billing.models.fields import history
from billing.models.owner import Project, Team
from config.base.models import never_truncated, raises_generation
from pricing.models.workspace import validate_time_zone

MAX_THRESHOLD = 1_000


def default_thresholds() -> list[int]:
    """Return the per cent at which somebody is told unless a budget says otherwise."""
    return [80, 100]


def spend_field(**options: object) -> "models.DecimalField[Decimal, Decimal]":
    """An amount of any measure: room for sums of money at 12 places, and for tokens."""
    return models.DecimalField(max_digits=32, decimal_places=12, **options)  # type: ignore[arg-type]


_SCOPE: dict[str, Any] = {"null": True, "blank": True, "on_delete": models.PROTECT, "related_name": "budgets"}


class Budget(models.Model):
    """A limit. Its scope is all of its scope fields together; none: the whole workspace."""

    name = models.CharField(max_length=100, help_text="What answers and alerts call it: Support bot, July.")
    team = models.ForeignKey(Team, **_SCOPE, help_text="Only what this team's projects spend.")
    project = models.ForeignKey(Project, **_SCOPE, help_text="Only this project.")
    api_key = models.ForeignKey(ApiKey, **_SCOPE, help_text="Only what this key reports.")
    environment = models.CharField(max_length=16, blank=True, choices=Environment.choices, help_text="Only this environment.")
    customer = models.ForeignKey(Customer, **_SCOPE, help_text="Only this customer.")
    user = models.CharField(max_length=128, blank=True, help_text="Only this user, as apps report it.")
    event_type = models.ForeignKey("pricing.EventType", **_SCOPE, help_text="Only this action.")
    agent_type = models.CharField(max_length=64, blank=True, help_text="Only agents of this type, as apps report it.")
    model = models.CharField(max_length=128, blank=True, help_text="Only this model, as apps report it.")
    measure = models.CharField(max_length=8, choices=[(m, m.title()) for m in Measure])
    window = models.CharField(max_length=8, choices=[(w, w.title()) for w in Window])
    time_zone = models.CharField(
        max_length=64, validators=[validate_time_zone], help_text="IANA name. Its days, weeks (from Monday) and months count."
    )
    limit = spend_field(validators=[MinValueValidator(Decimal(0), "Must not be below 0.")], help_text="In units of the measure.")
    action = models.CharField(
        max_length=9,
        choices=[
            (Action.ALERT, "Alert only"),
            (Action.BLOCK, "Block: refuse what does not fit"),
            (Action.DOWNGRADE, "Downgrade: name a cheaper model"),
            (Action.REROUTE, "Reroute: name another route"),
            (Action.ASK, "Ask for approval first"),
        ],
        default=Action.ALERT,
        help_text="What happens at the limit. All but blocking travels in the answer, for the app to act on.",
    )
    target = models.CharField(max_length=128, blank=True, help_text="The model or route to go to, or whom to ask.")
    thresholds = ArrayField(
        models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MAX_THRESHOLD)]),
        default=default_thresholds,
        size=10,
        help_text="Per cent of the limit at which an alert is raised, such as 50, 80, 100.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Who answers for it."
    )
    counts_from = models.DateTimeField(editable=False, help_text="The start of its first window.")
    created_at = models.DateTimeField(editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    history = history()

    class Meta:
        ordering = ("name",)
        permissions = (("end_budget", "Can end a budget"),)
        constraints = (
            models.UniqueConstraint(fields=("name",), condition=Q(ended_at__isnull=True), name="budget_name_is_one"),
            models.CheckConstraint(condition=Q(limit__gte=0), name="budget_limit_is_not_negative"),
            models.CheckConstraint(condition=Q(measure__in=list(Measure)), name="budget_measure_is_known"),
            models.CheckConstraint(condition=Q(window__in=list(Window)), name="budget_window_is_known"),
            models.CheckConstraint(condition=Q(action__in=list(Action)), name="budget_action_is_known"),
            models.CheckConstraint(
                condition=~Q(action__in=(Action.DOWNGRADE, Action.REROUTE)) | ~Q(target=""), name="budget_names_where_to_go"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("created_at")), name="budget_ends_after_it_began"
            ),
        )
        triggers = (
            raises_generation("budgets"),
            pgtrigger.Trigger(
                name="keeps_what_it_counts",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.team_id, OLD.project_id, OLD.api_key_id, OLD.environment, OLD.customer_id, OLD.user, OLD.event_type_id,"
                    " OLD.agent_type, OLD.model, OLD.measure, OLD.window, OLD.time_zone, OLD.counts_from, OLD.created_at)"
                    " IS DISTINCT FROM (NEW.team_id, NEW.project_id, NEW.api_key_id, NEW.environment, NEW.customer_id, NEW.user,"
                    " NEW.event_type_id, NEW.agent_type, NEW.model, NEW.measure, NEW.window, NEW.time_zone, NEW.counts_from,"
                    " NEW.created_at)"
                    " OR OLD.ended_at IS NOT NULL)"
                ),
                func="RAISE EXCEPTION 'What a budget counts stays: end it, and make another.' USING ERRCODE = 'restrict_violation';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
        )

    def __str__(self) -> str:
        return self.name


class BudgetWindow(models.Model):
    """What one budget has spent in one window. `late` is the part that was recorded after the window had ended."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="windows")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    spent = spend_field(default=0)
    late = spend_field(default=0)

    class Meta:
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=("budget", "starts_at"), name="budget_window_is_one"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="budget_window_has_length"),
            models.CheckConstraint(condition=Q(spent__gte=0, late__gte=0), name="budget_window_is_not_negative"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="stays_where_it_is",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.budget_id, OLD.starts_at, OLD.ends_at) IS DISTINCT FROM (NEW.budget_id, NEW.starts_at, NEW.ends_at))"
                ),
                func="RAISE EXCEPTION 'A window of a budget stays where it is.' USING ERRCODE = 'restrict_violation';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"{self.budget} from {self.starts_at:%Y-%m-%d %H:%M}"


class BudgetFold(models.Model):
    """How far the counting task has come: the last usage record and the last cost adjustment that it has counted in.

    `evaluated_…` is how far what was counted has been looked at for alerts.
    """

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    record_id = models.BigIntegerField(default=0)
    adjustment_id = models.BigIntegerField(default=0)
    folded_at = models.DateTimeField(null=True, blank=True)
    evaluated_record_id = models.BigIntegerField(default=0)
    evaluated_adjustment_id = models.BigIntegerField(default=0)
    evaluated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="budget_fold_is_one"),)

    def __str__(self) -> str:
        return f"Counted up to record {self.record_id}"


class ExceptionState(models.TextChoices):
    REQUESTED = "requested", "Waits for approval"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    REVOKED = "revoked", "Ended early"


class BudgetException(models.Model):
    """So much more than the limit, for a while (seed 004, "Record exceptions"). It ends by itself."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="exceptions")
    extra = spend_field(validators=[MinValueValidator(Decimal("0.000000000001"), "Must be above 0.")])
    reason = models.TextField()
    ticket = models.CharField(max_length=100, help_text="Where it was asked for and discussed.")
    recharge_id = models.CharField(max_length=255, blank=True, help_text="The top-up or invoice that pays for it, if there is one.")
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=9, choices=ExceptionState.choices, default=ExceptionState.REQUESTED)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)

    history = history()

    class Meta:
        verbose_name = "budget exception"
        ordering = ("-requested_at",)
        permissions = (("decide_exception", "Can approve and reject budget exceptions"),)
        constraints = (
            models.CheckConstraint(condition=Q(extra__gt=0), name="budget_exception_adds"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("starts_at")), name="budget_exception_ends_after_it_starts"),
            models.CheckConstraint(condition=Q(state__in=ExceptionState.values), name="budget_exception_state_is_known"),
            models.CheckConstraint(condition=~Q(reason="") & ~Q(ticket=""), name="budget_exception_has_grounds"),
            models.CheckConstraint(
                condition=Q(state=ExceptionState.REVOKED) | ~Q(decided_by=F("requested_by")), name="budget_exception_decider_did_not_ask"
            ),
            models.CheckConstraint(
                condition=Q(state=ExceptionState.REQUESTED, decided_by__isnull=True, decided_at__isnull=True)
                | ~Q(state=ExceptionState.REQUESTED) & Q(decided_by__isnull=False, decided_at__isnull=False),
                name="budget_exception_decision_is_whole",
            ),
        )
        triggers = (
            raises_generation("budgets"),
            pgtrigger.Trigger(
                name="keeps_to_its_road",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.budget_id, OLD.extra, OLD.reason, OLD.ticket, OLD.recharge_id, OLD.starts_at, OLD.expires_at,"
                    " OLD.requested_by_id, OLD.requested_at)"
                    " IS DISTINCT FROM (NEW.budget_id, NEW.extra, NEW.reason, NEW.ticket, NEW.recharge_id, NEW.starts_at, NEW.expires_at,"
                    " NEW.requested_by_id, NEW.requested_at)"
                    " OR NOT (OLD.state = 'requested' OR OLD.state = 'approved' AND NEW.state = 'revoked'))"
                ),
                func="RAISE EXCEPTION 'An exception is decided once, as it was asked for.' USING ERRCODE = 'restrict_violation';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Exception {self.pk} of {self.budget}"
