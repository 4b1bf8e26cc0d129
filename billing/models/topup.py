"""Top-ups: orders for credits, paid through Stripe.

An order is written before Stripe hears of it, so a call that is cut off can be sent again and finds it. It says what was
sold for how much; the deposit is made once, when Stripe says that exactly this was paid.
"""

import pgtrigger
from django.db import models
from django.db.models import Q

from billing.models.environment import Environment
from billing.models.fields import credits_field, money_field
from billing.models.owner import Project
from billing.models.pack import CreditPack
from billing.models.payment import Payment
from billing.models.wallet import Wallet
from config.base.models import never_truncated


class TopUpStatus(models.TextChoices):
    NEW = "new", "Being made"  # ours only: Stripe has not answered yet
    OPEN = "open", "Waits for payment"
    PROCESSING = "processing", "Payment under way"  # Checkout is complete, the bank takes its time
    PAID = "paid", "Paid"  # deposited; the end, whatever else arrives
    FAILED = "failed", "Failed"  # money that arrives after all still makes it paid
    EXPIRED = "expired", "Expired"  # likewise
    MISMATCH = "mismatch", "Paid otherwise"  # another amount or currency arrived than was ordered: a person decides
    RETURNED = "returned", "Sent back"  # what was paid otherwise went back to the buyer


class TopUpChannel(models.TextChoices):
    API = "api", "API"
    ADMIN = "admin", "Link from the desk"
    AUTO = "auto", "Auto top-up"


class TopUp(models.Model):
    """One order: so many credits for so much money, for one wallet."""

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="topups")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    environment = models.CharField(max_length=16, choices=Environment.choices)
    channel = models.CharField(max_length=5, choices=TopUpChannel.choices)
    pack = models.ForeignKey(CreditPack, null=True, blank=True, on_delete=models.PROTECT, related_name="topups")
    title = models.CharField(max_length=100, blank=True, help_text="What the buyer read in Checkout.")
    credits = credits_field()
    bonus_credits = credits_field(default=0)
    expires_after_days = models.PositiveSmallIntegerField(null=True, blank=True)
    bonus_expires_after_days = models.PositiveSmallIntegerField(null=True, blank=True)
    amount_minor = models.BigIntegerField(help_text="What the buyer pays, in the currency's smallest unit.")
    currency = models.CharField(max_length=3)
    book_value = money_field(help_text="What the sale is worth in the book currency.")
    success_url = models.CharField(max_length=2000, blank=True)
    cancel_url = models.CharField(max_length=2000, blank=True)
    status = models.CharField(max_length=10, choices=TopUpStatus.choices, default=TopUpStatus.NEW)
    checkout_session = models.CharField(max_length=255, blank=True)
    payment_intent = models.CharField(max_length=255, blank=True)
    charge = models.CharField(max_length=255, blank=True)
    saves_card_for = models.CharField(max_length=255, blank=True, help_text="Stripe's id of the customer whose card is kept.")
    url = models.TextField(blank=True, help_text="Where the buyer pays.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When the link ends.")
    is_live = models.BooleanField(default=False, help_text="Real money, as against Stripe's test mode.")
    failure = models.CharField(max_length=500, blank=True, help_text="Why it failed, in Stripe's words.")
    is_suspicious = models.BooleanField(default=False, help_text="Stripe gave an early fraud warning.")
    payment = models.OneToOneField(Payment, null=True, blank=True, on_delete=models.PROTECT, related_name="topup")
    actor = models.CharField(max_length=80)
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "top-up"
        permissions = (
            ("make_topup_link", "Can make top-up links"),
            ("refund_topup", "Can refund top-ups"),
            ("set_auto_topup", "Can set up auto top-up"),
        )
        indexes = (
            models.Index(fields=("wallet", "-id"), name="topup_of_wallet"),
            models.Index(fields=("changed_at",), condition=Q(status__in=["new", "open", "processing"]), name="topup_under_way"),
            models.Index(fields=("created_at",), name="topup_by_time"),
            models.Index(fields=("charge",), condition=~Q(charge=""), name="topup_by_charge"),
            models.Index(fields=("wallet", "created_at"), condition=Q(channel="auto"), name="topup_automatic"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(status__in=TopUpStatus.values), name="topup_status_is_known"),
            models.CheckConstraint(condition=Q(channel__in=TopUpChannel.values), name="topup_channel_is_known"),
            models.CheckConstraint(condition=Q(credits__gt=0, bonus_credits__gte=0), name="topup_sells_credits"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0, book_value__gt=0), name="topup_has_a_price"),
            models.CheckConstraint(condition=Q(amount_minor__lte=99_999_999), name="topup_can_be_charged"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="topup_currency_is_iso"),
            models.CheckConstraint(
                condition=Q(status="paid", payment__isnull=False, paid_at__isnull=False)
                | ~Q(status="paid") & Q(payment__isnull=True, paid_at__isnull=True),
                name="topup_paid_has_its_payment",
            ),
            models.UniqueConstraint(fields=("checkout_session",), condition=~Q(checkout_session=""), name="topup_session_is_one"),
            models.UniqueConstraint(fields=("payment_intent",), condition=~Q(payment_intent=""), name="topup_payment_intent_is_one"),
            models.UniqueConstraint(
                fields=("wallet",),
                condition=Q(channel="auto", status__in=["new", "open", "processing"]),
                name="topup_automatic_is_one_at_a_time",
            ),
        )
        triggers = (
            pgtrigger.Trigger(
                name="order_is_kept",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.wallet_id, OLD.currency, OLD.created_at, OLD.actor) IS DISTINCT FROM"
                    " (NEW.wallet_id, NEW.currency, NEW.created_at, NEW.actor)"
                    " OR NOT (OLD.status = 'mismatch' AND NEW.status = 'paid')"
                    " AND (OLD.credits, OLD.bonus_credits, OLD.amount_minor, OLD.book_value) IS DISTINCT FROM"
                    " (NEW.credits, NEW.bonus_credits, NEW.amount_minor, NEW.book_value)"
                    " OR OLD.status = 'paid' AND (NEW.status, NEW.payment_id, NEW.paid_at,"
                    " NEW.payment_intent) IS DISTINCT FROM (OLD.status, OLD.payment_id, OLD.paid_at, OLD.payment_intent)"
                    " OR OLD.payment_intent <> '' AND NEW.payment_intent <> OLD.payment_intent)"
                ),
                func="RAISE EXCEPTION 'What was ordered never changes, and what is paid stays paid.';",
            ),
            # The one way in which an order changes: paid otherwise, it becomes what was paid, as somebody decided.
            pgtrigger.Trigger(
                name="is_credited_as_it_was_paid",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("(OLD.status = 'mismatch' AND NEW.status = 'paid')"),
                func="""
                    IF NOT EXISTS (
                        SELECT FROM billing_unappliedpayment
                        WHERE topup_id = NEW.id AND state = 'credited'
                          AND (payment_intent, amount_minor, currency, credits, bonus_credits, book_value)
                            = (NEW.payment_intent, NEW.amount_minor, NEW.currency, NEW.credits, NEW.bonus_credits, NEW.book_value)
                    ) THEN
                        RAISE EXCEPTION 'An order that was paid otherwise becomes what was paid, once somebody has decided so.';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"Top-up {self.pk}"
