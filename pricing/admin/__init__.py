"""Prices in the admin: event types, rules with their time line, versions, the catalogue of provider rates, the workspace."""

from pricing.admin import event_types, price_rules, price_versions, provider_rates, rate_imports, workspace

__all__ = ["event_types", "price_rules", "price_versions", "provider_rates", "rate_imports", "workspace"]
