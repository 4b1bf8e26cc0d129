"""Re-ratings: what was costed again, by whom and why, how far it is, and what it changed."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, TextFilter

from billing.admin.rerate_dialogs import RerateDialog, start
from billing.admin.words import record_link
from billing.models import CostAdjustment, Rerating
from billing.services.rerating import OTHER_MODELS
from config.base.admin import KeysetAdmin, ReadOnlyAdmin, badge, credits_, dialog, lines, link, moment, money, share, table
from config.base.exact import CONTEXT, ZERO, Rounding
from config.base.export import Column, csv_response, read
from config.base.figures import on_page

STATE_COLOURS = {"finished": "success", "running": "info", "waiting": "default"}
WHY_WORDS = {
    "no_model_named": "no model was named",
    "unknown_model": "unknown model",
    "no_rate_in_tier": "no rate in the tier",
    "begins_later": "the rate begins later",
    "ended": "the rate had ended",
    "no_rate_for_unit": "no rate for a unit",
    "several_currencies": "several currencies",
    "miscounted": "the reported parts exceed their whole",
}
MOST = 20
_COLUMNS = (
    Column("Event", ("usage_record_id",), lambda number: f"evt_{number}"),
    Column("Occurred", ("occurred_at",)),
    Column("Provider", ("provider",)),
    Column("Model", ("model",)),
    Column("Adjustment", ("number",)),
    Column("Cost before", ("amount_before",)),
    Column("Cost after", ("amount_after",)),
    Column("Difference", ("amount",)),
    Column("Currency", ("currency",)),
    Column("Rates", ("lines",), lambda found: ", ".join(dict.fromkeys(line["rate_id"] for line in found))),
    Column("Recorded", ("recorded_at",)),
)
_HEADINGS = (
    "Provider",
    "Model",
    "Currency",
    "Records",
    "Adjusted",
    "Newly priced",
    "Still unpriced",
    "Before",
    "After",
    "Difference",
    "Why not",
)


class RateFilter(TextFilter):
    """Re-ratings of the records that a rate costed; the dialog of the list takes the rate over."""

    title = "rate number"
    parameter_name = "rate"

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        text = (self.value() or "").strip()
        if not text:
            return queryset
        return queryset.filter(rate_ids__contains=[int(text)]) if text.isdecimal() and len(text) < 19 else queryset.none()


@admin.register(Rerating)
class ReratingAdmin(ReadOnlyAdmin, KeysetAdmin):
    list_display = (
        "requested",
        "scope",
        "state",
        "examined_figure",
        "adjusted_figure",
        "unpriced_figure",
        "difference_figure",
        "actor",
        "reason",
    )
    list_filter = (("basis", ChoicesDropdownFilter), RateFilter)
    when_empty = "A rate was added or corrected after it was needed? Re-rate what it should have cost."
    actions_list = ("rerate",)
    fieldsets = (
        (None, {"fields": (("requested", "actor"), ("scope", "reason"), ("state", "took"))}),
        (
            "What changed",
            {
                "fields": (
                    ("before_figure", "after_figure"),
                    ("difference_figure", "priced_share"),
                    ("examined_figure", "files"),
                    ("models",),
                )
            },
        ),
        ("What did not", {"fields": (("unpriced_figure", "kept_figure"), ("why_not",))}),
        (f"Newest adjustments (at most {MOST})", {"fields": ("adjustments",)}),
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:number>/adjustments.csv", view(self.export_adjustments), name="billing_rerating_adjustments"),
            path("<int:number>/models.csv", view(self.export_models), name="billing_rerating_models"),
            *super().get_urls(),
        ]

    def export_adjustments(self, request: HttpRequest, number: int) -> HttpResponseBase:
        """Answer with every adjustment of a run."""
        row = self._row(request, number)
        rows = CostAdjustment.objects.filter(rerating=row).order_by("pk")
        headings = [column.heading for column in _COLUMNS]
        return csv_response(
            rows=read(rows, _COLUMNS), headings=headings, about=_about(request, row), filename=f"rerating-{row.pk}-adjustments.csv"
        )

    def export_models(self, request: HttpRequest, number: int) -> HttpResponseBase:
        """Answer with the figures of each model."""
        row = self._row(request, number)
        return csv_response(
            rows=list(_by_model(row)), headings=_HEADINGS, about=_about(request, row), filename=f"rerating-{row.pk}-models.csv"
        )

    def _row(self, request: HttpRequest, number: int) -> Rerating:
        row = Rerating.objects.filter(pk=number).first()
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        return row

    @dialog(
        "Re-rate…",
        form=RerateDialog,
        permission="billing.rerate_usage",
        submit="Re-rate",
        description="Costs usage again by the catalogue as it is now. Records stay as they are; what changed is added as adjustments.",
        icon="price_change",
    )
    def rerate(self, request: HttpRequest, form: RerateDialog, row: None) -> str:
        return start(request, form)

    @admin.display(description="requested")
    def requested(self, row: Rerating) -> str:
        return moment(row.requested_at)

    @admin.display(description="scope")
    def scope(self, row: Rerating) -> SafeString | str:
        named = "/".join(part for part in (row.provider, row.model) if part)
        words = f"{row.get_basis_display()}{f' of {named}' if named else ''}, {moment(row.since)[:16]} to {moment(row.until)[:16]}"
        rates = [link(f"Rate {number}", "pricing_providerrate_change", number) for number in row.rate_ids]
        return lines([words, *rates]) if rates else words

    @admin.display(description="state")
    def state(self, row: Rerating) -> SafeString:
        if row.finished_at:
            return badge("finished", "Finished", STATE_COLOURS)
        if not row.started_at:
            return badge("waiting", "Waiting", STATE_COLOURS)
        done = Fraction((row.position_at - row.since) / (row.until - row.since))
        return badge("running", f"Running, {on_page(done, 0, rounding=Rounding.DOWN)}", STATE_COLOURS)

    @admin.display(description="took")
    def took(self, row: Rerating) -> str:
        return f"{(row.finished_at - row.started_at).total_seconds():.0f} s" if row.finished_at and row.started_at else "-"

    @admin.display(description="records looked at")
    def examined_figure(self, row: Rerating) -> str:
        return f"{row.examined:,}"

    @admin.display(description="adjusted")
    def adjusted_figure(self, row: Rerating) -> str:
        return f"{row.adjusted:,}"

    @admin.display(description="still unpriced")
    def unpriced_figure(self, row: Rerating) -> str:
        return f"{row.still_unpriced:,}"

    @admin.display(description="kept their cost, without a rate now")
    def kept_figure(self, row: Rerating) -> str:
        return f"{row.kept:,}"

    @admin.display(description="known cost before")
    def before_figure(self, row: Rerating) -> SafeString:
        return lines(money(before, currency) for currency, (before, _) in _totals(row).items())

    @admin.display(description="known cost after")
    def after_figure(self, row: Rerating) -> SafeString:
        return lines(money(after, currency) for currency, (_, after) in _totals(row).items())

    @admin.display(description="difference")
    def difference_figure(self, row: Rerating) -> SafeString:
        return lines(money(CONTEXT.subtract(after, before), currency) for currency, (before, after) in _totals(row).items())

    @admin.display(description="now with a known cost")
    def priced_share(self, row: Rerating) -> str:
        known = row.examined - row.still_unpriced
        if not row.examined:
            return "-"
        return f"{share(Fraction(known, row.examined))} ({known:,} of {row.examined:,}), {row.newly_priced:,} of them newly"

    @admin.display(description="as a file")
    def files(self, row: Rerating) -> SafeString:
        return format_html(
            '<a class="md-link" href="{}">By model</a> · <a class="md-link" href="{}">Every adjustment</a>',
            reverse("admin:billing_rerating_models", args=[row.pk]),
            reverse("admin:billing_rerating_adjustments", args=[row.pk]),
        )

    @admin.display(description=f"by model (the {MOST} largest; the file has all)")
    def models(self, row: Rerating) -> SafeString:
        rows = [
            (_name(provider, model), *(f"{count:,}" for count in counts), credits_(before), credits_(after), money(more, currency))
            for provider, model, currency, *counts, before, after, more, _ in islice(_by_model(row), MOST)
        ]
        headings = ("Model", "Records", "Adjusted", "Newly", "Unpriced", "Before", "After", "More")
        return table(headings, rows, figures=range(1, len(headings)), empty="No record was in its scope.")

    @admin.display(description="why")
    def why_not(self, row: Rerating) -> SafeString:
        gaps = [
            (count, _name(found["provider"], found["model"]), WHY_WORDS[why], what)
            for found in row.by_model
            for column, what in (("why", "Unpriced"), ("why_kept", "Kept its cost"))
            for why, count in found[column].items()
        ]
        rows = [(*words, f"{count:,}") for count, *words in sorted(gaps, key=lambda gap: -gap[0])[:MOST]]
        return table(("Model", "Why", "So it", "Records"), rows, figures=(3,), empty="Every record has a rate.")

    @admin.display(description="adjustments")
    def adjustments(self, row: Rerating) -> SafeString:
        rows = [
            (
                record_link(found.usage_record_id),
                _name(found.provider, found.model),
                money(found.amount_before, found.currency),
                money(found.amount_after, found.currency),
                money(found.amount, found.currency),
            )
            for found in row.adjustments.order_by("-pk")[:MOST]
        ]
        return table(("Event", "Model", "Before", "After", "Difference"), rows, figures=(2, 3, 4), empty="Nothing was adjusted.")


def _name(provider: str, model: str) -> str:
    return "/".join(part for part in (provider, model) if part) or "no model named"


def _totals(row: Rerating) -> dict[str, tuple[Decimal, Decimal]]:
    """Return (before, after) by currency."""
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    for found in row.by_model:
        before, after = totals.get(found["currency"], (ZERO, ZERO))
        totals[found["currency"]] = (CONTEXT.add(before, Decimal(found["before"])), CONTEXT.add(after, Decimal(found["after"])))
    return totals


def _by_model(row: Rerating) -> Iterator[tuple[Any, ...]]:
    """Yield the figures of each model as `_HEADINGS` name them, the largest difference first; what did not fit comes last."""
    figures = [(found, Decimal(found["before"]), Decimal(found["after"])) for found in row.by_model]
    figures.sort(key=lambda f: (f[0]["model"] == OTHER_MODELS, -abs(f[2] - f[1]), f[0]["provider"], f[0]["model"]))
    for found, before, after in figures:
        counts = (found["records"], found["adjusted"], found["newly_priced"], found["unpriced"])
        why = ", ".join(f"{WHY_WORDS[why]}: {count}" for why, count in found["why"].items())
        yield found["provider"], found["model"], found["currency"], *counts, before, after, CONTEXT.subtract(after, before), why


def _about(request: HttpRequest, row: Rerating) -> dict[str, str]:
    return {
        "File": str(row),
        "Reason": row.reason,
        "Requested by": row.actor,
        "Drawn at": timezone.localtime().isoformat(timespec="seconds"),
        "Drawn by": request.user.get_username(),
        "Time zone": timezone.get_current_timezone_name(),
    }
