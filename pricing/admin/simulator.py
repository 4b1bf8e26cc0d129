"""The simulator: how a provider's cost turns into credits, live as one types. The address holds every assumption."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from config.base.admin import places
from config.base.admin.records import refuse_writing
from pricing import price_book
from pricing.admin.simulator_form import TYPED_PRICES, PasteForm, SimulatorForm, as_typed, at_first
from pricing.admin.simulator_outcome import outcome
from pricing.queries import prices_as_of, simulator, workspace

TITLE: Final = "Simulator"
PERMISSIONS: Final = ("pricing.view_priceversion", "pricing.view_providerrate")
PUBLISH: Final = "pricing.publish_price"
_LONGEST_QUERY: Final = 10_000
_SUGGESTED_RULES: Final = 300


class Simulator:
    """The page, and the door for a pasted answer; neither writes anything."""

    def __init__(self, model_admin: "ModelAdmin[Any]") -> None:
        self.model_admin = model_admin

    def urls(self) -> list[URLPattern]:
        guarded = self.model_admin.admin_site.admin_view
        return [
            path("simulator/", guarded(self.page), name="pricing_simulator"),
            path("simulator/paste/", guarded(self.paste), name="pricing_simulator_paste"),
        ]

    def page(self, request: HttpRequest) -> HttpResponse:
        """Show the form with its outcome; the page itself asks, with each key, for what changes alone."""
        refuse_writing(request)
        _let_in(request)
        typed = _typed(request.GET)
        if request.headers.get("HX-Request") != "true":
            return self._show(request, typed, PasteForm())
        response = render(request, "admin/pricing/simulator_live.html", {"is_live": True, **_answer(request, typed)})
        response.headers["HX-Replace-Url"] = _address(typed)
        return response

    def paste(self, request: HttpRequest) -> HttpResponse:
        """Read a provider's answer and lead to the simulation of its usage, with the other assumptions as they were."""
        _let_in(request)
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:pricing_simulator"))
        typed = _typed(QueryDict(request.POST.get("asked", "")[:_LONGEST_QUERY]))
        form = PasteForm(request.POST)
        if not form.is_valid() or form.reading is None:
            return self._show(request, typed, form)
        usage, notes = form.reading
        typed |= as_typed(usage)
        catalogue, (provider, _, _) = price_book.current().catalogue, typed["model"].partition("/")
        if found := catalogue.find(provider, usage.model) or catalogue.find("", usage.model):
            typed["model"] = f"{found.provider}/{found.name}"
        elif usage.model:
            notes += (f"“{usage.model[:80]}” is not the name of one model alone: choose the model yourself.",)
        for note in notes:
            messages.info(request, note)
        return HttpResponseRedirect(_address(typed))

    def _show(self, request: HttpRequest, typed: dict[str, str], paste: PasteForm) -> HttpResponse:
        context = {
            **self.model_admin.admin_site.each_context(request),
            "title": TITLE,
            "media": self.model_admin.media,
            "paste": paste,
            "models": simulator.priced_models(at=timezone.now()),
            "rules": prices_as_of.known_rules(at_most=_SUGGESTED_RULES),
            **_answer(request, typed),
        }
        return render(request, "admin/pricing/simulator.html", context)


def _let_in(request: HttpRequest) -> None:
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied


def _typed(given: QueryDict) -> dict[str, str]:
    """Return the assumptions as typed, else as they are at first; no text of the database can hold a NUL."""
    first = at_first(workspace.load())
    return {name: given.get(name, first.get(name, "")).replace("\0", "") for name in SimulatorForm.base_fields}


def _address(typed: Mapping[str, str]) -> str:
    return f"{reverse('admin:pricing_simulator')}?{_query(typed)}"


def _query(typed: Mapping[str, str]) -> str:
    """Write the assumptions as a query; a field that was emptied says so, else its first figure would be back."""
    first = at_first(workspace.load())
    return urlencode({name: text for name, text in typed.items() if text or name in first})


def _answer(request: HttpRequest, typed: dict[str, str]) -> dict[str, Any]:
    form, now = SimulatorForm(typed), timezone.now()
    form.fields["credit_value"].label = f"Credit value, {workspace.load().currency}"
    form.is_valid()
    told = outcome(form, now=now, may_propose=request.user.has_perm(PUBLISH))
    return {
        "has_rates": bool(told.cost) or simulator.has_rates(at=now),
        "imports": places.list_of(request, "pricing.rateimport"),
        "form": form,
        "outcome": told,
        "query": _query(typed),
        "model_field": form["model"],
        "price_hints": [(form[name], told.hints.get(name, "")) for name in TYPED_PRICES],
        "usage_fields": [form[name] for name in (*form.USAGE, *form.ACTION)],
        "more_fields": [form[name] for name in form.MORE],
        "pricing_fields": [form[name] for name in form.PRICING],
        "are_prices_open": any(typed[name] or name in form.errors for name in TYPED_PRICES),
        "is_more_open": any(typed[name] or name in form.errors for name in form.MORE),
    }
