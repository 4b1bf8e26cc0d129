"""The pricing app: what an action costs in credits, and what it costs us."""

from django.apps import AppConfig


class PricingConfig(AppConfig):
    """Names the app."""

    name = "pricing"
    verbose_name = "Pricing"
