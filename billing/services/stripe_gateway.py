"""The one place that talks to Stripe.

Every call has a limit of time, Stripe's own retries, an idempotency key where it changes something, and the version of the
API that this code was written for. Answers are plain dictionaries, as Stripe's JSON is; the events of the inbox are the
same. Failures are three: `StripeNotSetUp`, `StripeUnavailable` (try again later; whether it happened is not known, so use
the same key) and `StripeRefused` (it will not get better by itself).

No call is made inside a transaction that holds a lock: Stripe may take seconds.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, cast

import stripe
from django.conf import settings

from billing.errors import StripeNotSetUp, StripeRefused, StripeUnavailable
from billing.queries.stripe_modes import is_live_key
from config.base.errors import DomainError

API_VERSION: Final = "2026-10-28.endive"
# Seconds to connect and to answer. The API's own callers wait for POST /topups meanwhile.
_TIMEOUT: Final = (3.05, 10)
_RETRIES: Final = 1

Answer = dict[str, Any]


class Gateway:
    """Stripe, for one key."""

    def __init__(self, api_key: str, *, base: str = "") -> None:
        addresses: Any = {"api": base} if base else {}
        http = stripe.RequestsClient(timeout=_TIMEOUT)
        self._client = stripe.StripeClient(
            api_key, stripe_version=API_VERSION, base_addresses=addresses, max_network_retries=_RETRIES, http_client=http
        )
        self.is_live = is_live_key(api_key)

    def create_checkout_session(self, params: dict[str, Any], *, key: str) -> Answer:
        """Make a page where a buyer pays, or saves a payment method (mode `setup`)."""
        return self._call(lambda: self._client.v1.checkout.sessions.create(cast("Any", params), {"idempotency_key": key}))

    def retrieve_checkout_session(self, session: str) -> Answer:
        return self._call(lambda: self._client.v1.checkout.sessions.retrieve(session))

    def expire_checkout_session(self, session: str) -> Answer:
        """End a page that nobody has paid. Raises StripeRefused where it is over or being paid."""
        return self._call(lambda: self._client.v1.checkout.sessions.expire(session))

    def create_customer(self, params: dict[str, Any], *, key: str) -> Answer:
        return self._call(lambda: self._client.v1.customers.create(cast("Any", params), {"idempotency_key": key}))

    def create_payment_intent(self, params: dict[str, Any], *, key: str) -> Answer:
        """Charge a saved payment method. Raises StripeRefused with the bank's reason when it declines."""
        return self._call(lambda: self._client.v1.payment_intents.create(cast("Any", params), {"idempotency_key": key}))

    def retrieve_payment_intent(self, intent: str) -> Answer:
        return self._call(lambda: self._client.v1.payment_intents.retrieve(intent))

    def retrieve_setup_intent(self, intent: str) -> Answer:
        return self._call(lambda: self._client.v1.setup_intents.retrieve(intent))

    def retrieve_payment_method(self, method: str) -> Answer:
        return self._call(lambda: self._client.v1.payment_methods.retrieve(method))

    def retrieve_charge(self, charge: str) -> Answer:
        return self._call(lambda: self._client.v1.charges.retrieve(charge))

    def create_refund(self, params: dict[str, Any], *, key: str) -> Answer:
        return self._call(lambda: self._client.v1.refunds.create(cast("Any", params), {"idempotency_key": key}))

    def retrieve_refund(self, refund: str) -> Answer:
        return self._call(lambda: self._client.v1.refunds.retrieve(refund))

    def list_refunds(self, *, charge: str = "", payment_intent: str = "") -> Iterator[Answer]:
        """Return the refunds of one payment, which is named either way."""
        return self._all(self._client.v1.refunds.list, {"charge": charge} if charge else {"payment_intent": payment_intent})

    def retrieve_dispute(self, dispute: str) -> Answer:
        return self._call(lambda: self._client.v1.disputes.retrieve(dispute))

    def retrieve_balance_transaction(self, transaction: str) -> Answer:
        return self._call(lambda: self._client.v1.balance_transactions.retrieve(transaction))

    def list_events(self, *, since: datetime) -> Iterator[Answer]:
        """Return the events since then, newest first; Stripe keeps them for 30 days."""
        return self._all(self._client.v1.events.list, {"created": {"gte": int(since.timestamp())}})

    def list_payouts(self, *, since: datetime) -> Iterator[Answer]:
        return self._all(self._client.v1.payouts.list, {"created": {"gte": int(since.timestamp())}})

    def list_balance_transactions(self, *, payout: str = "", since: datetime | None = None) -> Iterator[Answer]:
        """Return what one payout took along, or everything since a time, newest first."""
        params: dict[str, Any] = {"payout": payout} if payout else {}
        if since is not None:
            params["created"] = {"gte": int(since.timestamp())}
        return self._all(self._client.v1.balance_transactions.list, params)

    def _call(self, call: Any) -> Answer:
        try:
            answer: Answer = call().to_dict(for_json=True)
        except stripe.StripeError as error:
            raise _told(error) from error
        return answer

    def _all(self, listing: Any, params: dict[str, Any]) -> Iterator[Answer]:
        try:
            for item in listing({**params, "limit": 100}).auto_paging_iter():
                yield item.to_dict(for_json=True)
        except stripe.StripeError as error:
            raise _told(error) from error


def _told(error: stripe.StripeError) -> DomainError:
    """Sort Stripe's errors: what will not get better by itself, what a setting mends, and all else, which may be tried again."""
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        return StripeNotSetUp("Stripe does not accept STRIPE_API_KEY: set a secret key that is in force and may do this.")
    if not isinstance(error, (stripe.CardError, stripe.InvalidRequestError, stripe.IdempotencyError)):
        return StripeUnavailable("Stripe did not answer. Nothing is lost: try again in a minute.")
    told = error.json_body["error"] if isinstance(error.json_body, dict) else {}
    return StripeRefused(
        told.get("message") or str(error) or "Stripe refused the call.",
        stripe_code=told.get("code") or told.get("type") or "",
        decline_code=told.get("decline_code") or "",
        payment_intent=(told.get("payment_intent") or {}).get("id", ""),
    )


def gateway() -> Gateway:
    """Return the gateway of this installation. Raises StripeNotSetUp."""
    if not settings.STRIPE_API_KEY:
        raise StripeNotSetUp("Stripe is not set up here: set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET.")
    return Gateway(settings.STRIPE_API_KEY, base=settings.STRIPE_API_BASE)


def is_set_up() -> bool:
    """Say whether calls to Stripe can be made at all."""
    return bool(settings.STRIPE_API_KEY)
