"""What buyers and banks do, and what a test wants to go wrong. Never part of Stripe's API."""

from collections.abc import Callable
from typing import Any

from config.demo.stripe.account import Account
from config.demo.stripe.errors import Refusal
from config.demo.stripe.objects import Fields

FAULTS = ("429", "500", "lost", "slow")


def do(account: Account, name: str, asked: dict[str, Any]) -> Any:
    """Make something happen: `name` is a key of `ACTIONS`, `asked` its fields. Raises Refusal."""
    if name not in ACTIONS:
        raise Refusal(f"There is no {name}; there are {', '.join(ACTIONS)}.", status=404)
    try:
        return ACTIONS[name](account, **asked)
    except TypeError as error:
        raise Refusal(f"{name}: {error}") from error


def _pay(account: Account, *, session: str, card: str = "visa") -> Fields:
    return account.pay(session, card)


def _expire(account: Account, *, session: str) -> Fields:
    return account.checkout.expire(session)


def _bank_answers(account: Account, *, payment: str, pays: bool) -> Fields:
    """The bank of a payment that is under way pays, or does not."""
    intent = account.state.find("payment_intent", account.state.find("charge", account.charge_of(payment))["payment_intent"])
    account.checkout.bank_answers(intent, pays=pays)
    return intent


def _refund(account: Account, *, payment: str, amount: int | None = None, status: str = "", reason: str | None = None) -> Fields:
    """Refund as from Stripe's own dashboard."""
    params = {"charge": account.charge_of(payment), "reason": reason} | ({} if amount is None else {"amount": amount})
    return account.money_back.refund(params, status=status)


def _refunds_are(account: Account, *, status: str) -> Fields:
    """Let refunds be `succeeded` or `pending` at first."""
    if status not in {"succeeded", "pending"}:
        raise Refusal("Refunds are succeeded or pending at first.")
    account.state.data["refunds"] = status
    return {}


def _minimum_is(account: Account, *, currency: str, amount: int) -> Fields:
    """Charge no less than this from now on, as where Stripe must exchange it, or has raised its minimum. 0: as documented."""
    account.state.data.setdefault("minima", {})[currency.lower()] = amount
    return {}


def _settle_refund(account: Account, *, refund: str, succeeds: bool) -> Fields:
    return account.money_back.bank_answers(refund, succeeds=succeeds)


def _open_dispute(
    account: Account, *, payment: str, amount: int | None = None, reason: str = "fraudulent", is_inquiry: bool = False
) -> Fields:
    return account.money_back.open_dispute(account.charge_of(payment), amount=amount, reason=reason, is_inquiry=is_inquiry)


def _escalate(account: Account, *, dispute: str) -> Fields:
    return account.money_back.escalate(dispute)


def _close_dispute(account: Account, *, dispute: str, outcome: str) -> Fields:
    return account.money_back.close_dispute(dispute, outcome)


def _warn(account: Account, *, payment: str) -> Fields:
    return account.money_back.warn(account.charge_of(payment))


def _pay_out(account: Account, *, fails: bool = False) -> list[Fields]:
    return account.money_back.pay_out(fails=fails)


def _events(account: Account, *, after: str = "") -> list[Fields]:
    """Return the events after the one named, the oldest first."""
    events: list[Fields] = account.state.data["events"]
    names = [event["id"] for event in events]
    return events[names.index(after) + 1 :] if after in names else events


def _clock(account: Account, *, at: int | None) -> Fields:
    """Make history: until the clock is let go (None), only events move it, no webhook is sent and nothing is written down."""
    account.state.clock = at
    return {"now": account.state.now()}


def _forget(account: Account) -> Fields:
    account.state.forget()
    return {}


ACTIONS: dict[str, Callable[..., Any]] = {
    "pay": _pay,
    "expire": _expire,
    "bank_answers": _bank_answers,
    "refund": _refund,
    "refunds_are": _refunds_are,
    "minimum_is": _minimum_is,
    "settle_refund": _settle_refund,
    "open_dispute": _open_dispute,
    "escalate": _escalate,
    "close_dispute": _close_dispute,
    "warn": _warn,
    "pay_out": _pay_out,
    "events": _events,
    "clock": _clock,
    "forget": _forget,
}
