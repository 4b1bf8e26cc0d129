"""Wallets: a customer's credits.

`balance` is the sum of the wallet's lots and of its ledger entries; `held` is the sum of its open holds. Neither is
ever set by a program: triggers move them when entries and holds are written, and refuse any other change.
"""

import pgtrigger
from django.db import models
from django.db.models import ExpressionWrapper, F, Q, Value
from django.db.models.functions import Coalesce

from billing.models.customer import Customer
from billing.models.fields import balance_field, credits_field, history


class WalletStatus(models.TextChoices):
    ACTIVE = "active"
    FROZEN = "frozen"  # pays for nothing; deposits, refunds and releases still arrive


class Wallet(models.Model):
    customer = models.OneToOneField(Customer, on_delete=models.PROTECT, related_name="wallet")
    balance = balance_field(default=0, editable=False)
    held = balance_field(default=0, editable=False)
    overdraft_limit = credits_field(default=0, help_text="Credits that the customer may owe. 0: none.")
    low_balance_threshold = credits_field(
        null=True, blank=True, help_text="Below this balance, without what is held, the wallet counts as low. Empty: never."
    )
    status = models.CharField(max_length=8, choices=WalletStatus.choices, default=WalletStatus.ACTIVE)
    # Kept by the database, so that the badge need not compare a million wallets; it flips rarely, so charges seldom write its index.
    is_low = models.GeneratedField(
        expression=Coalesce(
            ExpressionWrapper(Q(low_balance_threshold__gt=F("balance") - F("held")), output_field=models.BooleanField()), Value(value=False)
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    history = history(excluded_fields=["balance", "held", "is_low"])

    class Meta:
        permissions = (
            ("grant_credits", "Can grant credits"),
            ("adjust_wallet", "Can adjust a wallet by hand"),
            ("transfer_credits", "Can transfer credits between wallets"),
            ("freeze_wallet", "Can freeze and release wallets"),
            ("set_wallet_limits", "Can set overdraft limits and low-balance thresholds"),
        )
        indexes = (
            models.Index(fields=("id",), condition=Q(is_low=True), name="wallet_low"),
            models.Index(fields=("id",), condition=Q(status="frozen"), name="wallet_frozen"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(held__gte=0), name="wallet_held_is_not_negative"),
            models.CheckConstraint(condition=Q(overdraft_limit__gte=0), name="wallet_overdraft_limit_is_not_negative"),
            models.CheckConstraint(condition=Q(status__in=WalletStatus.values), name="wallet_status_is_known"),
        )
        triggers = (
            # Inside another trigger the depth is 1 or more: that is where balances move.
            pgtrigger.Trigger(
                name="balance_moves_by_entries",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.balance, OLD.held) IS DISTINCT FROM (NEW.balance, NEW.held) AND pg_trigger_depth() = 0)"
                ),
                func="RAISE EXCEPTION 'A balance moves by ledger entries, held credits by holds: write one of those.';",
            ),
            pgtrigger.Trigger(
                name="starts_empty",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.balance <> 0 OR NEW.held <> 0"),
                func="RAISE EXCEPTION 'A wallet starts empty: deposit or grant credits by a ledger entry.';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
        )

    def __str__(self) -> str:
        return f"Wallet of {self.customer}"
