"""The ground floor as a Django app: it owns the generation counters."""

from django.apps import AppConfig


class BaseConfig(AppConfig):
    name = "config.base"
    label = "base"
    verbose_name = "Base"
