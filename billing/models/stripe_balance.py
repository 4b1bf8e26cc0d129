"""What happened to our balance at Stripe: balance transactions, the payouts that emptied it, and the fees among them.

These are Stripe's figures, kept as they came. A balance transaction is one movement with its fee; a payout is a transfer
to our bank, made of the balance transactions that name it. What they are about is told in `billing.balance`.

Real money and the play money of Stripe's test mode never meet: each row is of one mode, as what it belongs to is.
"""

import pgtrigger
from django.db import models
from django.db.models import F, Q

from billing.models.fields import money_field
from billing.models.payment import Payment
from config.base.models import never_truncated

_LIVE = "Real money, as against Stripe's test mode."


class Payout(models.Model):
    """A transfer to our bank; `status` is Stripe's word."""

    stripe_id = models.CharField(max_length=255, unique=True)
    amount_minor = models.BigIntegerField(help_text="Negative when Stripe took money from our bank.")
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=20)
    is_live = models.BooleanField(default=False, help_text=_LIVE)
    is_automatic = models.BooleanField(null=True, help_text="Made by Stripe, which then names it on what it took along. Empty: not told.")
    is_reconciled = models.BooleanField(default=False, help_text="All balance transactions of it have arrived and add up.")
    failure = models.CharField(max_length=500, blank=True, help_text="Why the bank sent it back, in Stripe's words.")
    arrives_on = models.DateField()
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=("created_at",), name="payout_by_time"),
            models.Index(fields=("id",), condition=Q(is_reconciled=False), name="payout_to_take_apart"),
        )
        constraints = (models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="payout_currency_is_iso"),)
        triggers = (
            pgtrigger.Trigger(
                name="facts_are_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.stripe_id, OLD.amount_minor, OLD.currency, OLD.is_live, OLD.created_at, OLD.received_at) IS DISTINCT FROM"
                    " (NEW.stripe_id, NEW.amount_minor, NEW.currency, NEW.is_live, NEW.created_at, NEW.received_at)"
                    " OR OLD.is_automatic IS NOT NULL AND NEW.is_automatic IS DISTINCT FROM OLD.is_automatic)"
                ),
                func="RAISE EXCEPTION 'What Stripe paid out never changes.';",
            ),
            pgtrigger.Trigger(
                name="stays_reconciled",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("(OLD.is_reconciled AND NOT NEW.is_reconciled)"),
                func="""
                    IF NEW.amount_minor IS NOT DISTINCT FROM (
                        SELECT sum(net_minor) FROM billing_balancetransaction
                        WHERE payout_id = NEW.id AND currency = NEW.currency AND source <> NEW.stripe_id
                    ) THEN
                        RAISE EXCEPTION 'A payout stays reconciled while its balance transactions add up to it.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="adds_up",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Condition("(NEW.is_reconciled)"),
                func="""
                    IF NEW.amount_minor IS DISTINCT FROM (
                        SELECT sum(net_minor) FROM billing_balancetransaction
                        WHERE payout_id = NEW.id AND currency = NEW.currency AND source <> NEW.stripe_id
                    ) THEN
                        RAISE EXCEPTION 'A payout is reconciled when its balance transactions add up to it.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return self.stripe_id


class BalanceTransaction(models.Model):
    """One movement of our balance: `net = amount - fee`, in minor units of its currency. `payout` is set when one took it along."""

    stripe_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=60)
    reporting_category = models.CharField(max_length=60, blank=True)
    source = models.CharField(max_length=255, blank=True, help_text="The charge, refund, dispute or payout behind it.")
    charge = models.CharField(max_length=255, blank=True, help_text="The charge behind its source, where Stripe named it.")
    payment_intent = models.CharField(max_length=255, blank=True)
    amount_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    net_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    exchange_rate = models.DecimalField(max_digits=30, decimal_places=15, null=True, blank=True)
    is_live = models.BooleanField(default=False, help_text=_LIVE)
    is_from_file = models.BooleanField(default=False, help_text="Told by an imported file, and by Stripe itself not so far.")
    status = models.CharField(max_length=20, blank=True, help_text="In Stripe's word: pending, then available.")
    payout_id_at_stripe = models.CharField(max_length=255, blank=True, help_text="Known before the payout itself is.")
    payout = models.ForeignKey(Payout, null=True, blank=True, on_delete=models.PROTECT, related_name="transactions")
    description = models.CharField(max_length=500, blank=True)
    told_otherwise = models.CharField(
        max_length=500,
        blank=True,
        help_text="What was said of it otherwise: by a file before Stripe itself told of it, or by Stripe later.",
    )
    off_by_minor = models.BigIntegerField(default=0, help_text="By how much that differs in its net.")
    available_on = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=("source",), name="balance_transaction_source"),
            models.Index(fields=("created_at",), name="balance_transaction_by_time"),
            models.Index(fields=("payment_intent",), condition=~Q(payment_intent=""), name="balance_transaction_intent"),
            models.Index(
                fields=("payout_id_at_stripe",),
                condition=Q(payout__isnull=True) & ~Q(payout_id_at_stripe=""),
                name="balance_transaction_of_unknown",
            ),
        )
        constraints = (
            models.CheckConstraint(condition=Q(net_minor=F("amount_minor") - F("fee_minor")), name="balance_transaction_adds_up"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="balance_transaction_currency_is_iso"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="facts_are_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "(OLD.stripe_id <> NEW.stripe_id OR OLD.received_at <> NEW.received_at OR NEW.is_from_file AND NOT OLD.is_from_file"
                    # Stripe's own word takes the place of a file's, once.
                    " OR NOT (OLD.is_from_file AND NOT NEW.is_from_file) AND ("
                    "(OLD.type, OLD.reporting_category, OLD.source, OLD.charge, OLD.payment_intent, OLD.amount_minor,"
                    " OLD.fee_minor, OLD.net_minor, OLD.currency, OLD.exchange_rate, OLD.description, OLD.available_on, OLD.created_at,"
                    " OLD.is_live) IS DISTINCT FROM"
                    " (NEW.type, NEW.reporting_category, NEW.source, NEW.charge, NEW.payment_intent, NEW.amount_minor,"
                    " NEW.fee_minor, NEW.net_minor, NEW.currency, NEW.exchange_rate, NEW.description, NEW.available_on, NEW.created_at,"
                    " NEW.is_live)"
                    " OR OLD.payout_id IS NOT NULL AND NEW.payout_id IS DISTINCT FROM OLD.payout_id"
                    " OR OLD.payout_id_at_stripe <> '' AND NEW.payout_id_at_stripe <> OLD.payout_id_at_stripe"
                    " OR OLD.status = 'available' AND NEW.status <> 'available'))"
                ),
                func="RAISE EXCEPTION 'What Stripe booked never changes; the payout that took it along is written down once.';",
            ),
            pgtrigger.Trigger(
                name="is_of_one_mode",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF EXISTS (SELECT FROM billing_topup WHERE charge <> '' AND charge IN (NEW.source, NEW.charge)
                               AND is_live <> NEW.is_live)
                    OR EXISTS (SELECT FROM billing_topup WHERE payment_intent <> '' AND payment_intent = NEW.payment_intent
                               AND is_live <> NEW.is_live) THEN
                        RAISE EXCEPTION 'A balance transaction is of the mode of its top-up: real money or Stripe''s test mode.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="payout_is_of_its_mode",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Condition("(NEW.payout_id IS NOT NULL)"),
                func="""
                    IF EXISTS (SELECT FROM billing_payout WHERE id = NEW.payout_id AND is_live <> NEW.is_live) THEN
                        RAISE EXCEPTION 'A balance transaction is of the mode of its payout: real money or Stripe''s test mode.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return self.stripe_id


class SettlementSweep(models.Model):
    """Until when Stripe was asked for movements of the balance, for real money and for its test mode."""

    is_live = models.BooleanField(unique=True)
    reached_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Asked until {self.reached_at:%Y-%m-%d %H:%M}"


class PlatformFee(models.Model):
    """What taking a payment, or losing it again, cost us: the fee of one balance transaction.

    A row of its own and not a column that is filled in later, since entries of the ledger never change and a fee arrives
    minutes after the deposit. It never changes; one that only a file told of goes when Stripe itself says otherwise.
    Journal: platform fees to payments clearing.
    """

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="fees")
    balance_transaction = models.CharField(max_length=255, unique=True)
    amount_minor = models.BigIntegerField(help_text="Positive: it cost us. Negative: Stripe gave it back.")
    currency = models.CharField(max_length=3)
    amount = money_field(null=True, blank=True, help_text="In the book currency; empty when the fee came in another one.")
    is_live = models.BooleanField(default=False, help_text=_LIVE)
    kind = models.CharField(max_length=20, help_text="payment, refund or dispute")
    happened_at = models.DateTimeField()
    recorded_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("happened_at",), name="platform_fee_by_time"),)
        triggers = (
            pgtrigger.Protect(name="never_changes", operation=pgtrigger.Update),
            pgtrigger.Trigger(
                name="is_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete,
                func="""
                    IF NOT EXISTS (SELECT FROM billing_balancetransaction WHERE stripe_id = OLD.balance_transaction AND is_from_file) THEN
                        RAISE EXCEPTION 'Cannot delete a fee of which Stripe itself told.';
                    END IF;
                    RETURN OLD;
                """,
            ),
            never_truncated(),
            pgtrigger.Trigger(
                name="is_of_one_mode",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF EXISTS (SELECT FROM billing_topup WHERE payment_id = NEW.payment_id AND is_live <> NEW.is_live)
                    OR EXISTS (SELECT FROM billing_balancetransaction
                               WHERE stripe_id = NEW.balance_transaction AND is_live <> NEW.is_live) THEN
                        RAISE EXCEPTION 'A fee is of the mode of its payment: real money or Stripe''s test mode.';
                    END IF;
                    RETURN NEW;
                """,
            ),
        )

    def __str__(self) -> str:
        return f"Fee of {self.balance_transaction}"
