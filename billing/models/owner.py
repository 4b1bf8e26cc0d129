"""Owners: who answers for spend.

A team owns projects; a project is one app that meters; a cost centre is where finance books what a project spends.
Usage records keep the team and cost centre that applied when the action was recorded, so moving a project to another
team does not rewrite last month's review.
"""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from billing.models.fields import history
from config.base.models import raises_generation

project_key_validator = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$", "Use lower-case letters, digits and hyphens, such as support-bot."
)


class CostCenter(models.Model):
    code = models.CharField(max_length=32, unique=True, help_text="As finance writes it, such as CC-4100.")
    name = models.CharField(max_length=120)

    history = history()

    class Meta:
        verbose_name = "cost centre"
        ordering = ("code",)
        triggers = (raises_generation("keys"),)

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Team(models.Model):
    name = models.CharField(max_length=120, unique=True)
    budget_owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The person who answers for what this team spends.",
    )

    history = history()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Project(models.Model):
    key = models.CharField(max_length=64, unique=True, validators=[project_key_validator])
    name = models.CharField(max_length=120)
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="projects")
    cost_center = models.ForeignKey(
        CostCenter,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="projects",
        verbose_name="cost centre",
        help_text="Where spend is booked unless an event names another.",
    )
    is_demo = models.BooleanField(default=False, help_text="Made by the demo company: not real traffic.")
    created_at = models.DateTimeField(auto_now_add=True)

    history = history()

    class Meta:
        ordering = ("name",)
        triggers = (raises_generation("keys"),)

    def __str__(self) -> str:
        return self.name
