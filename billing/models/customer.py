"""Customers: the people or firms that spend credits, known by the app's own pseudonymous id."""

from django.contrib.postgres.indexes import OpClass
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from billing.models.environment import Environment
from billing.models.fields import history
from billing.models.owner import Project

external_id_validator = RegexValidator(r"^[!-~]{1,128}$", "Use 1 to 128 printable ASCII characters without spaces.")


class Customer(models.Model):
    """One customer of one project in one environment; its wallet is made with it."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="customers")
    environment = models.CharField(max_length=16, choices=Environment.choices, default=Environment.PRODUCTION)
    external_id = models.CharField("customer", max_length=128, validators=[external_id_validator])
    name = models.CharField(max_length=200, blank=True)
    plan = models.CharField(max_length=64, blank=True, help_text="Chooses the plan's prices where a rule has them.")
    email = models.EmailField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    history = history()

    class Meta:
        permissions = (("view_contact_data", "Can see customers' e-mail addresses and metadata"),)
        indexes = (models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="customer_by_name"),)
        constraints = (
            models.UniqueConstraint(fields=("project", "environment", "external_id"), name="customer_is_known_once"),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="customer_environment_is_known"),
        )

    def __str__(self) -> str:
        return self.name or self.external_id

    @property
    def price_key(self) -> str:
        """The name under which a price rule may single this customer out."""
        return price_key(self.project.key, self.environment, self.external_id)


def price_key(project_key: str, environment: str, external_id: str) -> str:
    """Return `project/customer`, with `@environment` behind it outside production."""
    suffix = "" if environment == Environment.PRODUCTION else f"@{environment}"
    return f"{project_key}/{external_id}{suffix}"
