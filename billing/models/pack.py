"""Credit packs: what customers can buy, and at which price in which currency.

A pack's credits are paid credits; its bonus comes as a promotional lot of its own, which may expire sooner. A sale keeps
what it was sold for (`TopUp`), so a pack may change or end without touching what was bought.
"""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from billing.models.fields import credits_field, history, money_field


class CreditPack(models.Model):
    """So many credits for a price, from and until."""

    key = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9_.-]*$", "Use small letters, digits, dots, dashes and underscores.")],
        help_text="The name that apps ask for: starter-500.",
    )
    name = models.CharField(max_length=100, help_text="What buyers read in Checkout: 500 credits.")
    credits = credits_field()
    bonus_credits = credits_field(default=0, help_text="Given on top, as a promotional lot. 0: none.")
    expires_after_days = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of the bought credits. Empty: never.")
    bonus_expires_after_days = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of the bonus. Empty: never.")
    active_from = models.DateTimeField(help_text="On sale from here on.")
    active_until = models.DateTimeField(null=True, blank=True, help_text="Not on sale any more. Empty: until further notice.")

    history = history()

    class Meta:
        ordering = ("credits", "key")
        constraints = (
            models.CheckConstraint(condition=Q(credits__gt=0), name="pack_has_credits"),
            models.CheckConstraint(condition=Q(bonus_credits__gte=0), name="pack_bonus_is_not_negative"),
            models.CheckConstraint(
                condition=Q(active_until__isnull=True) | Q(active_until__gt=F("active_from")), name="pack_ends_after_it_starts"
            ),
            models.CheckConstraint(
                condition=(Q(expires_after_days__isnull=True) | Q(expires_after_days__gte=1))
                & (Q(bonus_expires_after_days__isnull=True) | Q(bonus_expires_after_days__gte=1)),
                name="pack_lasts_a_day",
            ),
        )

    def __str__(self) -> str:
        return self.name


class PackPrice(models.Model):
    """A pack's price in one currency.

    `book_value` is what a sale is worth in the book currency. In the book currency it is the price; in another one it is the
    company's own decision, kept with each sale: what Stripe's exchange then brings more or less shows in the reconciliation.
    """

    pack = models.ForeignKey(CreditPack, on_delete=models.CASCADE, related_name="prices")
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField(help_text="In the currency's smallest unit, as Stripe counts: 1999 is 19.99 USD.")
    book_value = money_field(help_text="What the sale is worth in the book currency.")

    history = history()

    class Meta:
        ordering = ("currency",)
        constraints = (
            models.UniqueConstraint(fields=("pack", "currency"), name="pack_price_is_one_per_currency"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="pack_price_currency_is_iso"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0, amount_minor__lte=99_999_999), name="pack_price_can_be_charged"),
            models.CheckConstraint(condition=Q(book_value__gt=0), name="pack_price_has_a_value"),
        )

    def __str__(self) -> str:
        return f"{self.pack} in {self.currency}"
