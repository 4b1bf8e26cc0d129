"""The forms of what people may do to a wallet. Each says in plain words what will happen."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from billing.admin.words import what_one_may_move
from billing.models import Customer, Wallet
from config.base.admin import CreditsField, Moment, ReasonDialog, Text
from config.base.exact import MAX_CREDITS

ZERO_OR_MORE = Decimal(0)


class HandDialog(ReasonDialog):
    """Credits moved by hand. It says from how many on a second person decides."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (wallet := self.wallet()) is not None:
            field = self.fields["credits"]
            field.help_text = f"{field.help_text} {what_one_may_move(self.request, wallet)}"

    def wallet(self) -> Wallet | None:
        """Return the wallet whose credits move, or leave."""
        wallet: Wallet = self.subject.wallet
        return wallet


class GrantDialog(HandDialog):
    credits = CreditsField(help_text="Given for nothing: worth 0 in the books, spent before bought credits of the same expiry.")
    expires_at = Moment(label="Expires", required=False, help_text="Empty: never.")

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise ValidationError("This lies in the past: choose a later time, or none.")
        return expires_at


class AdjustDialog(HandDialog):
    credits = CreditsField(min_value=-MAX_CREDITS, help_text="Signed: 50 adds 50 credits, -50 takes 50 that are neither held nor owed.")

    def clean_credits(self) -> Decimal:
        credits: Decimal = self.cleaned_data["credits"]
        if not credits:
            raise ValidationError("An adjustment of 0 changes nothing. Write what is to be added or, with a minus, taken.")
        return credits


class TransferDialog(HandDialog):
    to = Text(
        label="To customer", max_length=128, help_text="The customer's id, as the app writes it, of the same project and environment."
    )
    credits = CreditsField(help_text="They keep their value, expiry and place in the burn order.")

    def clean_to(self) -> Customer:
        giving: Customer = self.subject
        to = Customer.objects.select_related("wallet").filter(
            project_id=giving.project_id, environment=giving.environment, external_id=self.cleaned_data["to"]
        )
        if (taking := to.first()) is None:
            raise ValidationError(f"There is no such customer in {giving.project}, {giving.environment}. Check the id.")
        return taking


class OverdraftDialog(ReasonDialog):
    limit = CreditsField(
        label="Overdraft limit",
        min_value=ZERO_OR_MORE,
        help_text="Credits that the customer may owe. 0: none, beyond what is owed already.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["limit"].initial = self.subject.wallet.overdraft_limit.normalize()


class LowBalanceDialog(ReasonDialog):
    threshold = CreditsField(
        label="Low below",
        required=False,
        min_value=ZERO_OR_MORE,
        help_text="Available credits below which the wallet counts as low. Empty: never.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["threshold"].initial = self.subject.wallet.low_balance_threshold


class FreezeDialog(ReasonDialog):
    pass
