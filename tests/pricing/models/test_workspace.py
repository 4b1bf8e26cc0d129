from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction

from pricing.models import Workspace
from pricing.queries import workspace

pytestmark = pytest.mark.django_db


def test_there_is_one_from_the_start() -> None:
    row = workspace.load()
    assert (row.pk, row.currency, row.time_zone, row.credit_value) == (1, "USD", "UTC", Decimal("0.01"))
    row.full_clean()


def test_a_lost_row_reads_as_the_defaults() -> None:
    Workspace.objects.update(currency="EUR")
    assert workspace.load().currency == "EUR"
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE pricing_workspace")
    assert workspace.load().currency == "USD"


def test_there_is_never_a_second_or_none() -> None:
    with pytest.raises(IntegrityError, match="workspace_is_one"), transaction.atomic():
        Workspace.objects.create(id=2)
    with pytest.raises(DatabaseError, match="never_deleted"), transaction.atomic():
        Workspace.objects.all().delete()


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"currency": "usd"}, "workspace_currency_is_iso"),
        ({"credit_value": Decimal(0)}, "workspace_credit_value_positive"),
        ({"target_margin": Decimal(1)}, "workspace_margin_is_share"),
        ({"target_margin": Decimal("-0.1")}, "workspace_margin_is_share"),
        ({"approval_limit_credits": Decimal(-1)}, "workspace_approval_limit_not_negative"),
        ({"usage_retention_months": 0}, "workspace_retention_positive"),
    ],
)
def test_figures_have_bounds(change: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        Workspace.objects.update(**change)


@pytest.mark.parametrize(
    ("field", "wrong", "words"),
    [
        ("credit_value", Decimal(0), "Must be above 0."),
        ("target_margin", Decimal(1), "Must be below 1"),
        ("target_margin", Decimal("-0.1"), "Must not be below 0."),
        ("margin_tolerance", Decimal(1), "Must be below 1"),
        ("margin_tolerance", Decimal("-0.1"), "Must not be below 0."),
        ("advisor_max_step", Decimal(0), "Must be above 0."),
        ("advisor_max_step", Decimal("1.01"), "Must be at most 1"),
        ("advisor_window_days", 0, "Must be at least 1 day."),
        ("advisor_window_days", 367, "Must be at most 366 days."),
        ("advisor_minimum_events", 0, "Must be at least 1 event."),
        ("advisor_max_unpriced", Decimal(1), "Must be below 1"),
        ("advisor_max_unpriced", Decimal("-0.1"), "Must not be below 0."),
        ("approval_limit_credits", Decimal(-1), "Must not be below 0."),
        ("usage_retention_months", 0, "Must be at least 1 month."),
    ],
)
def test_a_figure_out_of_bounds_is_told_at_its_field(field: str, wrong: Any, words: str) -> None:
    row = workspace.load()
    setattr(row, field, wrong)
    with pytest.raises(ValidationError) as refusal:
        row.full_clean()
    assert set(refusal.value.message_dict) == {field}
    assert words in " ".join(refusal.value.message_dict[field])
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def test_the_time_zone_is_one_that_exists() -> None:
    row = workspace.load()
    row.time_zone = "Europe/Vienna"
    row.full_clean()
    row.time_zone = "Europe/Wien"
    with pytest.raises(ValidationError, match="not a time zone"):
        row.full_clean()


def test_changes_are_remembered() -> None:
    row = workspace.load()
    row.credit_value = Decimal("0.02")
    row.save()
    assert [old.credit_value for old in row.history.all()] == [Decimal("0.02")]
