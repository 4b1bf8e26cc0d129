"""Prices as of a date: one page, and the same rows as a file. The address holds the whole question."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from config.base.admin import moment, places
from config.base.admin.records import refuse_writing
from config.base.export import csv_response, xlsx_response
from pricing.admin.as_of_form import AsOfForm, presets
from pricing.queries import prices_as_of
from pricing.queries.prices_as_of import Answer, PriceAsOf
from pricing.queries.timeline import Stop

TITLE: Final = "Prices as of a date"
NO_PRICE: Final = "No price in force"
_ROWS_A_PAGE: Final = 200
_FILES: Final = {"csv": csv_response, "xlsx": xlsx_response}
_HEADINGS: Final = (
    *("Event type", "Segment", "Segment key", "Rule", "Version", "Price", "Valid from", "Valid to"),
    *("Published by", "Approved by", "Published at", "Reason"),
)
_COMPARED_HEADINGS: Final = ("Version compared with", "Price compared with", "Differs")


class PricesAsOf:
    """The two views; who may view price versions may open them."""

    def __init__(self, model_admin: "ModelAdmin[Any]") -> None:
        self.model_admin = model_admin

    def urls(self) -> list[URLPattern]:
        guarded = self.model_admin.admin_site.admin_view
        return [
            path("as-of/", guarded(self.page), name="pricing_prices_as_of"),
            path("as-of/<str:kind>/", guarded(self.export), name="pricing_prices_as_of_export"),
        ]

    def page(self, request: HttpRequest) -> HttpResponseBase:
        """Show the rows; a question that cannot be read shows what is wrong with it and no rows."""
        self._let_in(request)
        now = timezone.now()
        form = AsOfForm(_typed(request))
        context = {
            **self.model_admin.admin_site.each_context(request),
            "title": TITLE,
            "media": self.model_admin.media,
            "form": form,
            "presets": [(words, day, _query(request, at=day), day == request.GET.get("at", "")) for words, day in presets(now)],
            "only": {"may_open_rules": places.may_list(request, "pricing.pricerule")},
            "is_narrowed": any(request.GET.get(name) for name in ("event", "rule")),
            "query_of_all": _query(request, event="", rule=""),
        }
        if form.is_valid():
            context |= self._found(request, form, now)
        return render(request, "admin/pricing/prices_as_of.html", context)

    def _found(self, request: HttpRequest, form: AsOfForm, now: datetime) -> dict[str, Any]:
        asked = _asked(form, now)
        answer = prices_as_of.prices_as_of(**asked)
        # The files are asked for this very moment, else "now" would be another one by then.
        pinned = _query(request, at=asked["at"].astimezone(UTC).isoformat().replace("+00:00", "Z"))
        return {
            "answer": answer,
            "rows": Paginator(answer.rows, _ROWS_A_PAGE).get_page(request.GET.get("page")),
            "query_of_page": _query(request),
            "at": asked["at"],
            "other": asked["other"],
            "files": [(kind.upper(), reverse("admin:pricing_prices_as_of_export", args=[kind]) + pinned) for kind in _FILES],
            "pinned": pinned,
        }

    def export(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """Answer with all rows that the page would show for this question, as a file."""
        self._let_in(request)
        form = AsOfForm(_typed(request))
        if kind not in _FILES or not form.is_valid():
            # The page says what is wrong with the question.
            return HttpResponseRedirect(reverse("admin:pricing_prices_as_of") + _query(request))
        asked = _asked(form, timezone.now())
        filename = f"prices-as-of-{timezone.localtime(asked['at']):%Y%m%d-%H%M%S}.{kind}"
        headings = (*_HEADINGS, *_COMPARED_HEADINGS) if asked["other"] else _HEADINGS
        rows = _cells(prices_as_of.prices_as_of(**asked), is_compared=asked["other"] is not None)
        return _FILES[kind](rows=rows, headings=headings, about=_about(request, asked), filename=filename)

    def _let_in(self, request: HttpRequest) -> None:
        refuse_writing(request)
        if not self.model_admin.has_view_permission(request):
            raise PermissionDenied


def _typed(request: HttpRequest) -> dict[str, str]:
    """Return the question as typed; no text of the database can hold a NUL."""
    return {name: request.GET.get(name, "").replace("\0", "") for name in AsOfForm.base_fields}


def _asked(form: AsOfForm, now: datetime) -> dict[str, Any]:
    typed = form.cleaned_data
    return {"at": typed["at"] or now, "other": typed["compare"], "event": typed["event"], "rule": typed["rule"]}


def _query(request: HttpRequest, **changes: str) -> str:
    """Return the question as a query string, with some of it replaced and what is empty left out."""
    asked = {name: text for name, text in (_typed(request) | changes).items() if text}
    return f"?{urlencode(asked)}"


def _about(request: HttpRequest, asked: dict[str, Any]) -> dict[str, str]:
    about = {
        "File": TITLE,
        "Drawn at": timezone.localtime().isoformat(timespec="seconds"),
        "Drawn by": request.user.get_username(),
        "Time zone": timezone.get_current_timezone_name(),
        "As of": timezone.localtime(asked["at"]).isoformat(),
    }
    if asked["other"]:
        about["Compared with"] = timezone.localtime(asked["other"]).isoformat()
    return about | {f"Filter: {words}": asked[name] for name, words in (("event", "event type"), ("rule", "rule")) if asked[name]}


def _cells(answer: Answer, *, is_compared: bool) -> Iterator[list[Any]]:
    for row in answer.rows:
        cells = [row.event_type, str(row.segment.label), row.segment_key, row.rule, *_decided(row)]
        if is_compared:
            other = row.compared
            cells += [other.number if other else None, other.sentence if other else NO_PRICE, "yes" if row.differs else "no"]
        yield cells


def _decided(row: PriceAsOf) -> list[Any]:
    stop = row.stop
    if stop is None:
        return [None, NO_PRICE, None, None, "", "", None, _why_none(row)]
    return [stop.number, stop.sentence, stop.effective_from, stop.effective_to, *_who(stop), stop.created_at, stop.reason]


def _who(stop: Stop) -> tuple[str, str]:
    return stop.created_by or "the system", stop.approved_by


def _why_none(row: PriceAsOf) -> str:
    """Say what the rule's versions did where none was in force."""
    parts = [f"the last one ended {moment(row.ended_at)}"] if row.ended_at else []
    parts += [f"the {'next' if row.ended_at else 'first'} one starts {moment(row.starts_at)}"] if row.starts_at else []
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}" if text else "The rule has no version"
