"""The dialog that makes a page of Stripe's where a customer pays, and shows its address once, to be copied."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing.admin.pack import offer
from billing.admin.words import actor, charged
from billing.models import Customer, TopUpChannel
from billing.queries import packs_on_sale
from billing.services import packs, topup_orders
from billing.services.topup_orders import Order, Wanted
from config.base.admin import Choice, MoneyField, ReasonDialog, Shown
from pricing.queries import workspace


class LinkDialog(ReasonDialog):
    pack = Choice(required=False, help_text="What is sold, and at which price.")
    amount = MoneyField(required=False, help_text="Instead of a pack: what the customer pays. It buys credits at their list value.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        on_sale = packs_on_sale.load(now=timezone.now())
        prices = [(f"{pack.key}/{price.currency}", offer(pack, price)) for pack in on_sale for price in pack.prices.all()]
        self.fields["pack"].choices = [("", "An amount" if prices else "No pack is on sale: an amount"), *prices]
        self.fields["amount"].label = f"Amount in {workspace.load().currency}"

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if "pack" in given and "amount" in given and bool(given["pack"]) == bool(given["amount"]):
            raise ValidationError("Choose a pack, or leave it at an amount and say which.")
        return given


def make_link(request: HttpRequest, form: LinkDialog, customer: Customer) -> Shown:
    """Order for the customer and show where it is paid."""
    given = form.cleaned_data
    pack, _, currency = given["pack"].partition("/")
    order = Order(
        customer=customer,
        wanted=Wanted(pack, given["amount"] or None, currency or workspace.load().currency),
        channel=TopUpChannel.ADMIN,
        actor=actor(request),
        success_url=request.build_absolute_uri(reverse("thanks")),
        reason=given["reason"],
        request_id=request.META.get("REQUEST_ID", ""),
    )
    topup = topup_orders.order(order, now=timezone.now()).topup
    context = {
        "topup": topup,
        "customer": customer,
        "buys": packs.described(topup.credits, topup.bonus_credits),
        "amount": charged(topup.amount_minor, topup.currency),
    }
    return Shown("admin/billing/topup_link.html", context)
