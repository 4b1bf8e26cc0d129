"""The command palette (Ctrl + K): pages, customers, events, top-ups, price rules and projects, found by what people have at hand.

It finds nothing that the person may not open, reads no table to its end, and shows at most a handful of each kind.
Lists of models are found by Unfold itself; here are the pages of the sidebar under their own titles, and the rows.
"""

from collections.abc import Iterator
from typing import Any

from django.db.models import Model, Q
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from unfold.dataclasses import SearchResult

from billing.models import Customer, Project, TopUp, UsageRecord
from billing.queries import lookup
from config import navigation
from config.base.admin import places
from pricing.models import EventType, PriceRule

AT_MOST = 8


def search(request: HttpRequest, _: str) -> list[SearchResult]:
    """Return what the words in the palette may mean; Unfold hands them over in lower case, ids need theirs."""
    text = request.GET.get("s", "").strip().replace("\0", "")
    if not text:
        return []
    return [
        *_pages(request, text),
        *_customers(request, text),
        *_events(request, text),
        *_topups(request, text),
        *_prices(request, text),
        *_projects(request, text),
    ]


def _pages(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    for group, links in navigation.TASKS:
        for link in links:
            # Lists are found by Unfold.
            is_named = isinstance(link, navigation.PageLink) and text.lower() in link.title.lower()
            if is_named and (target := navigation.address(request, link)):
                yield SearchResult(link.title, group or "Meterdesk", target, link.icon)


def _customers(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if _may_view(request, Customer):
        for customer in lookup.customers_by(text, at_most=AT_MOST):
            where = f"Customer {customer.external_id} of {customer.project}, {customer.environment}"
            yield from _row(customer, str(customer), where, "group")


def _events(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if not _may_view(request, UsageRecord):
        return
    if (record := lookup.event(text)) is not None:
        yield from _row(record, str(record), f"Usage record, {record.event_type}", "monitoring")
    elif text.startswith("req_"):
        for record in lookup.events_of_request(text, now=timezone.now(), at_most=AT_MOST):
            yield from _row(record, str(record), f"Usage record of this request, {record.event_type}", "monitoring")


def _topups(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if _may_view(request, TopUp) and (topup := lookup.topup(text)) is not None:
        yield from _row(topup, f"topup_{topup.pk}", f"Top-up of {topup.wallet.customer}, {topup.get_status_display().lower()}", "add_card")


def _prices(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if _may_view(request, PriceRule):
        rules = PriceRule.objects.select_related("event_type")
        for rule in rules.filter(Q(event_type__name__istartswith=text) | Q(segment_key__istartswith=text))[:AT_MOST]:
            yield from _row(rule, str(rule), f"Price rule, {rule.get_segment_display().lower()}", "sell")
    if _may_view(request, EventType):
        for event_type in EventType.objects.filter(Q(name__istartswith=text) | Q(label__istartswith=text))[:AT_MOST]:
            yield from _row(event_type, event_type.name, f"Event type, {event_type.label}", "category")


def _projects(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if _may_view(request, Project):
        for project in Project.objects.filter(Q(key__istartswith=text) | Q(name__istartswith=text))[:AT_MOST]:
            yield from _row(project, project.name, f"Project {project.key}", "deployed_code")


def _may_view(request: HttpRequest, model: type[Model]) -> bool:
    return places.may_list(request, model._meta.label_lower)


def _row(row: Any, title: str, description: str, icon: str) -> Iterator[SearchResult]:
    options = row._meta
    try:
        yield SearchResult(title, description, reverse(f"admin:{options.app_label}_{options.model_name}_change", args=(row.pk,)), icon)
    except NoReverseMatch:
        return
