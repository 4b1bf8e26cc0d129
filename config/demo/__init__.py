"""The demo company: a believable firm to look at. Invented from end to end, and it says so wherever its name is shown.

Its projects carry `is_demo` and "(demo)" in their names, its people and customers have addresses at example.com. All of
it goes through the same services as real traffic, in the order of time: prices are published, credits bought, actions
charged, lots expired, hours sealed, each with the moment when it would have happened. The provider rates are real
(imported from genai-prices); every other figure is made up.

* The last `DAYS` days before `now` are filled, so that the demo is fresh on whatever day it is made.
* The same seed on the same `now` gives the same company: each day and product draws from a random stream of its own, and
  a later `now` on the same day only adds to it. Secrets of keys, and the password, are not drawn from the seed.
* A second run finds it and does nothing. What an interrupted run left cannot be taken back, since a ledger forgets
  nothing: start again on an empty database.

What there is to find, each part in the module that makes it:

| what | where |
|---|---|
| four teams with budget owners and cost centres, five projects, keys in several environments, a user for each role | `people` |
| a price list with a history, a plan's and a customer's own prices, one change that is still to come | `price_list` |
| what was decided on the Pricing Advisor's advice; what it proposes now follows from the usage | `decisions` |
| 150 customers on three plans; who tops up, who runs dry, who owes, who is frozen | `buyers` |
| working days and nights, growth, drift to a dearer model and longer prompts, one day of retries | `shape`, `traffic` |
| budgets: green, yellow, red with an exception, and one that heads for its end | `limits` |
| pipeline runs with agent jobs of every type | `agent_work` |
| credit packs, and orders paid through a simulated Stripe: late, declined, expired, refunded, disputed, paid out | `top_ups` |
| a break of the reconciliation, a dead letter and an auto top-up with a saved card, to try the buttons on | `to_try` |
| payments at several unit values, grants that expire, refunds, adjustments, holds, a late event | `money` |
"""

DAYS = 90
SEED = 2026
