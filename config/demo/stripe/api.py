"""The part of Stripe's API that the desk uses. Each call names the TypedDict that its parameters must fit."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import stripe
from stripe import params as kinds

from config.demo.stripe import KEY
from config.demo.stripe.account import Account
from config.demo.stripe.errors import Refusal, missing
from config.demo.stripe.objects import Fields
from config.demo.stripe.params import BadParameter, check, decode


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the API; `body` is a form, or the query of a GET."""

    method: str
    path: str
    body: str
    key: str  # the API key
    version: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON, and whether it is an earlier answer given again."""

    status: int
    body: Any
    is_replay: bool = False


Do = Callable[[Account, str, dict[str, Any]], Fields]


def answer(account: Account, call: Call) -> Answer:
    """Do what the call asks for; the account is locked by the caller."""
    try:
        _check_access(call)
        if call.method == "POST" and call.idempotency_key:
            return _once(account, call)
        return Answer(200, _do(account, call))
    except Refusal as refusal:
        return Answer(refusal.status, refusal.body)


def _check_access(call: Call) -> None:
    if call.key != KEY:
        raise Refusal(f"Invalid API Key provided: this simulation takes {KEY} and nothing else.", status=401)
    if call.version and call.version != stripe.api_version:
        raise Refusal(f"Invalid Stripe API version: {call.version}. This simulation speaks {stripe.api_version}.")


def _once(account: Account, call: Call) -> Answer:
    """Give the answer of the first call with this idempotency key again. What was refused before it began does not count."""
    answers = account.state.data["answers"]
    before = answers.get(call.idempotency_key)
    if before is None:
        try:
            status, body = 200, _do(account, call)
        except Refusal as refusal:
            if refusal.status != 402:
                raise
            status, body = 402, refusal.body
        kept = {"path": call.path, "params": decode(call.body), "status": status, "body": body, "at": account.state.now()}
        answers[call.idempotency_key] = json.loads(json.dumps(kept))
        return Answer(status, body)
    if (before["path"], before["params"]) != (call.path, decode(call.body)):
        raise Refusal(
            "Keys for idempotent requests can only be used with the same parameters they were first used with."
            f" Try using a key other than '{call.idempotency_key}' if you meant to execute a different request.",
            kind="idempotency_error",
        )
    return Answer(before["status"], before["body"], is_replay=True)


def _do(account: Account, call: Call) -> Fields:
    for method, pattern, kind, do in _ROUTES:
        found = re.fullmatch(pattern, call.path)
        if method == call.method and found:
            return do(account, (*found.groups(), "")[0], _checked(kind, call.body))
    raise Refusal(f"Unrecognized request URL ({call.method}: {call.path}). This simulation speaks only a part of the API.", status=404)


def _checked(kind: Any, body: str) -> dict[str, Any]:
    try:
        given = check(kind, decode(body))
    except BadParameter as error:
        raise Refusal(str(error), param=error.param, code=error.code) from None
    if given.get("expand"):
        raise Refusal("This simulation does not expand objects.", param="expand")
    return given


def _page(items: list[Fields], params: dict[str, Any], path: str) -> Fields:
    """Return one page of a list, the newest first."""
    created = params.get("created", {})
    bounds = created if isinstance(created, dict) else {"gte": created, "lte": created}
    tests = {"gte": int.__ge__, "gt": int.__gt__, "lte": int.__le__, "lt": int.__lt__}
    found = [one for one in items if all(tests[name](one["created"], bound) for name, bound in bounds.items())]
    after = params.get("starting_after")
    if after:
        names = [one["id"] for one in found]
        if after not in names:
            raise missing("object", after)
        found = found[names.index(after) + 1 :]
    if params.get("ending_before"):
        raise Refusal("This simulation pages forwards only.", param="ending_before")
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise Refusal("The limit must be between 1 and 100.", param="limit")
    return {"object": "list", "url": path, "has_more": len(found) > limit, "data": found[:limit]}


def _get(kind: str) -> Do:
    return lambda account, name, _: account.state.find(kind, name)


def _list_refunds(account: Account, _: str, params: dict[str, Any]) -> Fields:
    wanted = {field: params[field] for field in ("charge", "payment_intent") if field in params}
    found = [one for one in account.state.all("refund") if all(one[field] == value for field, value in wanted.items())]
    return _page(found, params, "/v1/refunds")


def _list_balance(account: Account, _: str, params: dict[str, Any]) -> Fields:
    found = account.state.all("balance_transaction")
    for field in ("type", "source", "currency"):
        if field in params:
            found = [one for one in found if one[field] == params[field]]
    if "payout" in params:
        account.state.find("payout", params["payout"])
        found = [one for one in found if account.state.facts(one["id"])["payout"] == params["payout"]]
    return _page([account.state.find("balance_transaction", one["id"]) for one in found], params, "/v1/balance_transactions")


def _list_events(account: Account, _: str, params: dict[str, Any]) -> Fields:
    account.checkout.expire_due()
    types = params.get("types") or ([params["type"]] if "type" in params else [])
    found = [one for one in reversed(account.state.data["events"]) if not types or one["type"] in types]
    return _page(found, params, "/v1/events")


def _retrieve_event(account: Account, name: str, _: dict[str, Any]) -> Fields:
    found: Fields | None = next((one for one in account.state.data["events"] if one["id"] == name), None)
    if found is None:
        raise missing("event", name)
    return found


_NAME = r"/(\w+)"
_ROUTES: list[tuple[str, str, Any, Do]] = [
    ("POST", "/v1/checkout/sessions", kinds.checkout.SessionCreateParams, lambda account, _, params: account.checkout.create(params)),
    ("GET", "/v1/checkout/sessions" + _NAME, kinds.checkout.SessionRetrieveParams, lambda account, name, _: account.checkout.find(name)),
    (
        "POST",
        "/v1/checkout/sessions" + _NAME + "/expire",
        kinds.checkout.SessionExpireParams,
        lambda account, name, _: account.checkout.expire(name),
    ),
    ("POST", "/v1/customers", kinds.CustomerCreateParams, lambda account, _, params: account.payments.create_customer(params)),
    ("GET", "/v1/customers" + _NAME, kinds.CustomerRetrieveParams, _get("customer")),
    ("POST", "/v1/payment_intents", kinds.PaymentIntentCreateParams, lambda account, _, params: account.charge_saved(params)),
    ("GET", "/v1/payment_intents" + _NAME, kinds.PaymentIntentRetrieveParams, _get("payment_intent")),
    ("GET", "/v1/setup_intents" + _NAME, kinds.SetupIntentRetrieveParams, _get("setup_intent")),
    ("GET", "/v1/payment_methods" + _NAME, kinds.PaymentMethodRetrieveParams, _get("payment_method")),
    ("GET", "/v1/charges" + _NAME, kinds.ChargeRetrieveParams, _get("charge")),
    ("POST", "/v1/refunds", kinds.RefundCreateParams, lambda account, _, params: account.money_back.refund(params)),
    ("GET", "/v1/refunds", kinds.RefundListParams, _list_refunds),
    ("GET", "/v1/refunds" + _NAME, kinds.RefundRetrieveParams, _get("refund")),
    ("GET", "/v1/disputes" + _NAME, kinds.DisputeRetrieveParams, _get("dispute")),
    ("GET", "/v1/balance_transactions", kinds.BalanceTransactionListParams, _list_balance),
    ("GET", "/v1/balance_transactions" + _NAME, kinds.BalanceTransactionRetrieveParams, _get("balance_transaction")),
    (
        "GET",
        "/v1/payouts",
        kinds.PayoutListParams,
        lambda account, _, params: _page(account.state.all("payout"), params, "/v1/payouts"),
    ),
    ("GET", "/v1/payouts" + _NAME, kinds.PayoutRetrieveParams, _get("payout")),
    ("GET", "/v1/events", kinds.EventListParams, _list_events),
    ("GET", "/v1/events" + _NAME, kinds.EventRetrieveParams, _retrieve_event),
]
