"""Environments keep test traffic apart from customers' money.

An API key belongs to one environment of one project, and a customer exists per environment: `user_42` in staging is
another customer, with another wallet, than `user_42` in production.
"""

from django.db import models


class Environment(models.TextChoices):
    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"
    EVALUATION = "evaluation"
