"""Credit packs: what is sold, and for how much in which currency. People type prices as they read them; the rest is checked."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import RadioFilter
from unfold.widgets import UnfoldAdminTextInputWidget

from billing import minor_units
from billing.admin.words import charged
from billing.minor_units import UnchargeableAmount, UnknownCurrency
from billing.models import CreditPack, PackPrice
from config.base.admin import Moment, ReasonForm, TrackedAdmin, badge, credits_, lines, link, moment, money, table
from config.base.admin.history import REASON
from config.base.exact import CREDIT_DIGITS, CREDIT_PLACES, CREDIT_STEP, MONEY_DIGITS, MONEY_PLACES
from pricing.admin.fields import PlainDecimal
from pricing.queries import workspace

PACK_COLOURS = {"on_sale": "success", "later": "info", "ended": "default", "unpriced": "warning"}
_MOST = 50


def _number(**options: Any) -> PlainDecimal:
    return PlainDecimal(**{"widget": UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})} | options)


def _credits(**options: Any) -> PlainDecimal:
    return _number(**{"max_digits": CREDIT_DIGITS, "decimal_places": CREDIT_PLACES} | options)


class PackForm(ReasonForm):
    credits = _credits(min_value=CREDIT_STEP, help_text="Bought credits.")
    bonus_credits = _credits(min_value=0, initial=0, help_text="Given on top, as a promotional lot. 0: none.")
    active_from = Moment(label="On sale from", initial=timezone.now)
    active_until = Moment(label="Until", required=False, help_text="Not on sale any more. Empty: until further notice.")

    def clean(self) -> Any:
        given = super().clean() or self.cleaned_data
        starts, ends = given.get("active_from"), given.get("active_until")
        if starts and ends and ends <= starts:
            self.add_error("active_until", "The sale must end after it starts.")
        for name in ("expires_after_days", "bonus_expires_after_days"):
            if given.get(name) == 0:
                self.add_error(name, "Credits last a day at least. Empty: for ever.")
        return given


class PriceForm(forms.ModelForm):  # type: ignore[type-arg] # Django's own class cannot be subscripted
    currency = forms.CharField(
        max_length=3, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "USD", "autocapitalize": "characters"})
    )
    price = _number(max_digits=14, help_text="As the buyer reads it: 9.99.")
    book_value = _number(
        label="Worth in the books",
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        required=False,
        help_text="In the book currency. Empty where that is the price's own.",
    )

    class Meta:
        model = PackPrice
        fields = ("currency", "book_value")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["price"] = minor_units.to_major(self.instance.amount_minor, self.instance.currency)

    def clean_currency(self) -> str:
        currency: str = self.cleaned_data["currency"].upper()
        try:
            minor_units.exponent(currency)
        except UnknownCurrency as error:
            raise ValidationError(f"{error}.") from error
        return currency

    def clean(self) -> Any:
        given = super().clean() or self.cleaned_data
        currency, price = given.get("currency"), given.get("price")
        if not currency or price is None:
            return given
        try:
            self.instance.amount_minor = minor_units.to_charge(price, currency)
        except UnchargeableAmount as error:
            self.add_error("price", f"A price in {currency} {error}.")
            return given
        given["book_value"] = self._worth(currency, price, given.get("book_value"))
        return given

    def _worth(self, currency: str, price: Decimal, typed: Decimal | None) -> Decimal | None:
        """Return what a sale is worth in the books; in their own currency nobody decides it."""
        books = workspace.load().currency
        if currency == books:
            if typed not in {None, price} and not self._is_old_worth(typed):
                self.add_error("book_value", f"A sale in {books} is worth its price: leave this empty.")
            return price
        if not typed or typed < 0:
            self.add_error("book_value", f"Say what a sale in {currency} is worth in {books}.")
        return typed

    def _is_old_worth(self, typed: Decimal | None) -> bool:
        """Say whether this is what stood there already, when only the price was changed."""
        return bool(self.instance.pk) and "book_value" not in self.changed_data and typed == self.initial.get("book_value")


class PricesInline(TabularInline):
    model = PackPrice
    form = PriceForm
    fields = ("currency", "price", "book_value")
    extra = 1
    tab = False
    verbose_name = "price"
    verbose_name_plural = "prices, one per currency"


class OnSale(RadioFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("on_sale", "On sale"), ("later", "Later"), ("ended", "Ended"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        now = timezone.now()
        states = {
            "on_sale": Q(active_from__lte=now) & (Q(active_until__isnull=True) | Q(active_until__gt=now)),
            "later": Q(active_from__gt=now),
            "ended": Q(active_until__lte=now),
        }
        return queryset.filter(states[self.value()]) if self.value() in states else queryset


@admin.register(CreditPack)
class CreditPackAdmin(TrackedAdmin):
    form = PackForm
    inlines = (PricesInline,)
    list_display = ("key", "name", "credits_figure", "bonus_figure", "prices", "lasts", "state")
    list_filter = (OnSale,)
    search_fields = ("key__startswith", "name__istartswith")
    search_help_text = "Beginning of the key or name"
    when_empty = "Packs are what customers buy by POST /topups. Add one, with a price per currency."

    def get_queryset(self, request: HttpRequest) -> "QuerySet[CreditPack]":
        rows: QuerySet[CreditPack] = super().get_queryset(request)
        return rows.prefetch_related("prices")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        sold: list[Any] = [
            (None, {"fields": (("key", "name"), ("credits", "bonus_credits"), ("expires_after_days", "bonus_expires_after_days"))}),
            ("Sale", {"fields": (("active_from", "active_until"),)}),
        ]
        if obj is not None:
            sold.append(("So far", {"fields": ("sales", "earlier_prices")}))
        return self.with_reason(sold, request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = list(super().get_readonly_fields(request, obj))
        # Apps ask for a pack by its key.
        return [*fields, "key", "sales", "earlier_prices"] if obj else fields

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        """Keep with each price why it was changed."""
        reason = form.cleaned_data.get(REASON) or "Created"
        for price in formset.save(commit=False):
            price._change_reason = reason
            price.save()
        for price in formset.deleted_objects:
            price._change_reason = reason
            price.delete()

    @admin.display(description="credits")
    def credits_figure(self, pack: CreditPack) -> SafeString:
        return credits_(pack.credits)

    @admin.display(description="bonus")
    def bonus_figure(self, pack: CreditPack) -> SafeString:
        return credits_(pack.bonus_credits or None)

    @admin.display(description="prices")
    def prices(self, pack: CreditPack) -> SafeString | str:
        return lines(charged(price.amount_minor, price.currency) for price in pack.prices.all()) or "-"

    @admin.display(description="credits last")
    def lasts(self, pack: CreditPack) -> str:
        return f"{pack.expires_after_days} days" if pack.expires_after_days else "for ever"

    @admin.display(description="state")
    def state(self, pack: CreditPack) -> SafeString:
        return badge(*_state(pack), PACK_COLOURS)

    @admin.display(description="top-ups")
    def sales(self, pack: CreditPack) -> SafeString:
        return link("Top-ups of this pack", "billing_topup_changelist", query=f"pack__id__exact={pack.pk}")

    @admin.display(description="prices, as they were and are")
    def earlier_prices(self, pack: CreditPack) -> SafeString:
        books = workspace.load().currency
        rows = [
            (
                moment(price.history_date),
                charged(price.amount_minor, price.currency),
                money(price.book_value, books),
                {"+": "Added", "~": "Changed", "-": "Removed"}[price.history_type],
                price.history_user or "The system",
                price.history_change_reason or "-",
            )
            for price in PackPrice.history.filter(pack_id=pack.pk).select_related("history_user").order_by("-history_date")[:_MOST]
        ]
        headers = ("When", "Price", "Worth in the books", "What", "Who", "Reason")
        return table(headers, rows, figures=(1, 2), empty="It has no price yet.")


def _state(pack: CreditPack) -> tuple[str, str]:
    now = timezone.now()
    if pack.active_until and pack.active_until <= now:
        return "ended", "Ended"
    if pack.active_from > now:
        return "later", f"From {timezone.localtime(pack.active_from):%Y-%m-%d}"
    return ("on_sale", "On sale") if pack.prices.all() else ("unpriced", "No price")


def offer(pack: CreditPack, price: PackPrice) -> str:
    """Write what is sold in a line of text: 3,000 credits and 500 bonus credits, 25.50 USD."""
    bonus = f" and {pack.bonus_credits.normalize():,f} bonus credits" if pack.bonus_credits else ""
    return f"{pack.name}{bonus}, {minor_units.to_major(price.amount_minor, price.currency):,f} {price.currency}"
