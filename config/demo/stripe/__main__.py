"""`python -m config.demo.stripe`: the simulation as a process."""

import os
import threading
import time
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path

from config.demo.stripe import SECRET
from config.demo.stripe.account import Account
from config.demo.stripe.server import Desk, Server
from config.demo.stripe.state import State
from config.demo.stripe.webhooks import Webhooks

_TICK_SECONDS = 5


def main() -> None:
    """Serve until stopped."""
    parser = ArgumentParser(prog="python -m config.demo.stripe", description="Simulate Stripe. No money moves.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on (8001)")
    parser.add_argument("--address", default="", help="how browsers reach it (http://HOST:PORT)")
    parser.add_argument("--state", type=Path, required=True, help="the JSON file that it keeps")
    parser.add_argument("--webhook", default="", help="where events are sent, signed by STRIPE_WEBHOOK_SECRET; nowhere by default")
    asked = parser.parse_args()
    state = State(asked.state)
    account = Account(state, asked.address or f"http://{asked.host}:{asked.port}")
    webhooks = Webhooks(state, asked.webhook, os.environ.get("STRIPE_WEBHOOK_SECRET") or SECRET)
    with Server((asked.host, asked.port), Desk(account, webhooks)) as server:
        state.save()
        webhooks.start()
        threading.Thread(target=_keep_time, args=(account, webhooks), daemon=True).start()
        server.serve_forever()


def _keep_time(account: Account, webhooks: Webhooks) -> None:
    """End links whose time is over, and drop what Stripe would have forgotten."""
    while True:
        time.sleep(_TICK_SECONDS)
        with account.state.lock, suppress(OSError):  # a full disk: next time
            if account.checkout.expire_due() + account.state.forget_old():
                account.state.save()
                webhooks.woken.set()


if __name__ == "__main__":
    main()
