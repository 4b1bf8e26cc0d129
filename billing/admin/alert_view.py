"""What pages of alerts show: what one is about, and the messages that were owed."""

from collections.abc import Iterator
from typing import Final

from django.utils.safestring import SafeString

from billing.admin.words import customer_link
from billing.models import Alert, AlertDelivery, AlertState, ChannelKind, DeliveryOutcome
from config.base.admin import badge, lines, link, moment, table

STATE_COLOURS: Final = {AlertState.OPEN: "danger", AlertState.ACKNOWLEDGED: "warning", AlertState.RESOLVED: "success"}
ARRIVAL_COLOURS: Final = {"dead": "danger", "waits": "info", "sent": "success", "none": "default"}
OUTCOME_COLOURS: Final = {
    DeliveryOutcome.DUE: "info",
    DeliveryOutcome.SENT: "success",
    DeliveryOutcome.MOOT: "default",
    DeliveryOutcome.EXPIRED: "danger",
}
# What `about` reads of an alert.
ABOUT: Final = ("budget", "wallet__customer", "project", "acknowledged_by", "resolved_by")


def about(alert: Alert) -> SafeString | str:
    """Link to the budget, the customer and the project that an alert is about."""
    links: list[SafeString | str] = []
    if alert.budget:
        links.append(link(alert.budget, "billing_budget_change", alert.budget_id))
    if alert.wallet:
        links.append(customer_link(alert.wallet.customer))
    if alert.project:
        links.append(link(alert.project, "billing_project_change", alert.project_id))
    return lines(links) if links else "The whole workspace"


def deliveries(alert: Alert) -> SafeString:
    """Show each message, whether it arrived, and why not."""
    rows = [
        (
            receiver(one),
            "That it is over" if one.tells == "resolved" else "What happened",
            badge(one.outcome, "Given up" if one.outcome == DeliveryOutcome.EXPIRED else one.get_outcome_display(), OUTCOME_COLOURS),
            lines(_fate(one)),
        )
        for one in alert.deliveries.select_related("channel").order_by("created_at", "pk")
    ]
    nobody = "Nobody was told: whoever answers for it has no e-mail address, and no channel takes such alerts."
    return table(("To", "Tells", "State", "What became of it"), rows, empty=nobody)


def _fate(delivery: AlertDelivery) -> Iterator[str]:
    """Say when it was settled or is tried next, after how many attempts, and what went wrong last."""
    yield moment(delivery.done_at) if delivery.done_at else f"Next try {moment(delivery.due_at)}"
    if delivery.attempts:
        yield f"{delivery.attempts} {'attempt' if delivery.attempts == 1 else 'attempts'}"
    if delivery.last_error:
        yield f"Last error: {delivery.last_error}"


def receiver(delivery: AlertDelivery) -> str:
    """Name who a message is for. Of a URL the host alone: its path is often its password."""
    address = delivery.address if delivery.kind == ChannelKind.EMAIL else host_of(delivery.address)
    return f"{delivery.channel.name}: {address}" if delivery.channel else address


def host_of(url: str) -> str:
    """Return the part of a URL that tells no secret."""
    return "/".join(url.split("/")[:3])
