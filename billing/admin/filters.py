"""Filters that billing's lists share."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.admin import FieldListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter
from unfold.contrib.filters.forms import SearchForm

from billing.models import Payout, Wallet
from pricing.queries import workspace


class CustomerOfWalletFilter(AutocompleteSelectFilter):
    """Rows of a customer's wallet. By the wallet's id, which the rows' own index begins with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "customer"

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if not (value := self.value()):
            return queryset
        if not value.isdecimal():
            raise IncorrectLookupParameters
        wallet = Wallet.objects.filter(customer_id=int(value)).first()
        return queryset.filter(wallet_id=wallet.pk) if wallet else queryset.none()


class CustomerOfTopUpFilter(AutocompleteSelectFilter):
    """Rows about top-ups of a customer's wallet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "customer"


class CustomerOfPaymentFilter(CustomerOfTopUpFilter):
    """Rows about payments of a customer's wallet."""


class BookedCurrencyFilter(DropdownFilter):
    """Rows in one of the currencies that we have a balance in at Stripe."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # The payouts are few beside what they are made of; what has none yet is in the currency of the books.
        paid_out = set(Payout.objects.values_list("currency", flat=True).distinct())
        return [(currency, currency) for currency in sorted(paid_out | {workspace.load().currency})]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(currency=self.value()) if self.value() else queryset


class ExactTextFilter(FieldListFilter):
    """Rows whose text is exactly this: it is typed, since there may be any number of texts."""

    template = "unfold/filters/filters_field.html"
    form_class = SearchForm

    def __init__(self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        if field_path in params:
            self.used_parameters[field_path] = params.pop(field_path)[-1].strip()

    def expected_parameters(self) -> list[str | None]:
        return [self.field_path]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        text = self.used_parameters.get(self.field_path)
        return queryset.filter(**{self.field_path: text}) if text else queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        text = self.used_parameters.get(self.field_path, "")
        form: forms.Form = self.form_class(name=self.field_path, label=f" By {self.title} ", data={self.field_path: text})
        yield {"form": form}
