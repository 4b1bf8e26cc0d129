"""Roles: who may see and do what, as groups of permissions, in one table.

The table is the truth: after every `migrate` each role has exactly these permissions, so a release that brings a page
brings its readers. A company that needs another cut makes a group of its own beside them; the roles cannot be edited.

Nobody may edit the ledger: no role adds, changes or deletes an entry, a usage record, a lot, a payment or a seal, and
the database refuses it to superusers as well. What moves money has a permission of its own, named for what it does.
"""

from enum import StrEnum
from typing import Any, Final

from django.apps import AppConfig, apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import transaction


class Role(StrEnum):
    FINANCE = "Finance"  # ledger, top-ups, refunds, wallets, prices
    PRODUCT_MANAGER = "Product manager"  # decides prices; sees what customers use
    SUPPORT = "Support"  # answers customers; reads only, and no contact data
    ENGINEER = "Engineer"  # keys and usage; no money
    ADMINISTRATOR = "Administrator"  # everything that is open to people, and the people themselves


def _view(app: str, *models: str) -> frozenset[str]:
    return frozenset(f"{app}.view_{model}" for model in models)


def _edit(app: str, *models: str) -> frozenset[str]:
    return frozenset(f"{app}.{action}_{model}" for model in models for action in ("view", "add", "change"))


_OWNERS = ("project", "team", "costcenter")
_USAGE = ("usagerecord", "pipelinerun", "agentjob")
_WALLETS = ("customer", "wallet", "autotopup", "lot", "hold", "ledgerentry", "movementrequest")
_MONEY_BACK = ("topuprefund", "dispute")
_PRICES = ("eventtype", "pricerule", "priceversion", "proposal")
_RATES = ("providermodel", "rateseries", "providerrate", "rateimport", "ratechange")
_CHANGE_PRICES = _edit("pricing", "eventtype") | {
    *("pricing.add_pricerule", "pricing.publish_price"),
    *("pricing.propose_price", "pricing.decide_proposal"),  # nobody both for one price: the services and the database see to it
}
_MOVE_MONEY = frozenset(
    {
        "billing.grant_credits",
        "billing.adjust_wallet",
        "billing.transfer_credits",
        "billing.freeze_wallet",
        "billing.set_wallet_limits",
        "billing.refund_event",
        "billing.release_hold",
        "billing.make_topup_link",
        "billing.refund_topup",
        "billing.approve_refund",  # of another person: the services and the database see to it
        "billing.set_auto_topup",
        "billing.decide_movement",  # of another person: the services and the database see to it
    }
)
# What usage cost: whoever reviews costs sees what is unknown and who sees to it; finance fills and corrects the catalogue.
_SEE_COSTS = _view("billing", "unpricedgroup", "rerating") | {"billing.assign_unpriced"}
_SETTLE_COSTS = frozenset({"billing.rerate_usage", "pricing.correct_rate", "pricing.add_providerrate", "pricing.change_providermodel"})
# What Stripe told, and having it worked off again.
_STRIPE_EVENTS = _view("billing", "stripeevent") | {"billing.retry_stripeevent"}
_SELL = _edit("billing", "creditpack", "packprice") | {"billing.delete_packprice"}  # a price may end; its history stays
_RECONCILE = _view("billing", "payout", "balancetransaction", "platformfee") | {"reports.view_reconciliation", "reports.settle_breaks"}
# Limits on what is spent, and exceptions to them, which one person asks for and another decides.
_SEE_BUDGETS = _view("billing", "budget", "budgetexception")
_ASK_FOR_EXCEPTIONS = _SEE_BUDGETS | {"billing.add_budgetexception"}
_RUN_BUDGETS = _ASK_FOR_EXCEPTIONS | {"billing.add_budget", "billing.change_budget", "billing.end_budget", "billing.decide_exception"}
# What happened, and what was planned. Whoever answers for money sees to all alerts, an engineer to spikes.
_SEE_ALERTS = _view("billing", "alert", "launch")
_SEE_TO_ALERTS = _SEE_ALERTS | _edit("billing", "alertchannel") | {"billing.acknowledge_alert", "billing.retry_alertdelivery"}
_SEE_TO_SPIKES = _SEE_ALERTS | {"billing.acknowledge_spike"}
_PLAN = _edit("billing", "launch")
_SEE_CONTACTS = frozenset({"billing.view_contact_data"})

_SUPPORT = (
    _view("billing", "project", "payment", "topup", *_MONEY_BACK, *_WALLETS, *_USAGE)
    | _view("pricing", *_PRICES)
    | _SEE_BUDGETS
    | _SEE_ALERTS
)
_FINANCE = (
    _view("billing", "payment", "seal", "topup", *_MONEY_BACK, *_WALLETS, *_USAGE)
    | _edit("billing", *_OWNERS)
    | _view("pricing", *_PRICES, *_RATES)
    | _edit("pricing", "workspace") - {"pricing.add_workspace"}
    | _CHANGE_PRICES
    | _MOVE_MONEY
    | _SELL
    | _SEE_CONTACTS
    | _SEE_COSTS
    | _SETTLE_COSTS
    | _STRIPE_EVENTS
    | _RECONCILE
    | _RUN_BUDGETS
    | _SEE_TO_ALERTS
    | {"billing.run_ledger_check", "pricing.accept_rates"}
)
_PRODUCT_MANAGER = (
    _view("billing", "creditpack", "packprice", "topup", *_OWNERS, *_WALLETS, *_USAGE)
    | _view("pricing", "workspace", *_PRICES, *_RATES)
    | _CHANGE_PRICES
    | {"pricing.set_pricing_policy"}
    | _SEE_CONTACTS
    | _SEE_COSTS
    | _RUN_BUDGETS
    | _SEE_TO_ALERTS
    | _PLAN
)
_ENGINEER = (
    _view("billing", "apikey", *_USAGE)
    | _edit("billing", *_OWNERS)
    | {"billing.manage_apikey"}
    | _ASK_FOR_EXCEPTIONS
    | _SEE_TO_SPIKES
    | _view("pricing", "eventtype", "providermodel")
)
_ADMINISTRATOR = (
    _FINANCE
    | _ENGINEER
    | _PLAN
    | _edit("auth", "user", "group")
    | {"auth.delete_group", "pricing.waive_approval"}
    | {"django_celery_beat.view_periodictask", "django_celery_beat.change_periodictask"}
    | {"axes.view_accessattempt", "axes.delete_accessattempt"}  # deleting one lets a locked-out person in again
)

PERMISSIONS: Final[dict[Role, frozenset[str]]] = {
    Role.FINANCE: _FINANCE,
    Role.PRODUCT_MANAGER: _PRODUCT_MANAGER,
    Role.SUPPORT: _SUPPORT,
    Role.ENGINEER: _ENGINEER,
    Role.ADMINISTRATOR: _ADMINISTRATOR,
}


def after_migrate(sender: AppConfig, using: str, **_: Any) -> None:
    """Keep the roles in step, once per `migrate`: the signal comes for each app, and the last one finds all permissions."""
    last = [config for config in apps.get_app_configs() if config.models_module is not None][-1]
    if sender.name == last.name:
        create_permissions(sender, verbosity=0, using=using)
        keep_in_step(using=using)


def keep_in_step(*, using: str = "default") -> None:
    """Give every role exactly the permissions of the table; those of models that are not migrated yet are left out."""
    known = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.using(using).values_list("pk", "content_type__app_label", "codename")
    }
    with transaction.atomic(using=using):
        for role, names in PERMISSIONS.items():
            group, _ = Group.objects.using(using).get_or_create(name=role.value)
            group.permissions.set([known[name] for name in names if name in known])
