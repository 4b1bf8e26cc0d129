"""The time zone in which people see times and type dates: the workspace's."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from pricing.queries import workspace


def workspace_time_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: let every page of the admin speak the workspace's time. The API has offsets in its times instead."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/admin/"):
            return get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(workspace.load().time_zone)):
            return get_response(request)

    return middleware
