"""An alert in words: what happened, with its figures, and what one can do. Pages, e-mails and webhooks say the same."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from billing.budgeting import Action
from billing.models import Alert, AlertKind
from config.base.exact import grouped
from pricing.queries import workspace

Facts = Mapping[str, Any]


def sentence(alert: Alert) -> str:
    """Say what happened, with the figures of when the alert was raised."""
    return _WORDS[AlertKind(alert.kind)][0](alert.facts)


def next_step(alert: Alert) -> str:
    """Say what one can do about it."""
    return _WORDS[AlertKind(alert.kind)][1](alert.facts)


def title(alert: Alert) -> str:
    """Return a line for a subject: what of which budget or customer."""
    facts = alert.facts
    about = facts.get("budget") or facts.get("customer") or facts.get("event") or ""
    named = {
        AlertKind.THRESHOLD: f"{about}: {facts.get('threshold')} % reached",
        AlertKind.FORECAST: f"{about} is heading over its limit",
        AlertKind.SPIKE: f"{about}: a spike",
        AlertKind.WALLET_LOW: f"{about} is low on credits",
        AlertKind.CREDITS_EXPIRE: f"{about}: credits expire soon",
        AlertKind.WALLET_FROZEN: f"The wallet of {about} is frozen",
    }
    return named[AlertKind(alert.kind)]


def _threshold(facts: Facts) -> str:
    spent = f"{_spent(facts)} ({facts['percent']} %)"
    verb = "had spent" if facts["is_over"] else "has spent"
    late = f" The {facts['window']['kind']} was over when this was found." if facts["is_over"] else ""
    return f"The budget {facts['budget']} {verb} {spent} in {_window(facts)}, and so reached its mark of {facts['threshold']} %.{late}"


def _after_threshold(facts: Facts) -> str:
    if facts["is_over"]:
        return "See what was spent on, and whether the limit fits. The next window has a sum of its own."
    if Decimal(facts["spent"]) < Decimal(facts["limit"]):
        return f"See what it is spent on. {_AT_THE_LIMIT[Action(facts['action'])].format(target=facts['target'])}"
    return f"{_BEYOND_THE_LIMIT[Action(facts['action'])].format(target=facts['target'])} {_MORE}"


_MORE: Final = "If that is right, ask for an exception or raise the limit; if not, find out what spends it in the usage records."
_AT_THE_LIMIT: Final = {
    Action.ALERT: "Nothing is refused at the limit: lower the use yourself, or raise the limit.",
    Action.BLOCK: "At the limit, actions are refused: ask for an exception, or raise the limit, before.",
    Action.DOWNGRADE: "At the limit, apps are told to use {target} instead.",
    Action.REROUTE: "At the limit, apps are told to take the route {target}.",
    Action.ASK: "At the limit, apps are told to ask for approval first.",
}
_BEYOND_THE_LIMIT: Final = {
    Action.ALERT: "Nothing is refused: spending goes on until somebody acts.",
    Action.BLOCK: "Actions that do not fit are refused until the next window.",
    Action.DOWNGRADE: "Apps are told to use {target} instead until the next window.",
    Action.REROUTE: "Apps are told to take the route {target} until the next window.",
    Action.ASK: "Apps are told to ask for approval first until the next window.",
}


def _forecast(facts: Facts) -> str:
    out = f" The limit is met at {_time(facts['runs_out_at'], facts['window']['zone'])}." if facts.get("runs_out_at") else ""
    return (
        f"The budget {facts['budget']} has spent {_spent(facts)} in {_window(facts)}, and comes to {_amount(facts, 'forecast')} by its "
        f"end if it goes on {facts['method']}.{out}"
    )


def _after_forecast(facts: Facts) -> str:
    return f"{_AT_THE_LIMIT[Action(facts['action'])].format(target=facts['target'])} See what it is spent on while there is time."


def _low(facts: Facts) -> str:
    mark = facts.get("low_balance_threshold")
    below = f", below the mark of {_credits(mark)}" if mark is not None else ""
    return f"The wallet of {_customer(facts)} has {_credits(facts['available'])} available{below}."


def _expire(facts: Facts) -> str:
    at = _time(facts["expires_at"], str(workspace.load().time_zone))
    return f"{_credits(facts['credits'])} of {_customer(facts)} expire on {at} unless they are spent before."


def _frozen(facts: Facts) -> str:
    balance = _credits(facts["balance"])
    return f"The wallet of {_customer(facts)} is frozen with {balance} in it: nothing is charged to it, and its actions are refused."


def _spike(facts: Facts) -> str:
    now, before = facts["now"]["events"], facts["before"]["events"]
    return (
        f"{facts['event']} of {facts['project']} ({facts['environment']}) was used {now:,} times in 7 days, and {before:,} times in the "
        f"7 days before. {facts['reason']}"
    )


_AFTER_SPIKE: Final = {
    "staging": "See what runs there, and stop it or give it a budget of its own.",
    "retry": "Find what fails in the usage records and mend it: this is paid for without serving more.",
    "batch": "See whether the batch work was meant to run; if it was, enter it as a launch.",
    "growth": "More people pay more; see that the price covers the cost, and that the budgets fit.",
    "route": "See whether the change of model or route was meant; if it was, enter it as a launch.",
}


def _after_spike(facts: Facts) -> str:
    return _AFTER_SPIKE.get(facts["class"], "See what uses it in the usage records; if it was planned, enter it as a launch.")


_WORDS: Final[dict[AlertKind, tuple[Callable[[Facts], str], Callable[[Facts], str]]]] = {
    AlertKind.THRESHOLD: (_threshold, _after_threshold),
    AlertKind.FORECAST: (_forecast, _after_forecast),
    AlertKind.SPIKE: (_spike, _after_spike),
    AlertKind.WALLET_LOW: (
        _low,
        lambda _: "Send the customer a top-up link, or grant credits; auto top-up keeps it from happening again.",
    ),
    AlertKind.CREDITS_EXPIRE: (
        _expire,
        lambda _: "Remind the customer to use them. What expires is written off by itself.",
    ),
    AlertKind.WALLET_FROZEN: (
        _frozen,
        lambda _: "The customer's page tells who froze it and why; release it there once that is settled.",
    ),
}


def _amount(facts: Facts, name: str) -> str:
    """Write an amount of the budget's measure with its unit."""
    number = grouped(Decimal(facts[name]))
    return f"{number} {facts['currency']}" if facts["measure"] == "cost" else f"{number} {facts['measure']}"


def _spent(facts: Facts) -> str:
    return f"{grouped(Decimal(facts['spent']))} of {_amount(facts, 'limit')}"


def _credits(text: str) -> str:
    return f"{grouped(Decimal(text))} credits"


def _customer(facts: Facts) -> str:
    return f"{facts['customer']} ({facts['project']}, {facts['environment']})"


def _window(facts: Facts) -> str:
    """Name a window in its own time zone: `the day 2026-11-20`, `the hour from 2026-11-20 10:00 CET`."""
    kind, starts_at = facts["window"]["kind"], datetime.fromisoformat(facts["window"]["from"])
    local = starts_at.astimezone(ZoneInfo(facts["window"]["zone"]))
    form = {
        "hour": "the hour from %Y-%m-%d %H:%M %Z",
        "day": "the day %Y-%m-%d",
        "week": "the week from %Y-%m-%d",
        "month": "the month %Y-%m",
    }
    return local.strftime(form[kind])


def _time(text: str, zone: str) -> str:
    return datetime.fromisoformat(text).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")
