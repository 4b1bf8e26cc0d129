"""What Unfold shows around every page: the site's name and colours, the navigation by task, badges, the palette.

The sidebar is a table of tasks. A link is shown to whoever may open its page, and only where that page exists, so the
table may name a page that another release brings. Hiding a link protects nothing: each page checks for itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Badge:
    """A figure beside a link that asks for attention; `count` is a function of `billing.queries.badges` or `reports.queries.badges`.

    With `permission` it is for whoever has it: the list of the others may hold less than is counted.
    """

    count: str
    tells: str
    variant: str = "warning"
    permission: str = ""


@dataclass(frozen=True, slots=True)
class ListLink:
    """A link to the list of a model, under the name that its pages have, for whoever may view that model."""

    title: str
    icon: str
    model: str
    badge: Badge | None = None


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link to a page of its own, by its name in the admin, for whoever has `permission`."""

    title: str
    icon: str
    page: str
    permission: str = ""
    badge: Badge | None = None


Link = ListLink | PageLink

TASKS: Final[tuple[tuple[str, tuple[Link, ...]], ...]] = (
    ("", (PageLink("Overview", "speed", "index"),)),
    (
        "Alerts",
        (
            ListLink(
                "Alerts",
                "notifications",
                "billing.alert",
                Badge("open_alerts", "Alerts that nobody has seen to", "danger", permission="billing.view_wallet"),
            ),
            PageLink(
                "Spikes",
                "show_chart",
                "billing_spikes",
                "billing.view_alert",
                Badge("open_spikes", "Spikes that nobody has seen to", "danger"),
            ),
            ListLink("Launches", "rocket_launch", "billing.launch"),
            ListLink("Alert channels", "campaign", "billing.alertchannel"),
        ),
    ),
    (
        "Customers & wallets",
        (
            ListLink("Customers", "group", "billing.customer"),
            ListLink("Wallets", "account_balance_wallet", "billing.wallet", Badge("low_wallets", "Wallets below their threshold")),
            ListLink("Holds", "lock_clock", "billing.hold"),
            ListLink(
                "Requests", "how_to_reg", "billing.movementrequest", Badge("waiting_movements", "Movements that wait for a second person")
            ),
        ),
    ),
    (
        "Money in & out",
        (
            ListLink(
                "Top-ups",
                "add_card",
                "billing.topup",
                Badge("unapplied_payments", "Payments that were not credited and wait for a decision", "danger"),
            ),
            ListLink(
                "Refunds of top-ups",
                "currency_exchange",
                "billing.topuprefund",
                Badge("waiting_refunds", "Refunds that wait for a second person"),
            ),
            ListLink("Disputes", "gavel", "billing.dispute", Badge("open_disputes", "Disputes that are not decided", "danger")),
            ListLink("Credit packs", "inventory_2", "billing.creditpack"),
            PageLink("Reconciliation", "balance", "reports_reconciliation", "reports.view_reconciliation"),
            ListLink(
                "Breaks with Stripe",
                "difference",
                "reports.reconciliationbreak",
                Badge("open_breaks", "Breaks with Stripe that nobody has explained", "danger"),
            ),
            ListLink(
                "Payouts",
                "account_balance",
                "billing.payout",
                Badge("unexplained_payouts", "Payouts that their movements do not add up to"),
            ),
            ListLink("Balance transactions", "swap_vert", "billing.balancetransaction"),
            ListLink("Platform fees", "percent", "billing.platformfee"),
            ListLink(
                "Auto top-ups",
                "autorenew",
                "billing.autotopup",
                Badge("stopped_auto_topups", "Auto top-ups that stopped by themselves", "danger"),
            ),
            ListLink(
                "Stripe events",
                "webhook",
                "billing.stripeevent",
                Badge("dead_stripe_events", "Events of Stripe's that failed too often", "danger"),
            ),
        ),
    ),
    (
        "Ledger",
        (
            ListLink("Ledger entries", "receipt_long", "billing.ledgerentry"),
            ListLink("Payments", "payments", "billing.payment"),
            ListLink("Lots", "stacks", "billing.lot"),
            PageLink(
                "Ledger check",
                "verified",
                "billing_ledger_check",
                "billing.run_ledger_check",
                Badge("broken_rules", "Broken rules of the ledger", "danger"),
            ),
            ListLink("Seals", "lock", "billing.seal"),
        ),
    ),
    (
        "Usage",
        (
            ListLink(
                "Usage records",
                "monitoring",
                "billing.usagerecord",
                Badge("unpriced_records", "Records of the last 30 days without a known provider cost"),
            ),
            ListLink("Unpriced usage", "rule", "billing.unpricedgroup"),
            ListLink("Re-ratings", "price_change", "billing.rerating"),
            ListLink("Pipeline runs", "account_tree", "billing.pipelinerun"),
            ListLink("Agent jobs", "smart_toy", "billing.agentjob"),
        ),
    ),
    (
        "Budgets",
        (
            ListLink("Budgets", "savings", "billing.budget"),
            ListLink(
                "Budget exceptions",
                "more_time",
                "billing.budgetexception",
                Badge("waiting_exceptions", "Exceptions that wait for a second person"),
            ),
        ),
    ),
    (
        "Prices",
        (
            ListLink("Event types", "category", "pricing.eventtype"),
            ListLink("Price rules", "sell", "pricing.pricerule"),
            ListLink("Proposals", "approval", "pricing.proposal", Badge("open_proposals", "Prices that wait for a decision")),
            PageLink("Prices as of a date", "event_available", "pricing_prices_as_of", "pricing.view_priceversion"),
            PageLink("Simulator", "calculate", "pricing_simulator", "pricing.view_providerrate"),
            ListLink("Price versions", "history", "pricing.priceversion"),
            ListLink("Provider models", "neurology", "pricing.providermodel"),
            ListLink("Provider rates", "request_quote", "pricing.providerrate"),
            ListLink(
                "Rate imports", "difference", "pricing.rateimport", Badge("pending_rate_imports", "Rate imports with undecided lines")
            ),
            ListLink("Workspace", "tune", "pricing.workspace"),
        ),
    ),
    (
        "Projects & keys",
        (
            ListLink("Projects", "deployed_code", "billing.project"),
            ListLink("Teams", "groups", "billing.team"),
            ListLink("Cost centres", "corporate_fare", "billing.costcenter"),
            ListLink("API keys", "key", "billing.apikey"),
        ),
    ),
    (
        "Administration",
        (
            ListLink("Users", "person", "auth.user"),
            ListLink("Groups", "shield_person", "auth.group"),
            ListLink("Access attempts", "lock_person", "axes.accessattempt"),
            ListLink("Periodic tasks", "schedule", "django_celery_beat.periodictask"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups and links that this user may open."""
    groups: list[dict[str, Any]] = [
        {"title": title, "items": [item for link in links if (item := _item(request, link)) is not None]} for title, links in TASKS
    ]
    _mark_the_page(request, groups)
    return [group for group in groups if group["items"]]


def _mark_the_page(request: HttpRequest, groups: list[dict[str, Any]]) -> None:
    """Mark the link to this page: the longest that leads to it, since a page may live below a list that is linked too."""
    items = [item for group in groups for item in group["items"]]
    overview = reverse("admin:index")
    found = [item["link"] for item in items if request.path.startswith(item["link"]) and item["link"] != overview]
    here = max(found, key=len, default=request.path)
    for item in items:
        item["active"] = item["link"] == here


def address(request: HttpRequest, link: Link) -> str:
    """Return where a link leads; empty where the page does not exist or this user may not open it."""
    from config.base.admin import places

    if isinstance(link, ListLink):
        return places.list_of(request, link.model)
    return places.page(request, link.page, link.permission)


def _item(request: HttpRequest, link: Link) -> dict[str, Any] | None:
    target = address(request, link)
    if not target:
        return None
    item = {"title": link.title, "icon": link.icon, "link": target}
    if link.badge and _is_shown(request, link.badge) and (text := _badge_text(link.badge)):
        item |= {"badge": text, "badge_variant": link.badge.variant, "badge_tells": f"{link.badge.tells}: {text}"}
    return item


def _is_shown(request: HttpRequest, badge: Badge) -> bool:
    return not badge.permission or request.user.has_perm(badge.permission)


def _badge_text(badge: Badge) -> str:
    from billing.queries import badges
    from reports.queries import badges as of_reports

    count: Callable[[], str] = getattr(of_reports, badge.count, None) or getattr(badges, badge.count)
    return count()


def environment(_: HttpRequest) -> list[str] | None:
    """Return the label of a desk that holds a demo company, or on which no money moves."""
    from billing.queries import badges
    from config.demo.stripe.running import is_simulated

    parts = ["Demo data"] * badges.has_demo_data() + ["Payments are simulated"] * is_simulated()
    return [" · ".join(parts), "warning"] if parts else None


def _logo(_: HttpRequest) -> str:
    return static("logo.svg")


def _favicon(_: HttpRequest) -> str:
    return static("favicon.svg")


def _frame_styles(_: HttpRequest) -> str:
    return static("app.css")


def _record_styles(_: HttpRequest) -> str:
    return static("base/admin.css")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Meterdesk",
    "SITE_HEADER": "Meterdesk",
    "SITE_URL": None,  # there is no other site to return to
    "SITE_ICON": _logo,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "sizes": "any", "href": _favicon}],
    "STYLES": [_frame_styles, _record_styles],
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": environment,
    "DASHBOARD_CALLBACK": "reports.admin.overview.dashboard",
    "COMMAND": {"search_callback": "config.palette.search"},
    "SIDEBAR": {"show_search": True, "command_search": True, "navigation": sidebar},
    "COLORS": {
        "primary": {
            "50": "oklch(97.8% .013 190)",
            "100": "oklch(95% .04 188)",
            "200": "oklch(90.5% .075 187)",
            "300": "oklch(84.5% .105 186)",
            "400": "oklch(76% .115 187)",
            "500": "oklch(64% .105 190)",
            "600": "oklch(51.5% .088 195)",
            "700": "oklch(45% .077 197)",
            "800": "oklch(39% .065 200)",
            "900": "oklch(34% .055 202)",
            "950": "oklch(25% .043 205)",
        },
    },
}
