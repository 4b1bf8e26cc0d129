"""Unpriced usage: the work queue of what has no known cost, by what it lacks, and what to do about each."""

from typing import Any, Final

from celery import current_app
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError as BrokerAwayError
from unfold.contrib.filters.admin import RadioFilter
from unfold.views import ChangeList

from billing.admin.check import WorkerAway
from billing.admin.rerate_dialogs import RerateGroupDialog, start
from billing.admin.unpriced_dialogs import AddRatesDialog, AssignDialog, NameDialog, add_name, add_rates, assign
from billing.admin.words import InBookCurrency, record_link
from billing.models import UnpricedGroup
from billing.queries import badges
from billing.services import unpriced
from billing.services.unpriced import CURRENCIES
from config.base.admin import Dialog, ReadOnlyAdmin, TrackedAdmin, credits_, dialog, lines, link, moment, money
from config.base.exact import CONTEXT, round_money
from pricing.queries import workspace

_MOST_COUNTED: Final = 1_000  # as on the overview


class Shows(RadioFilter):
    """Without a choice: what is still open."""

    title = "shows"
    parameter_name = "shows"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("mine", "Mine"), ("nobodys", "Nobody's yet"), ("settled", "Settled"))

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.value() == "settled":
            return queryset.filter(records=0)
        still_open = queryset.filter(records__gt=0)
        if self.value() == "mine":
            return still_open.filter(owner=request.user)
        return still_open.filter(owner=None) if self.value() == "nobodys" else still_open


class UnpricedChangeList(ChangeList):
    """The groups of a page, each with what the catalogue says of it now."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)  # type: ignore[has-type] # set by the line above
        found = unpriced.reasons(rows)
        for row in rows:
            row.reasons = found[row.pk]
        self.result_list = rows


class CountDialog(Dialog):
    pass


@admin.register(UnpricedGroup)
class UnpricedGroupAdmin(ReadOnlyAdmin, TrackedAdmin, InBookCurrency):
    list_display = (
        "model_name",
        "conditions",
        "lacks",
        "records_figure",
        "customers_figure",
        "credits_figure",
        "seen",
        "why",
        "sees_to_it",
    )
    list_filter = (Shows,)
    list_select_related = ("owner",)
    search_fields = ("model__istartswith", "provider__istartswith")
    search_help_text = "Beginning of the model or the provider"
    ordering = ("-records", "pk")
    when_empty = "The provider cost of every record is known, as far as it was counted. It is counted every five minutes."
    list_before_template = "admin/billing/unpriced_window.html"
    actions_list = ("count_now",)
    actions_detail = ("rerate_now", "add_rates", "add_name", "assign_group")
    fieldsets = (
        (None, {"fields": (("model_name", "conditions"), ("lacks", "missing_units"), ("why", "next_step"))}),
        (
            "What it comes to",
            {
                "fields": (
                    ("records_figure", "customers_figure"),
                    ("credits_figure", "worth"),
                    ("first_seen", "last_seen"),
                    ("examples", "all_records"),
                    ("counted",),
                )
            },
        ),
        ("Who sees to it", {"fields": (("owner", "note"),)}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            return super().changelist_view(request, extra_context)
        window = badges.UNPRICED_WINDOW
        lately = badges.unpriced(since=timezone.now() - window).order_by()[: _MOST_COUNTED + 1].count()
        told = f"{_MOST_COUNTED:,}+" if lately > _MOST_COUNTED else f"{lately:,}"
        shown = {"window_days": window.days, "lately": told}
        return super().changelist_view(request, shown | (extra_context or {}))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return UnpricedChangeList

    @dialog(
        "Re-rate now",
        form=RerateGroupDialog,
        permission="billing.rerate_usage",
        submit="Re-rate",
        description="Costs all unpriced records of this model again, in any tier, by the catalogue as it is now.",
        icon="price_change",
    )
    def rerate_now(self, request: HttpRequest, form: RerateGroupDialog, group: UnpricedGroup) -> str:
        return start(request, form)

    @dialog(
        "Add rates",
        form=AddRatesDialog,
        permission="pricing.add_providerrate",
        submit="Add",
        description="What the provider charges for the units that have no rate, in this tier.",
        icon="add",
    )
    def add_rates(self, request: HttpRequest, form: AddRatesDialog, group: UnpricedGroup) -> str:
        return add_rates(request, form, group)

    @dialog(
        "Name a known model",
        form=NameDialog,
        permission="pricing.change_providermodel",
        submit="Add the name",
        description="The catalogue has this model under another name: let it be found by this one too.",
        icon="label",
    )
    def add_name(self, request: HttpRequest, form: NameDialog, group: UnpricedGroup) -> str:
        return add_name(request, form, group)

    @dialog("Assign", form=AssignDialog, permission="billing.assign_unpriced", submit="Save", icon="assignment_ind")
    def assign_group(self, request: HttpRequest, form: AssignDialog, group: UnpricedGroup) -> str:
        return assign(form, group)

    @dialog(
        "Count again",
        form=CountDialog,
        permission="billing.assign_unpriced",
        submit="Count",
        description="The worker counts all unpriced records anew.",
        icon="refresh",
    )
    def count_now(self, request: HttpRequest, form: CountDialog, row: None) -> str:
        try:
            current_app.send_task("billing.tasks.count_unpriced")
        except BrokerAwayError as error:
            raise WorkerAway("The worker cannot be reached. Start it, then try again.") from error
        return "The records are being counted. Load this page again in a moment."

    @admin.display(description="model", ordering="model")
    def model_name(self, group: UnpricedGroup) -> str:
        return "/".join(part for part in (group.provider, group.model) if part) or "no model named"

    @admin.display(description="tier")
    def conditions(self, group: UnpricedGroup) -> str:
        return ", ".join([group.service_tier or "standard", *(["batch"] if group.is_batch else [])])

    @admin.display(description="has no rate for")
    def lacks(self, group: UnpricedGroup) -> str:
        if group.missing == CURRENCIES:
            return "one currency"
        return group.missing.replace(",", ", ").replace("_", " ") or "anything it used"

    @admin.display(description="units to find a rate for")
    def missing_units(self, group: UnpricedGroup) -> str:
        return ", ".join(group.units).replace("_", " ") or "-"

    @admin.display(description="records", ordering="records")
    def records_figure(self, group: UnpricedGroup) -> str:
        return f"{group.records:,}"

    @admin.display(description="customers", ordering="customers")
    def customers_figure(self, group: UnpricedGroup) -> str:
        return f"{group.customers:,}"

    @admin.display(description="credits earned", ordering="credits")
    def credits_figure(self, group: UnpricedGroup) -> SafeString:
        return credits_(group.credits)

    @admin.display(description="list value of these credits")
    def worth(self, group: Any) -> SafeString:
        return money(round_money(CONTEXT.multiply(group.credits, workspace.load().credit_value)), group.book_currency)

    @admin.display(description="first seen", ordering="first_seen_at")
    def first_seen(self, group: UnpricedGroup) -> str:
        return moment(group.first_seen_at)

    @admin.display(description="last seen", ordering="last_seen_at")
    def last_seen(self, group: UnpricedGroup) -> str:
        return moment(group.last_seen_at)

    @admin.display(description="first and last seen", ordering="last_seen_at")
    def seen(self, group: UnpricedGroup) -> SafeString:
        return lines([moment(group.first_seen_at), moment(group.last_seen_at)])

    @admin.display(description="owner")
    def sees_to_it(self, group: UnpricedGroup) -> SafeString:
        return lines([group.owner or "-", *([group.note] if group.note else [])])

    @admin.display(description="counted")
    def counted(self, group: UnpricedGroup) -> str:
        return moment(group.counted_at)

    @admin.display(description="why")
    def why(self, group: Any) -> SafeString | str:
        if not group.records:
            return "Settled: all of them have a cost."
        return lines(_reasons(group).sentences)

    @admin.display(description="what to do")
    def next_step(self, group: Any) -> str:
        if not group.records:
            return "Nothing."
        if _reasons(group).is_ready:
            return "Re-rate now."
        if not group.model:
            return "Have the app report which model served it; these records stay unpriced."
        return "Add its rates, or name the model that it is; then re-rate."

    @admin.display(description="first and last")
    def examples(self, group: UnpricedGroup) -> SafeString:
        return lines(map(record_link, dict.fromkeys((group.first_record_id, group.last_record_id))))

    @admin.display(description="all of them")
    def all_records(self, group: UnpricedGroup) -> SafeString:
        since = timezone.localtime(group.first_seen_at)
        query = f"cost_status__exact=unpriced&occurred_at_from={since:%Y-%m-%dT%H:%M}"
        return link("Show the records", "billing_usagerecord_changelist", query=f"{query}&model={group.model}" if group.model else query)


def _reasons(group: Any) -> unpriced.Reasons:
    """Return what the list has looked up already, or look it up for the page of one group."""
    if not hasattr(group, "reasons"):
        group.reasons = unpriced.reasons([group])[group.pk]
    found: unpriced.Reasons = group.reasons
    return found
