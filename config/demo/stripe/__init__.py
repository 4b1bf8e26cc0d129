"""A simulation of Stripe, for the demo and for tests of what no other stand-in can do. No money moves.

A small process of its own that speaks the part of Stripe's API that the desk uses, so that the desk talks to it through
the same library, over HTTP, with signed webhooks, as to Stripe itself. It knows nothing of Django or of the desk.

* Requests may hold only what stripe-python declares for the call (`params`), objects only what it declares for the
  object (`objects`). Neither can drift from Stripe without an error.
* `account` is what happens: payments, refunds, disputes, payouts, each with its balance transactions and its events.
* Buyers meet a hosted page, whoever runs the demo a control page (`pages`). What a bank or a buyer does is asked for by
  `control`, never by the API.
* `webhooks` delivers the events, signed, and again until somebody answers 200.
* `state` is one JSON file. A killed simulation knows afterwards what it had answered.

Where it is simpler than Stripe: one account in test mode, each currency settles in itself, fees are 2.9 % + 30 minor units
and 1500 for a dispute, cards are charged in full at once. A refund that fails counts as not refunded. Objects hold the
fields that a reader of them may need, not all that Stripe sends.
"""

from typing import Final

KEY: Final = "sk_test_simulation"
SECRET: Final = "whsec_simulation"  # noqa: S105 - of a simulation; public by intent
