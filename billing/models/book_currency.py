"""The book currency, once something is booked in it.

Every value in the ledger is in the workspace's currency and none of them names it, so another currency would turn all that was
booked into other amounts. The workspace is a row of `pricing`, which knows no ledger: the rule lies here, on its table.
"""

import pgtrigger

from pricing.models import Workspace

_KEEPS_ITS_CURRENCY = """
    -- Whoever is writing the first entry is waited for, and nobody writes one until this change is committed.
    IF NOT EXISTS (SELECT FROM billing_ledgerentry) THEN
        LOCK TABLE billing_ledgerentry IN SHARE MODE;
    END IF;
    IF EXISTS (SELECT FROM billing_ledgerentry) THEN
        RAISE EXCEPTION 'The book currency stays %: the ledger has entries in it.', OLD.currency USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
"""


class BookCurrency(Workspace):
    """The workspace as the ledger sees it."""

    class Meta:
        proxy = True
        default_permissions = ()
        triggers = (
            pgtrigger.Trigger(
                name="keeps_its_currency",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("currency"),
                condition=pgtrigger.Condition("OLD.currency IS DISTINCT FROM NEW.currency"),
                func=_KEEPS_ITS_CURRENCY,
            ),
        )
