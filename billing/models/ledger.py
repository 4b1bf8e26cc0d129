"""Ledger entries: every movement of every credit, once, for ever.

An entry moves credits in one lot. Entries written together for one cause share a `transaction_id`; a charge that spans
two lots is two entries of one transaction. Entries are never changed or deleted: a correction is an opposite entry that
names what it reverses and goes back to the lot that it came from.

Writing an entry is the only way to move credits. The trigger `post_entries` runs once per statement, refuses what the
money rules forbid, and then moves the lots and the wallets by the sums of the new entries, so that
balance = lots = entries holds by construction. The CHECK constraints of lots then refuse any overspending.
"""

import pgtrigger
from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from billing.models.fields import balance_field, credits_field, money_field
from billing.models.lot import Lot
from billing.models.payment import Payment
from billing.models.wallet import Wallet
from config.base.exact import plain
from config.base.models import append_only, never_truncated


class EntryKind(models.TextChoices):
    DEPOSIT = "deposit", "Top-up"  # credits bought: a payment stands behind it
    GRANT = "grant"  # credits given
    CHARGE = "charge"  # an action paid for
    REFUND = "refund"  # a charge given back, to the lots that it came from
    ADJUSTMENT = "adjustment"  # a correction by a person, with a reason
    WITHDRAWAL = "withdrawal"  # a top-up given back: refund of money, chargeback
    EXPIRY = "expiry"  # credits past their date: breakage
    TRANSFER = "transfer"  # from one lot to another: settles an overdraft, moves credits between wallets


_POST_ENTRIES = """
    IF EXISTS (
        SELECT FROM new_entries e LEFT JOIN pricing_priceversion v ON v.id = e.price_version_id
        WHERE e.kind = 'charge'
          AND (v.id IS NULL OR e.occurred_at < v.effective_from OR e.occurred_at >= v.effective_to)
    ) THEN
        RAISE EXCEPTION 'A charge needs a price version that was active when the action occurred.';
    END IF;

    -- Sealing takes this lock alone: no entry commits into an hour while it is being sealed.
    PERFORM pg_advisory_xact_lock_shared(7300003);
    IF (SELECT min(recorded_at) FROM new_entries) < (SELECT max(ends_at) FROM billing_seal) THEN
        RAISE EXCEPTION 'This hour of the ledger is sealed: record the entry now, with the time that it occurred.'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    UPDATE billing_lot l SET remaining = l.remaining + d.credits, value_remaining = l.value_remaining + d.value
    FROM (SELECT lot_id, min(wallet_id) AS wallet_id, max(wallet_id) AS last_wallet_id, sum(credits) AS credits, sum(value) AS value
          FROM new_entries GROUP BY lot_id ORDER BY lot_id) d
    WHERE l.id = d.lot_id AND l.wallet_id = d.wallet_id AND l.wallet_id = d.last_wallet_id;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> (SELECT count(DISTINCT lot_id) FROM new_entries) THEN
        RAISE EXCEPTION 'An entry names a lot that is not of its wallet.';
    END IF;

    UPDATE billing_wallet w SET balance = w.balance + d.credits
    FROM (SELECT wallet_id, sum(credits) AS credits FROM new_entries GROUP BY wallet_id ORDER BY wallet_id) d
    WHERE w.id = d.wallet_id;

    -- After the wallets, whose row locks make a concurrent reversal wait: each statement here sees what is committed by then.
    IF EXISTS (SELECT FROM new_entries WHERE reverses_id IS NOT NULL) AND EXISTS (
        SELECT FROM billing_ledgerentry o
        JOIN billing_ledgerentry r ON r.reverses_id = o.id
        WHERE o.id IN (SELECT reverses_id FROM new_entries)
        GROUP BY o.id, o.lot_id, o.credits, o.value
        HAVING bool_or(r.lot_id <> o.lot_id) OR bool_or(r.credits * o.credits >= 0)
            OR abs(sum(r.credits)) > abs(o.credits) OR abs(sum(r.value)) > abs(o.value)
    ) THEN
        RAISE EXCEPTION 'A reversal goes back to the lot of its original and never exceeds it.';
    END IF;
    RETURN NULL;
"""

# What people move by hand. Money that goes back to buyers has a limit and a second person of its own (`TopUpRefund`).
BY_HAND = Q(kind__in=("grant", "adjustment", "transfer", "refund"), actor__startswith="user:", payment__isnull=True)
_IS_BY_HAND = (
    "NEW.kind IN ('grant', 'adjustment', 'transfer', 'refund') AND NEW.actor LIKE 'user:%' AND NEW.payment_id IS NULL"
    " AND NEW.approved_by_id IS {}NULL"
)
# A transaction counts by what it did to the balance: what moves between lots of one wallet counts for nothing.
_ONE_PERSON = """
    PERFORM FROM billing_wallet WHERE id = NEW.wallet_id FOR NO KEY UPDATE;
    IF (SELECT sum(abs(credits)) FROM (
            SELECT sum(credits) AS credits FROM billing_ledgerentry
            WHERE wallet_id = NEW.wallet_id AND actor = NEW.actor AND recorded_at > NEW.recorded_at - interval '24 hours'
              AND kind IN ('grant', 'adjustment', 'transfer', 'refund') AND actor LIKE 'user:%'
              AND payment_id IS NULL AND approved_by_id IS NULL
            GROUP BY transaction_id
        ) moved) > (SELECT approval_limit_credits FROM pricing_workspace)
    THEN
        RAISE EXCEPTION 'This is more than one person may move on a wallet within 24 hours: ask for a second person''s approval.';
    END IF;
    RETURN NULL;
"""
_TWO_PEOPLE = """
    IF NOT EXISTS (
        SELECT FROM billing_movementrequest
        WHERE transaction_id = NEW.transaction_id AND state = 'approved' AND decided_by_id = NEW.approved_by_id
    ) THEN
        RAISE EXCEPTION 'What a second person approved names the request that they approved.';
    END IF;
    RETURN NULL;
"""


class LedgerEntry(models.Model):
    transaction_id = models.BigIntegerField(help_text="Shared by the entries of one cause; of a charge, the usage record's id.")
    # Existence of wallet, lot and price version is proven by post_entries, once a statement; a foreign key would look each
    # of them up for every row and lock the one row of a price version that all charges share. None of them can be deleted.
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries", db_constraint=False, db_index=False)
    lot = models.ForeignKey(Lot, on_delete=models.PROTECT, related_name="entries", db_constraint=False, db_index=False)
    kind = models.CharField(max_length=10, choices=EntryKind.choices)
    credits = credits_field()
    value = money_field(help_text="Book currency: revenue recognised, deferred revenue released, or breakage.")
    provider_cost = money_field(null=True, blank=True, help_text="What the action cost us, on the first entry of its charge.")
    platform_fee = money_field(null=True, blank=True, help_text="What the payment cost us.")
    balance_after = balance_field()
    # Of charges, the usage record keeps it.
    available_after = balance_field(null=True, blank=True)
    actor = models.CharField(max_length=80, help_text="user:<name>, key:<id> or system:<task>.")
    reason = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    project = models.ForeignKey(
        "billing.Project", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    event_type = models.ForeignKey(
        "pricing.EventType", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    model = models.CharField(max_length=128, blank=True)
    usage_record_id = models.BigIntegerField(null=True)
    price_version = models.ForeignKey(
        "pricing.PriceVersion", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    payment = models.ForeignKey(Payment, null=True, on_delete=models.PROTECT, related_name="entries", db_index=False)
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    reverses = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="reversals", db_index=False)
    occurred_at = models.DateTimeField(help_text="When it happened; chooses the price.")
    recorded_at = models.DateTimeField(help_text="When the ledger learned of it; chooses the seal.")

    class Meta:
        verbose_name_plural = "ledger entries"
        indexes = (
            models.Index(fields=("wallet", "-id"), name="entry_of_wallet"),
            models.Index(fields=("transaction_id",), name="entry_of_transaction"),
            models.Index(fields=("reverses",), condition=Q(reverses__isnull=False), name="entry_reversal"),
            models.Index(
                fields=("wallet", "actor", "recorded_at"), condition=BY_HAND & Q(approved_by__isnull=True), name="entry_by_one_person"
            ),
            BrinIndex(fields=("recorded_at",), name="entry_by_time", pages_per_range=32),
        )
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=EntryKind.values), name="entry_kind_is_known"),
            models.CheckConstraint(condition=~Q(credits=0), name="entry_moves_credits"),
            models.CheckConstraint(
                # Their like undoes them: money back that failed, a dispute that was won, a refund of credits that had expired.
                condition=~Q(kind__in=["charge", "withdrawal", "expiry"])
                | Q(credits__lt=0)
                | Q(kind__in=["withdrawal", "expiry"], reverses__isnull=False),
                name="entry_takes_credits",
            ),
            models.CheckConstraint(condition=~Q(kind__in=["deposit", "grant", "refund"]) | Q(credits__gt=0), name="entry_gives_credits"),
            models.CheckConstraint(
                condition=~Q(kind="charge") | Q(price_version__isnull=False, usage_record_id__isnull=False),
                name="entry_charge_has_price_and_usage",
            ),
            models.CheckConstraint(
                condition=~Q(kind="deposit") | Q(payment__isnull=False) | Q(approved_by__isnull=False),
                name="entry_deposit_has_payment_or_approver",
            ),
            models.CheckConstraint(condition=~Q(kind="refund") | Q(reverses__isnull=False), name="entry_refund_names_its_charge"),
            models.CheckConstraint(condition=~Q(kind__in=["grant", "adjustment"]) | ~Q(reason=""), name="entry_by_hand_has_a_reason"),
            models.CheckConstraint(condition=~Q(actor=""), name="entry_has_an_actor"),
        )
        triggers = (
            append_only(),
            never_truncated(),
            pgtrigger.Trigger(
                name="post_entries",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="new_entries"),
                declare=[("moved", "bigint")],
                func=_POST_ENTRIES,
            ),
            # Of a row of a charge these cost a look at its kind: their conditions are asked before anything is called.
            pgtrigger.Trigger(
                name="one_person_moves_within_the_limit",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition(_IS_BY_HAND.format("")),
                func=_ONE_PERSON,
            ),
            pgtrigger.Trigger(
                name="two_people_have_a_request",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,  # the request names the entries, which are written first
                condition=pgtrigger.Condition(_IS_BY_HAND.format("NOT ")),
                func=_TWO_PEOPLE,
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {plain(self.credits)}"
