"""The simulated Stripe (`config.demo.stripe`) as a fixture: a process of its own, to which the settings point.

`stripe_desk` is an account without a past for each test. The code under test talks to it through the one gateway, as to
Stripe; the test plays buyer and bank:

    order = topups.order(…)                             # opens a Checkout session at the simulation
    stripe_desk.pay(order.checkout_session)             # the buyer pays
    for event in stripe_desk.events(): …                # what Stripe tells of it since the last look, the oldest first

A payment may be named by its session, its payment intent or its charge. Events go nowhere by themselves; with
`post_to(url)` they are sent as signed webhooks, by themselves and at once with `deliver()`. What the code sends must fit
the types of stripe-python, or the simulation refuses it.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

import pytest
from pytest_django import Settings

from config.demo.stripe import KEY, SECRET
from config.demo.stripe.running import Control, process
from tests.web_server import free_port

Object = Any  # one of Stripe's, as its JSON is


class StripeDesk(Control):
    """The simulation, with everything that a buyer or a bank may do. `with StripeDesk(folder) as desk:` waits until it answers."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(port or free_port())
        self._seen = ""
        self.process = process(folder, self.port)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that shall talk to it."""
        return {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": self.base, "STRIPE_WEBHOOK_SECRET": SECRET}

    def pay(self, session: str, *, card: str = "visa") -> Object:
        """Pay a Checkout session, or save the card in one of mode `setup`; returns the session. Cards: `config.demo.stripe.cards`."""
        return self.do("pay", session=session, card=card)

    def pay_by_bank(self, session: str) -> Object:
        """Complete a session with money that is still to come: `bank_pays` or `bank_refuses`."""
        return self.pay(session, card="bank")

    def bank_pays(self, payment: str) -> Object:
        return self.do("bank_answers", payment=payment, pays=True)

    def bank_refuses(self, payment: str) -> Object:
        return self.do("bank_answers", payment=payment, pays=False)

    def decline(self, session: str, *, card: str = "declined") -> Object:
        """Try to pay with a card that the bank refuses; the session stays open."""
        return self.pay(session, card=card)

    def expire(self, session: str) -> Object:
        return self.do("expire", session=session)

    def refund(self, payment: str, *, amount: int | None = None, status: str = "") -> Object:
        """Refund in Stripe's own dashboard; `status` "pending" lets it wait for `settle_refund`."""
        return self.do("refund", payment=payment, amount=amount, status=status)

    def refunds_are(self, status: str) -> None:
        """Let refunds made through the API be "pending" or "succeeded" at first."""
        self.do("refunds_are", status=status)

    def minimum_is(self, currency: str, amount: int) -> None:
        """Let Stripe charge no less than this, in minor units."""
        self.do("minimum_is", currency=currency, amount=amount)

    def settle_refund(self, refund: str, *, succeeds: bool = True) -> Object:
        """Let a refund arrive, or fail (a succeeded one may still fail)."""
        return self.do("settle_refund", refund=refund, succeeds=succeeds)

    def open_dispute(self, payment: str, *, amount: int | None = None, reason: str = "fraudulent", is_inquiry: bool = False) -> Object:
        return self.do("open_dispute", payment=payment, amount=amount, reason=reason, is_inquiry=is_inquiry)

    def escalate(self, dispute: str) -> Object:
        """Turn an inquiry into a dispute."""
        return self.do("escalate", dispute=dispute)

    def close_dispute(self, dispute: str, outcome: str) -> Object:
        """Decide it: "won" or "lost". An inquiry just closes."""
        return self.do("close_dispute", dispute=dispute, outcome=outcome)

    def warn(self, payment: str) -> Object:
        """Give an early fraud warning."""
        return self.do("warn", payment=payment)

    def make_payout(self, *, fails: bool = False) -> list[Any]:
        """Pay out what is in the balance; one payout per currency."""
        paid: list[Any] = self.do("pay_out", fails=fails)
        return paid

    def events(self) -> list[Any]:
        """Return the events since the last look, the oldest first."""
        found: list[Any] = self.do("events", after=self._seen)
        self._seen = found[-1]["id"] if found else self._seen
        return found

    def calls(self) -> list[Any]:
        """Return the calls to the API so far: method, path, key (of idempotency), params, fault."""
        return [call | {"params": dict(parse_qsl(call["params"]))} for call in self.do("calls")]

    def fail_next(self, how: str, *, times: int = 1) -> None:
        """Let the next calls fail: "429", "500", "lost" (done, but the answer never arrives) or "slow" (30 s)."""
        self.do("fail", how=how, times=times)

    def set_clock(self, at: int | None) -> None:
        """Stand still at a moment (seconds since 1970) until let go with None; no webhook is sent meanwhile."""
        self.do("clock", at=at)

    def post_to(self, url: str, *, secret: str = SECRET) -> None:
        """Send events to this address from now on; "" to stop."""
        self.do("webhook", url=url, secret=secret)

    def deliver(self) -> list[Any]:
        """Send now whatever has not been delivered; returns event, type and status of each."""
        sent: list[Any] = self.do("deliver")
        return sent

    def forget(self) -> None:
        """Begin anew."""
        self.do("forget")
        self.post_to("")
        self._seen = ""

    def __enter__(self) -> Self:
        self.process.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.exit_code() is None:
            if self.answers():
                return self
            time.sleep(0.05)
        self.process.stop()
        raise AssertionError(f"the simulation of Stripe does not start:\n{self.process.log_tail(30)}")

    def __exit__(self, *_: object) -> None:
        self.process.stop()


@pytest.fixture(scope="session")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeDesk]:
    """The process, once for all tests."""
    with StripeDesk(tmp_path_factory.mktemp("stripe")) as desk:
        yield desk


@pytest.fixture
def stripe_desk(simulation: StripeDesk, settings: Settings) -> StripeDesk:
    """An account without a past, which the settings name."""
    simulation.forget()
    settings.STRIPE_API_KEY = KEY
    settings.STRIPE_API_BASE = simulation.base
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    return simulation
