"""What people do about a group of unpriced usage: take it on, add the rates it lacks, or name the model it is."""

from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from billing.models import UnpricedGroup
from billing.services import unpriced
from config.base.admin import Choice, Dialog, Moment, MoneyField, ReasonDialog, Text
from config.base.exact import plain
from pricing.models import ProviderModel
from pricing.queries import workspace
from pricing.rate_catalogue import tier_of
from pricing.rating import UNIT_WORDS
from pricing.services import rate_changes
from pricing.services.refusals import RateRefusedError
from pricing.units import FALLBACK, UnitKind

_MILLION: Final = 1_000_000
_ONE_BY_ONE: Final = {UnitKind.IMAGE, UnitKind.VIDEO_SECOND}


class AssignDialog(ReasonDialog):
    owner = Choice(required=False, help_text="Who sees to it.")
    note = forms.CharField(required=False, max_length=500, widget=forms.Textarea, help_text="How far it is.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner: Any = self.fields["owner"]
        owner.choices = [("", "Nobody"), *((str(person.pk), person.get_username()) for person in _people())]
        owner.initial = str(self.subject.owner_id or "")
        self.fields["note"].widget = ReasonDialog.base_fields["reason"].widget
        self.fields["note"].initial = self.subject.note


def _people() -> list[User]:
    granted = Q(groups__permissions__codename="view_unpricedgroup") | Q(user_permissions__codename="view_unpricedgroup")
    return list(User.objects.filter(granted | Q(is_superuser=True), is_active=True, is_staff=True).distinct().order_by("username"))


def assign(form: AssignDialog, group: UnpricedGroup) -> str:
    """Write down who sees to the group, and say so."""
    typed = form.cleaned_data
    owner = User.objects.get(pk=typed["owner"]) if typed["owner"] else None
    unpriced.assign(group=group, owner=owner, note=typed["note"], reason=typed["reason"])
    return f"{owner or 'Nobody'} sees to {group} now."


class AddRatesDialog(Dialog):
    """One price per unit that the group lacks, of the model, tier and batch that it names."""

    provider = Text(max_length=64)
    model = Text(max_length=128)
    effective_from = Moment(label="Holds since")
    currency = Text(max_length=3)
    source = Text(max_length=64, help_text="Where the figures come from: an invoice, a price page.")
    source_detail = Text(required=False, label="Detail", help_text="The address of the page, the number of the invoice.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        group = self.subject
        first = {
            "provider": group.provider,
            "model": group.model,
            "currency": workspace.load().currency,
            "effective_from": group.first_seen_at,
        }
        for name, value in first.items():
            self.fields[name].initial = value
        for unit in self.units():
            self.fields[f"price_{unit}"] = MoneyField(
                required=False, label=f"Price of {_per(unit):,} {UNIT_WORDS[unit][0 if _per(unit) == 1 else 1]}", help_text=_hint(unit)
            )
        self.order_fields(["provider", "model", *(f"price_{unit}" for unit in self.units())])

    def units(self) -> list[UnitKind]:
        return [UnitKind(unit) for unit in self.subject.units]

    def clean_currency(self) -> str:
        currency: str = self.cleaned_data["currency"].upper()
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
            raise ValidationError("Write the three letters of a currency, such as USD.")
        return currency

    def prices(self) -> dict[UnitKind, tuple[Decimal, int]]:
        typed = {unit: self.cleaned_data[f"price_{unit}"] for unit in self.units()}
        return {unit: (price, _per(unit)) for unit, price in typed.items() if price is not None}


def _per(unit: UnitKind) -> int:
    return 1 if unit in _ONE_BY_ONE else _MILLION


def _hint(unit: UnitKind) -> str:
    if unit is UnitKind.CACHE_WRITE_1H:
        return "Empty: charged as input, but unpriced where other cache writes have a price."
    fallback = FALLBACK.get(unit)
    return f"Empty: charged as {fallback[-1].value}." if fallback else ""


def add_rates(request: HttpRequest, form: AddRatesDialog, group: UnpricedGroup) -> str:
    """Add the prices to the catalogue, and say what comes next."""
    assert isinstance(request.user, User)
    typed = form.cleaned_data
    added = rate_changes.add(
        provider=typed["provider"],
        model=typed["model"],
        prices=form.prices(),
        service_tier=group.service_tier,
        is_batch=group.is_batch,
        currency=typed["currency"],
        effective_from=typed["effective_from"],
        source=typed["source"],
        source_detail=typed["source_detail"],
        actor=request.user,
        now=timezone.now(),
    )
    told = ", ".join(f"{rate.series.get_unit_kind_display()} {plain(rate.price)} {rate.currency} per {rate.per:,}" for rate in added)
    return f"Added to the catalogue in the tier {tier_of(group.service_tier)}: {told}. Re-rate the records now."


class NameDialog(ReasonDialog):
    """The group's model is one that the catalogue knows by another name."""

    model = Choice(label="Is the model")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = ProviderModel.objects.order_by("provider", "name")
        own = known.filter(provider=self.subject.provider.lower())
        choices: Any = self.fields["model"]
        choices.choices = [("", "Choose the model"), *((str(model.pk), str(model)) for model in (own if own.exists() else known))]


def add_name(request: HttpRequest, form: NameDialog, group: UnpricedGroup) -> str:
    """Let the model be found by the group's name, and say so."""
    assert isinstance(request.user, User)
    if not group.model:
        raise RateRefusedError("The app named no model, so there is no name to add.")
    model = ProviderModel.objects.get(pk=form.cleaned_data["model"])
    rate_changes.add_alias(model=model, alias=group.model, reason=form.cleaned_data["reason"], actor=request.user)
    return f"{model} is found as {group.model} as well. Re-rate the records now."
