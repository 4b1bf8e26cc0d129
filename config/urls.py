"""Where each path leads."""

from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from billing.api import stripe_webhook
from config import health, pages
from config.api import api, not_found

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    re_path(r"^api/", not_found),
    path("stripe/webhook", stripe_webhook.receive),
    path("thanks", pages.thanks, name="thanks"),
    path("saved", pages.saved, name="saved"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]

handler500 = pages.server_error
