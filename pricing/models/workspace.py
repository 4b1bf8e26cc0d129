"""The workspace: the company that runs this back office, and what it may decide about itself.

There is one row, and every change to it is kept in its history with who made it and why. Addresses and secrets belong
to the machine and come from the environment; prices have rules of their own.

What is not here: prompts and answers are never stored, so there is no switch for it.
"""

import zoneinfo
from decimal import Decimal
from typing import Final

import pgtrigger
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from config.base.exact import CREDIT_DIGITS, CREDIT_PLACES, MONEY_DIGITS, MONEY_PLACES, MONEY_STEP
from config.base.models import raises_generation

THE_WORKSPACE: Final = 1
_SHARE_STEP: Final = Decimal("0.0001")  # shares have four places
# The constraints below hold the same bounds; a form says them at the field, in words.
_A_SHARE_BELOW_1: Final = [
    MinValueValidator(0, "Must not be below 0."),
    MaxValueValidator(1 - _SHARE_STEP, "Must be below 1: 0.6 stands for 60 %%."),
]


def validate_time_zone(name: str) -> None:
    """Refuse a name that is not in the IANA time zone database."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError(f"{name!r} is not a time zone: use an IANA name such as Europe/Vienna.", "time_zone")


class SpentRefundPolicy(models.TextChoices):
    RECEIVABLE = "receivable", "The customer owes them"
    WRITE_OFF = "write_off", "We bear the loss"


class Workspace(models.Model):
    """The single row of company-wide decisions."""

    id = models.SmallIntegerField(primary_key=True, default=THE_WORKSPACE, editable=False)
    name = models.CharField(max_length=100, default="Meterdesk")
    currency = models.CharField(
        max_length=3,
        default="USD",
        validators=[RegexValidator(r"^[A-Z]{3}$", "Use a three-letter ISO 4217 code such as USD.")],
        help_text="The book currency (ISO 4217) in which revenue and cost are kept.",
    )
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="IANA name. Days and months of budgets and reports begin here.",
    )
    credit_value = models.DecimalField(
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        validators=[MinValueValidator(MONEY_STEP, "Must be above 0.")],
        default=Decimal("0.01"),
        help_text="What one credit is worth in the book currency where nothing was paid for it.",
    )
    target_margin = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0.60"),
        validators=_A_SHARE_BELOW_1,
        help_text="The share of an event's credit value that should be left after provider cost: 0.6 is 60 %.",
    )
    margin_tolerance = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0.02"),
        validators=_A_SHARE_BELOW_1,
        help_text="The Advisor leaves a price alone while its margin is this near to the target: 0.02 is two percentage points.",
    )
    advisor_max_step = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0.25"),
        validators=[
            MinValueValidator(_SHARE_STEP, "Must be above 0."),
            MaxValueValidator(1, "Must be at most 1, which stands for 100 %%."),
        ],
        help_text="The Advisor moves a price by at most this share at a time: 0.25 is 25 %.",
    )
    advisor_window_days = models.PositiveSmallIntegerField(
        default=28,
        validators=[MinValueValidator(1, "Must be at least 1 day."), MaxValueValidator(366, "Must be at most 366 days.")],
        help_text="How many days of usage the Advisor looks at, now and when the price was decided.",
    )
    advisor_cooldown_days = models.PositiveSmallIntegerField(
        default=14, help_text="The Advisor leaves a price alone so long after a change."
    )
    advisor_minimum_events = models.PositiveIntegerField(
        default=200,
        validators=[MinValueValidator(1, "Must be at least 1 event.")],
        help_text="With fewer events the Advisor withholds its advice.",
    )
    advisor_max_unpriced = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0.05"),
        validators=_A_SHARE_BELOW_1,
        help_text="With a larger share of events without a known provider cost the Advisor withholds its advice.",
    )
    prices_need_approval = models.BooleanField(
        default=True, help_text="A price in force changes only by a proposal that a second person approves."
    )
    approval_limit_credits = models.DecimalField(
        max_digits=CREDIT_DIGITS,
        decimal_places=CREDIT_PLACES,
        default=Decimal(10_000),
        validators=[MinValueValidator(0, "Must not be below 0.")],
        help_text="Manual grants, adjustments and refunds above this many credits need a second person.",
    )
    refund_limit = models.DecimalField(
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        default=Decimal(100),
        help_text="Refunds of top-ups above this amount, in the book currency, need a second person.",
    )
    spent_refund_policy = models.CharField(
        max_length=10,
        choices=SpentRefundPolicy.choices,
        default=SpentRefundPolicy.RECEIVABLE,
        help_text="What becomes of credits that were spent before their top-up was refunded or disputed.",
    )
    usage_retention_months = models.PositiveSmallIntegerField(
        default=25,
        validators=[MinValueValidator(1, "Must be at least 1 month.")],
        help_text="How many months raw usage records are kept. Ledger entries and rollups stay for ever.",
    )

    history = HistoricalRecords()

    class Meta:
        verbose_name = "workspace"
        verbose_name_plural = "workspace"
        permissions = (
            ("set_pricing_policy", "Can set the target margin and the Pricing Advisor"),
            ("waive_approval", "Can decide whether prices need approval"),
        )
        constraints = (
            models.CheckConstraint(name="workspace_is_one", condition=models.Q(id=THE_WORKSPACE)),
            models.CheckConstraint(name="workspace_currency_is_iso", condition=models.Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(name="workspace_credit_value_positive", condition=models.Q(credit_value__gt=0)),
            # Below 1: at a margin of 100 % no price is high enough.
            models.CheckConstraint(name="workspace_margin_is_share", condition=models.Q(target_margin__gte=0, target_margin__lt=1)),
            models.CheckConstraint(
                name="workspace_advisor_is_bounded",
                condition=models.Q(
                    margin_tolerance__gte=0,
                    margin_tolerance__lt=1,
                    advisor_max_step__gt=0,
                    advisor_max_step__lte=1,
                    advisor_window_days__gte=1,
                    advisor_window_days__lte=366,
                    advisor_minimum_events__gte=1,
                    advisor_max_unpriced__gte=0,
                    advisor_max_unpriced__lt=1,
                ),
            ),
            models.CheckConstraint(name="workspace_approval_limit_not_negative", condition=models.Q(approval_limit_credits__gte=0)),
            models.CheckConstraint(name="workspace_refund_limit_not_negative", condition=models.Q(refund_limit__gte=0)),
            models.CheckConstraint(
                name="workspace_spent_refund_policy_known", condition=models.Q(spent_refund_policy__in=SpentRefundPolicy.values)
            ),
            models.CheckConstraint(name="workspace_retention_positive", condition=models.Q(usage_retention_months__gte=1)),
        )
        triggers = (
            raises_generation("prices"),
            pgtrigger.Protect(name="never_deleted", operation=pgtrigger.Delete),
        )

    def __str__(self) -> str:
        return self.name
