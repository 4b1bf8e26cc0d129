"""Prices in the admin: event types, rules with their time line, versions, proposals, the catalogue of provider rates, the workspace."""

from pricing.admin import event_types, price_rules, price_versions, proposals, provider_rates, rate_imports, workspace

__all__ = ["event_types", "price_rules", "price_versions", "proposals", "provider_rates", "rate_imports", "workspace"]
