"""Auto top-up: a saved card is charged when a wallet falls below a mark, within caps, until it fails too often.

One row a wallet says what was agreed and how it stands. `order` is the order whose end has not been looked at: while there
is one, nothing else is ordered, and what the card is charged for it never changes, so that a call cut off anywhere can be
made again. Who may charge a card unasked must stop by himself: declines in a row, a card that will not work again, money
that went back. Only a person starts it again.
"""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import credits_field, history
from billing.models.pack import CreditPack
from billing.models.topup import TopUp
from billing.models.wallet import Wallet


class AutoTopUpState(models.TextChoices):
    WAITING = "waiting", "Waits for a card"
    ACTIVE = "active", "On"
    BACKING_OFF = "backing_off", "Pauses after a decline"
    STOPPED = "stopped", "Stopped by itself"  # somebody has been told; a person starts it again
    OFF = "off", "Switched off"  # by a person


class AutoTopUp(models.Model):
    """What is bought for a wallet, when, and at most how much of it. Amounts are in the smallest unit of `currency`."""

    wallet = models.OneToOneField(Wallet, on_delete=models.PROTECT, related_name="auto_topup")
    threshold = credits_field(help_text="Available credits below which the card is charged.")
    pack = models.ForeignKey(CreditPack, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    amount_minor = models.BigIntegerField(null=True, blank=True, help_text="Instead of a pack: what is charged each time.")
    currency = models.CharField(max_length=3)
    day_cap_minor = models.BigIntegerField(help_text="At most so much a day, by the workspace's clock.")
    month_cap_minor = models.BigIntegerField(help_text="At most so much a month, by the workspace's clock.")
    state = models.CharField(max_length=11, choices=AutoTopUpState.choices, default=AutoTopUpState.WAITING)
    why = models.CharField(max_length=500, blank=True, help_text="Why it pauses, was stopped or switched off, or holds back.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="Declines in a row.")
    next_attempt_at = models.DateTimeField(null=True, blank=True, help_text="Not before; empty: as soon as it is needed.")
    order = models.OneToOneField(TopUp, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    order_customer = models.CharField(max_length=255, blank=True, help_text="Who is charged for the order, by Stripe's id.")
    order_method = models.CharField(max_length=255, blank=True, help_text="With what, by Stripe's id.")
    set_up_by = models.CharField(max_length=80)
    set_up_at = models.DateTimeField()
    started_at = models.DateTimeField(help_text="Since when it runs: what happened before does not stop it.")

    history = history(excluded_fields=["order", "order_customer", "order_method"])

    class Meta:
        verbose_name = "auto top-up"
        indexes = (
            models.Index(fields=("wallet",), condition=Q(state__in=["active", "backing_off"]), name="auto_topup_on"),
            models.Index(fields=("id",), condition=Q(order__isnull=False), name="auto_topup_ordering"),
            models.Index(fields=("id",), condition=Q(state="stopped"), name="auto_topup_stopped"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(state__in=AutoTopUpState.values), name="auto_topup_state_is_known"),
            models.CheckConstraint(condition=Q(threshold__gt=0), name="auto_topup_has_a_mark"),
            models.CheckConstraint(
                condition=Q(pack__isnull=False, amount_minor__isnull=True)
                | Q(pack__isnull=True, amount_minor__isnull=False, amount_minor__gt=0),
                name="auto_topup_buys_a_pack_or_an_amount",
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__isnull=True) | Q(amount_minor__lte=99_999_999), name="auto_topup_can_be_charged"
            ),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="auto_topup_currency_is_iso"),
            models.CheckConstraint(
                condition=Q(day_cap_minor__gt=0, month_cap_minor__gte=F("day_cap_minor")), name="auto_topup_caps_are_in_order"
            ),
            models.CheckConstraint(
                condition=Q(state="backing_off", failures__gt=0, next_attempt_at__isnull=False) | ~Q(state="backing_off"),
                name="auto_topup_pauses_until",
            ),
            models.CheckConstraint(condition=~Q(state__in=["stopped", "off"]) | ~Q(why=""), name="auto_topup_says_why_it_ended"),
            models.CheckConstraint(
                condition=Q(order__isnull=True, order_customer="", order_method="")
                | Q(order__isnull=False) & ~Q(order_customer="") & ~Q(order_method=""),
                name="auto_topup_order_has_its_card",
            ),
        )

    def __str__(self) -> str:
        return f"Auto top-up of {self.wallet.customer}"

    @property
    def is_on(self) -> bool:
        """Whether it will charge, now, after a pause, or once there is a card."""
        return self.state in {AutoTopUpState.WAITING, AutoTopUpState.ACTIVE, AutoTopUpState.BACKING_OFF}
