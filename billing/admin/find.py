"""Finding entries and records by what people hold in their hands: an event id, a number, a request id."""

from datetime import timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing.models import LedgerEntry
from billing.queries.lookup import EVENT_PREFIX

# A request id has no index of its own: the time index bounds how far back one is sought, unless dates are chosen.
REQUEST_WINDOW: Final = timedelta(days=31)
_MAX_ID: Final = 2**63 - 1


def number_in(text: str) -> int | None:
    """Return the number of `evt_12` or `12`."""
    digits = text.removeprefix(EVENT_PREFIX)
    return int(digits) if digits.isdecimal() and digits.isascii() and int(digits) <= _MAX_ID else None


def entries(queryset: "QuerySet[Any]", text: str, *, request: HttpRequest) -> "QuerySet[Any]":
    """Return the entries of a transaction or event, with what reverses them; else those of a request."""
    if (number := number_in(text)) is None:
        return of_request(queryset, text, time="recorded_at", request=request)
    ids = list(LedgerEntry.objects.filter(transaction_id=number).values_list("pk", flat=True))
    return queryset.filter(Q(pk__in=ids) | Q(reverses_id__in=ids))


def of_request(queryset: "QuerySet[Any]", text: str, *, time: str, request: HttpRequest) -> "QuerySet[Any]":
    """Return the rows of a request, of the last month unless dates are chosen."""
    if not any(request.GET.get(f"{time}_{side}") for side in ("from", "to")):
        queryset = queryset.filter(**{f"{time}__gte": timezone.now() - REQUEST_WINDOW})
    return queryset.filter(request_id=text)
