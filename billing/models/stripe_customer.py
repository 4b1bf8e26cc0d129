"""Whom Stripe knows as whom, and with what they pay without being asked."""

from django.db import models

from billing.models.customer import Customer
from billing.models.fields import history


class StripeCustomer(models.Model):
    """A customer's account at Stripe, with the payment method that was saved for auto top-up, if any."""

    customer = models.OneToOneField(Customer, on_delete=models.PROTECT, related_name="stripe")
    stripe_id = models.CharField(max_length=255, unique=True)
    is_live = models.BooleanField(default=False, help_text="Of Stripe's live mode, as against its test mode.")
    payment_method = models.CharField(max_length=255, blank=True, help_text="Stripe's id of the saved payment method.")
    method_label = models.CharField(max_length=100, blank=True, help_text="What a person knows it by: Visa 4242, 12/2028.")
    method_changed_at = models.DateTimeField(null=True, blank=True, help_text="By Stripe's clock: older news changes nothing.")
    created_at = models.DateTimeField()

    history = history()

    def __str__(self) -> str:
        return self.stripe_id
