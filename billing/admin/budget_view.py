"""A budget's figures and sentences, for the list and for its page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.words import BUDGET_COLOURS, EXCEPTION_COLOURS
from billing.budgeting import Action, Measure, Standing, State, Window
from billing.models import Alert, AlertState, Budget, BudgetException
from billing.queries import budget_exceptions, budget_words
from billing.queries.budget_page import BudgetPage, PastWindow
from billing.queries.budgets import Shown
from config.base.admin import badge, lines, link, moment, table
from config.base.exact import ZERO, plain

_ALERT_COLOURS = {AlertState.OPEN: "warning", AlertState.ACKNOWLEDGED: "info", AlertState.RESOLVED: "success"}
_TONES = {State.GREEN: "good", State.YELLOW: "warn", State.RED: "bad"}


@dataclass(frozen=True, slots=True)
class Card:
    """One figure that answers one question, and a line under it."""

    title: str
    figure: str
    note: str | SafeString = ""
    tone: str = ""


def context(page: BudgetPage, *, now: datetime) -> dict[str, Any]:
    """Return what `admin/billing/budget_page.html` lays out."""
    shown, row = page.shown, page.shown.row
    standing = shown.standing
    ended = row.ended_at is not None
    return {
        "identity": [words for words in (scope_words(row), per_window(row), f"owner {row.owner or 'nobody'}") if words],
        "used": f"{percent(standing)} used" + (" when it ended" if ended else ""),
        "bar": bar(standing),
        "tone": "" if ended else _TONES[standing.state],
        "guidance": "It has ended: it counts and limits nothing more." if ended else guidance(shown),
        "counted": _counted(shown),
        "cards": list(_cards(shown, now)),
        "links": _links(row, standing),
        "windows": _windows(row, page.windows),
        "exceptions": _exceptions(page.exceptions, now),
        "alerts": _alerts(page.alerts),
    }


def scope_words(row: Budget) -> str:
    """Say in a line what a budget counts."""
    return " · ".join(f"{word} {name}" for word, name in budget_words.scope(row)) or "The whole workspace"


def per_window(row: Budget) -> str:
    """Say the limit: 10,000 credits a month."""
    return f"{budget_words.amount(row.limit, row.measure)} {each(row)}"


def each(row: Budget) -> str:
    """Say of which window: a month."""
    return f"an {row.window}" if row.window == Window.HOUR else f"a {row.window}"


def percent(standing: Standing) -> str:
    """Write how much of the limit is spent."""
    return f"{standing.percent:,f}\N{NO-BREAK SPACE}%".replace(".0\N{NO-BREAK SPACE}", "\N{NO-BREAK SPACE}")


def bar(standing: Standing) -> SafeString:
    """Draw what is spent and, lighter, what is held."""
    spent = min(standing.percent, Decimal(100))
    held = min(standing.held / standing.limit * 100 if standing.limit else ZERO, 100 - spent)
    return _bar(standing.state, spent, held)


def _bar(state: State, spent: Decimal, held: Decimal = ZERO) -> SafeString:
    items = [{"value": f"{part:.1f}", "title": title} for part, title in ((spent, "spent"), (held, "held")) if part or title == "spent"]
    return SafeString(render_to_string("admin/billing/budget_bar.html", {"state": state, "items": items}))


def reserves(row: Budget) -> bool:
    """Say whether open holds count: they know their credits and that each will be a request, and neither user, agent nor model."""
    return row.measure in {Measure.CREDITS, Measure.REQUESTS} and not (row.user or row.agent_type or row.model)


def remaining(standing: Standing) -> Decimal:
    """Return what may still be spent; nothing where more than the limit is."""
    return max(standing.limit - standing.spent - standing.held, ZERO)


def time_left(shown: Shown, now: datetime) -> SafeString | str:
    """Say when it is used up at this pace, or how long the window still is."""
    if shown.standing.state is State.RED:
        return "used up"
    if shown.forecast.runs_out_at:
        return format_html("runs out on {}", unbroken(minute(shown.forecast.runs_out_at)))
    return f"{length(shown.standing.window.ends_at - now)} left"


def length(span: timedelta) -> str:
    """Say how long something lasts: in days, below two of them in hours, below two of these in minutes."""
    for unit, name in ((timedelta(days=1), "days"), (timedelta(hours=1), "hours")):
        if span >= 2 * unit:
            return f"{span // unit} {name}"
    minutes = max(span // timedelta(minutes=1), 1)
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def quiet(text: str) -> SafeString:
    """Show what is said beside something."""
    return format_html('<span class="desk-quiet">{}</span>', text)


def unbroken(text: str) -> SafeString:
    """Keep a time or a figure in one line."""
    return format_html('<span class="md-figure">{}</span>', text)


def minute(at: datetime) -> str:
    """Write a time to the minute, in the current zone."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}"


def guidance(shown: Shown) -> str:
    """Say what the colour means and what one can do (seed 003, "Budget Alert Bar")."""
    row, standing = shown.row, shown.standing
    runs_out = shown.forecast.runs_out_at
    if standing.state is State.RED:
        return f"Red: the limit is reached. {_at_the_limit(row, standing)}"
    if standing.state is State.YELLOW:
        ahead = f"At this pace it runs out on {minute(runs_out)}. " if runs_out else ""
        return f"Yellow: 80-99 % is used. {ahead}Consider reviewing high-cost agents, before the limit is reached."
    if runs_out:
        return f"Green: below 80 %. But at this pace it runs out on {minute(runs_out)}: look at what drives it while there is time."
    return "Green: below 80 %, and at this pace it lasts to the end of the window. Nothing to do."


def _at_the_limit(row: Budget, standing: Standing) -> str:
    until = minute(standing.window.ends_at)
    match row.action:
        case Action.BLOCK:
            return f"What does not fit is refused until {until}. To go on before, ask for an exception, or have the limit raised."
        case Action.DOWNGRADE:
            return f"Answers tell the app to go down to {row.target} until {until}. Review high-cost agents, or have the limit raised."
        case Action.REROUTE:
            return f"Answers tell the app to take the route {row.target} until {until}. Review high-cost agents, or have the limit raised."
        case Action.ASK:
            whom = row.target or row.owner or "the owner"
            return f"Answers tell the app to ask {whom} before it goes on, until {until}. An exception lets it go on without."
    return "Nothing is refused, since this budget only alerts. Review high-cost agents, and have the limit raised if this is wanted."


def _counted(shown: Shown) -> str:
    standing = shown.standing
    window = f"The window began on {minute(standing.window.starts_at)} and ends on {minute(standing.window.ends_at)}."
    if shown.row.action == Action.BLOCK:
        return f"{window} Counted to this moment, by each charge itself."
    as_of = f"Counted up to {moment(shown.as_of)}" if shown.as_of else "Not counted yet"
    return f"{window} {as_of}, at least every minute."


def _cards(shown: Shown, now: datetime) -> Iterator[Card]:
    row, standing, forecast = shown.row, shown.standing, shown.forecast
    granted = standing.limit - row.limit
    extra = f", with {budget_words.amount(granted, row.measure)} by exceptions" if granted else ""
    yield Card("Spent", budget_words.rough(standing.spent, row.measure), f"of {budget_words.amount(standing.limit, row.measure)}{extra}")
    if reserves(row):
        yield Card("Held", budget_words.rough(standing.held, row.measure), "for actions still running")
    else:
        yield Card("Held", "-", "what it counts is not known before an action ends")
    left = remaining(standing)
    over = standing.spent - standing.limit
    note = f"{budget_words.rough(over, row.measure)} over the limit" if over > 0 else "may still be spent"
    yield Card("Remaining", budget_words.rough(left, row.measure), note, "" if left else "danger")
    if row.ended_at:
        yield Card("Ended", f"{timezone.localtime(row.ended_at):%Y-%m-%d}", f"at {timezone.localtime(row.ended_at):%H:%M}")
        return
    heads_over = forecast.amount > standing.limit
    yield Card("Forecast", budget_words.forecast(forecast.amount, row.measure), forecast.method, "warning" if heads_over else "")
    if standing.state is State.RED:
        yield Card("Starts anew", f"in {length(standing.window.ends_at - now)}", f"on {minute(standing.window.ends_at)}")
    elif forecast.runs_out_at:
        yield Card("Runs out", f"in {length(forecast.runs_out_at - now)}", f"on {minute(forecast.runs_out_at)}", "warning")
    else:
        yield Card("Time left", length(standing.window.ends_at - now), f"until {minute(standing.window.ends_at)}")


def _links(row: Budget, standing: Standing) -> list[SafeString]:
    zone = timezone.get_current_timezone()
    query = {
        "occurred_at_from": f"{standing.window.starts_at.astimezone(zone):%Y-%m-%dT%H:%M}",
        "occurred_at_to": f"{standing.window.ends_at.astimezone(zone):%Y-%m-%dT%H:%M}",
    }
    named: dict[str, Any] = {
        "project__id__exact": row.project_id,
        "customer__id__exact": row.customer_id,
        "event_type__id__exact": row.event_type_id,
    }
    named |= {"environment__exact": row.environment, "model": row.model}
    query |= {name: str(value) for name, value in named.items() if value}
    return [
        link("Usage of this window", "billing_usagerecord_changelist", query=urlencode(query)),
        link("Agent jobs", "billing_agentjob_changelist"),
        link("All exceptions", "billing_budgetexception_changelist", query=f"budget__id__exact={row.pk}"),
        link("Who changed it, and why", "billing_budget_history", row.pk),
    ]


def _windows(row: Budget, windows: tuple[PastWindow, ...]) -> SafeString:
    zone = ZoneInfo(row.time_zone)
    rows = [
        (
            lines([unbroken(_named(window.span.starts_at.astimezone(zone), row)), "" if window.is_over else "runs now"]),
            lines(
                [
                    budget_words.rough(window.spent, row.measure),
                    quiet(f"of {budget_words.amount(window.limit, row.measure)}"),
                    quiet(f"{budget_words.rough(window.late, row.measure)} late") if window.late else "",
                ]
            ),
            lines(
                [
                    badge(window.state, f"{plain(window.percent)} %", BUDGET_COLOURS),
                    _bar(window.state, min(window.percent, Decimal(100))),
                ]
            ),
        )
        for window in windows
    ]
    headers = ("Month" if row.window == Window.MONTH else f"{row.window.title()} from", "Spent", "Used")
    note = f"In {row.time_zone}. Late is what was reported after the window had ended: it counts where it occurred."
    shown = table(headers, rows, figures=(1,), empty="Nothing has been spent yet.")
    return lines([shown, quiet(note)])


def _named(at: datetime, row: Budget) -> str:
    match row.window:
        case Window.MONTH:
            return f"{at:%Y-%m}"
        case Window.HOUR:
            return f"{at:%Y-%m-%d %H:%M}"
    return f"{at:%Y-%m-%d}"


def _exceptions(rows: tuple[BudgetException, ...], now: datetime) -> SafeString:
    shown = [
        (
            lines(
                [
                    link(f"{budget_words.amount(row.extra, row.budget.measure)} more", "billing_budgetexception_change", row.pk),
                    f"{row.requested_by} asked",
                    f"{row.decided_by} decided" if row.decided_by else "nobody decided yet",
                ]
            ),
            exception_badge(row, now),
            lines([unbroken(minute(row.starts_at)), unbroken(f"to {minute(row.expires_at)}")]),
        )
        for row in rows
    ]
    return table(("Exception", "State", "When"), shown, empty="Nobody has asked for one.")


def exception_badge(row: BudgetException, now: datetime) -> SafeString:
    """Show how an exception stands now."""
    standing = budget_exceptions.standing(row, now=now)
    return badge(standing, standing.value.capitalize(), EXCEPTION_COLOURS)


def _alerts(alerts: tuple[Alert, ...]) -> SafeString:
    rows = [
        (
            link(moment(alert.raised_at), "billing_alert_change", alert.pk),
            alert.get_kind_display() + (f": {alert.threshold} %" if alert.threshold else ""),
            badge(alert.state, alert.get_state_display(), _ALERT_COLOURS),
        )
        for alert in alerts
    ]
    return table(("Raised", "What", "State"), rows, empty="No alert has been raised.")
