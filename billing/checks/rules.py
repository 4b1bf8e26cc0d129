"""The rules, each as the statement that must hold and the query for what breaks it.

A query returns (subject, detail) per break. `examined` counts what the rule looked at, so that "no breaks" of an empty
table is not taken for a proof.
"""

from dataclasses import dataclass
from typing import Final

from billing.queries.budget_sums import BOOK_CURRENCY


@dataclass(frozen=True, slots=True)
class Rule:
    """One money rule."""

    name: str
    statement: str
    examined: str
    breaks: str


# A record that a budget counts; the charge says the same in `billing.budgeting.Budget.covers`.
_OF_BUDGET: Final = """
    coalesce(r.team_id = b.team_id, b.team_id IS NULL) AND coalesce(r.project_id = b.project_id, b.project_id IS NULL)
    AND coalesce(r.api_key_id = b.api_key_id, b.api_key_id IS NULL) AND b.environment IN ('', r.environment)
    AND coalesce(r.customer_id = b.customer_id, b.customer_id IS NULL) AND b.user IN ('', r.user)
    AND coalesce(r.event_type_id = b.event_type_id, b.event_type_id IS NULL) AND b.agent_type IN ('', r.agent_type)
    AND b.model IN ('', r.model)
"""

# Budgets of an hour have many windows; those before were proven when they were new.
_OF_LATE: Final = "w.ends_at > (SELECT max(ends_at) FROM billing_budgetwindow) - interval '40 days'"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "balance",
        "A wallet's balance is the sum of its lots and of its ledger entries.",
        "SELECT count(*) FROM billing_wallet",
        """
        SELECT 'wallet ' || w.id, format('balance %s, lots %s, entries %s', w.balance, coalesce(l.credits, 0), coalesce(e.credits, 0))
        FROM billing_wallet w
        LEFT JOIN (SELECT wallet_id, sum(remaining) AS credits FROM billing_lot GROUP BY wallet_id) l ON l.wallet_id = w.id
        LEFT JOIN (SELECT wallet_id, sum(credits) AS credits FROM billing_ledgerentry GROUP BY wallet_id) e ON e.wallet_id = w.id
        WHERE w.balance <> coalesce(l.credits, 0) OR w.balance <> coalesce(e.credits, 0)
        """,
    ),
    Rule(
        "lot",
        "What is left of a lot, in credits and in value, is the sum of its ledger entries.",
        "SELECT count(*) FROM billing_lot",
        """
        SELECT 'lot ' || l.id, format('remaining %s worth %s, entries %s worth %s',
                                      l.remaining, l.value_remaining, coalesce(e.credits, 0), coalesce(e.value, 0))
        FROM billing_lot l
        LEFT JOIN (SELECT lot_id, wallet_id, sum(credits) AS credits, sum(value) AS value
                   FROM billing_ledgerentry GROUP BY lot_id, wallet_id) e ON e.lot_id = l.id AND e.wallet_id = l.wallet_id
        WHERE l.remaining <> coalesce(e.credits, 0) OR l.value_remaining <> coalesce(e.value, 0)
        """,
    ),
    Rule(
        "lot_origin",
        "A lot was filled by entries of what it was granted, and its unit value is its value by its credits.",
        "SELECT count(*) FROM billing_lot WHERE kind <> 'overdraft'",
        """
        SELECT 'lot ' || l.id, format('granted %s worth %s at %s, filled with %s worth %s',
                                      l.granted, l.value, l.unit_value, coalesce(e.credits, 0), coalesce(e.value, 0))
        FROM billing_lot l
        LEFT JOIN (SELECT lot_id, wallet_id, sum(credits) AS credits, sum(value) AS value FROM billing_ledgerentry
                   WHERE credits > 0 AND reverses_id IS NULL GROUP BY lot_id, wallet_id) e
               ON e.lot_id = l.id AND e.wallet_id = l.wallet_id
        WHERE l.kind <> 'overdraft' AND (l.granted <> coalesce(e.credits, 0) OR l.value <> coalesce(e.value, 0)
                                         OR l.unit_value <> round(l.value / nullif(l.granted, 0), 12))
        """,
    ),
    Rule(
        "lot_bounds",
        "No lot is below zero or above what was granted; an overdraft is within its limit.",
        "SELECT count(*) FROM billing_lot",
        """
        SELECT 'lot ' || id, format('%s: remaining %s of %s, limit %s', kind, remaining, granted, credit_limit)
        FROM billing_lot
        WHERE CASE kind WHEN 'overdraft' THEN remaining > 0 OR remaining < -credit_limit ELSE remaining < 0 OR remaining > granted END
        """,
    ),
    Rule(
        "running_balance",
        "Every entry's balance after it is the sum of the wallet's entries up to it.",
        "SELECT count(*) FROM billing_ledgerentry",
        """
        SELECT 'entry ' || id, format('balance after %s, sum of entries %s', balance_after, running)
        FROM (SELECT id, balance_after, sum(credits) OVER (PARTITION BY wallet_id ORDER BY id) AS running FROM billing_ledgerentry) e
        WHERE balance_after <> running
        """,
    ),
    Rule(
        "approval",
        "What a second person approved is in the ledger as it was asked for, and in no other way since movements can be asked for.",
        "SELECT count(*) FROM billing_movementrequest",
        """
        SELECT 'request ' || r.id, format('%s of %s, entries of %s', r.kind, r.credits, coalesce(e.credits, 0))
        FROM billing_movementrequest r
        LEFT JOIN LATERAL (SELECT sum(credits) FILTER (WHERE wallet_id = r.wallet_id) AS credits,
                                  bool_and(approved_by_id IS NOT DISTINCT FROM r.decided_by_id) AS is_approved
                           FROM billing_ledgerentry WHERE transaction_id = r.transaction_id) e ON true
        WHERE r.state = 'approved'
          AND (e.is_approved IS NOT TRUE OR e.credits <> r.credits * CASE r.kind WHEN 'transfer' THEN -1 ELSE 1 END
               OR r.decided_by_id = r.requested_by_id)
        UNION ALL
        SELECT 'entry ' || e.id, format('approved by user %s, no request says so', e.approved_by_id)
        FROM billing_ledgerentry e
        LEFT JOIN billing_movementrequest r
               ON r.transaction_id = e.transaction_id AND r.state = 'approved' AND r.decided_by_id = e.approved_by_id
        WHERE e.approved_by_id IS NOT NULL AND r.id IS NULL
          AND e.kind IN ('grant', 'adjustment', 'transfer', 'refund') AND e.actor LIKE 'user:%'
          AND e.id > coalesce((SELECT entry_id FROM billing_ruleboundary WHERE rule = 'approval'), 0)
        """,
    ),
    Rule(
        "held",
        "A wallet's held credits are the sum of its open holds.",
        "SELECT count(*) FROM billing_wallet",
        """
        SELECT 'wallet ' || w.id, format('held %s, open holds %s', w.held, coalesce(h.credits, 0))
        FROM billing_wallet w
        LEFT JOIN (SELECT wallet_id, sum(credits) AS credits FROM billing_hold WHERE status = 'open' GROUP BY wallet_id) h
               ON h.wallet_id = w.id
        WHERE w.held <> coalesce(h.credits, 0)
        """,
    ),
    Rule(
        "price_version",
        "Every charge has a price version of its own event type that was active when the action occurred.",
        "SELECT count(*) FROM billing_ledgerentry WHERE kind = 'charge'",
        """
        SELECT 'entry ' || e.id, format('occurred %s, price version %s valid from %s to %s',
                                        e.occurred_at, e.price_version_id, v.effective_from, v.effective_to)
        FROM billing_ledgerentry e
        LEFT JOIN pricing_priceversion v ON v.id = e.price_version_id LEFT JOIN pricing_pricerule r ON r.id = v.rule_id
        WHERE e.kind = 'charge' AND (v.id IS NULL OR e.occurred_at < v.effective_from OR e.occurred_at >= v.effective_to
                                     OR r.event_type_id <> e.event_type_id)
        """,
    ),
    Rule(
        "usage_record",
        "What a usage record says that an action cost is what its entries took, and its price lines add up to it.",
        "SELECT count(*) FROM billing_usagerecord",
        """
        SELECT 'event evt_' || u.id, format('credits %s, entries %s, price lines %s', u.credits, coalesce(e.credits, 0), p.credits)
        FROM billing_usagerecord u
        LEFT JOIN (SELECT transaction_id, -sum(credits) AS credits FROM billing_ledgerentry WHERE kind = 'charge' GROUP BY transaction_id) e
               ON e.transaction_id = u.id
        CROSS JOIN LATERAL (SELECT coalesce(sum((line->>'credits')::numeric), 0) AS credits
                            FROM jsonb_array_elements(u.price_lines) line) p
        WHERE u.credits <> coalesce(e.credits, 0) OR u.credits <> p.credits
        """,
    ),
    Rule(
        "token_count",
        "The parts of a record's tokens are within their whole, and the cost lines of a priced one count each token once.",
        "SELECT count(*) FROM billing_usagerecord",
        """
        SELECT 'event evt_' || u.id,
               format('input %s, output %s; cache read %s, written %s (%s for an hour), audio in %s, reasoning %s, audio out %s;'
                      ' cost lines of %s and %s tokens', u.input_tokens, u.output_tokens, u.cache_read_tokens, u.cache_write_tokens,
                      u.cache_write_1h_tokens, u.audio_input_tokens, u.reasoning_tokens, u.audio_output_tokens, c.input, c.output)
        FROM billing_usagerecord u
        CROSS JOIN LATERAL (
            SELECT coalesce(sum((line->>'quantity')::numeric) FILTER (
                       WHERE line->>'unit' IN ('input', 'cache_read', 'cache_write', 'cache_write_1h', 'audio_input')), 0) AS input,
                   coalesce(sum((line->>'quantity')::numeric) FILTER (
                       WHERE line->>'unit' IN ('output', 'reasoning', 'audio_output')), 0) AS output
            FROM jsonb_array_elements(u.cost_lines) line
        ) c
        WHERE u.cache_read_tokens + u.cache_write_tokens + u.audio_input_tokens > u.input_tokens
           OR u.cache_write_1h_tokens > u.cache_write_tokens
           OR u.reasoning_tokens + u.audio_output_tokens > u.output_tokens
           OR u.cost_status = 'priced' AND (c.input <> u.input_tokens OR c.output <> u.output_tokens)
        """,
    ),
    Rule(
        "provider_cost",
        "A priced record's cost is the sum of its cost lines, and stands on the first entry of its charge.",
        "SELECT count(*) FROM billing_usagerecord WHERE cost_status = 'priced'",
        """
        SELECT 'event evt_' || u.id, format('cost %s, cost lines %s, entry %s', u.cost_amount, c.amount, e.amount)
        FROM billing_usagerecord u
        CROSS JOIN LATERAL (SELECT coalesce(sum((line->>'amount')::numeric), 0) AS amount FROM jsonb_array_elements(u.cost_lines) line) c
        LEFT JOIN (SELECT transaction_id, sum(provider_cost) AS amount FROM billing_ledgerentry
                   WHERE kind = 'charge' GROUP BY transaction_id) e
               ON e.transaction_id = u.id
        WHERE u.cost_status = 'priced'
          AND (u.cost_amount IS DISTINCT FROM c.amount OR (u.credits <> 0 AND e.amount IS DISTINCT FROM u.cost_amount))
        """,
    ),
    Rule(
        "cost_adjustment",
        "A cost adjustment is the difference between the cost before and after, and its lines add up to the cost after.",
        "SELECT count(*) FROM billing_costadjustment",
        """
        SELECT 'event evt_' || a.usage_record_id,
               format('adjusted by %s, from %s to %s, lines %s', a.amount, a.amount_before, a.amount_after, c.amount)
        FROM billing_costadjustment a
        CROSS JOIN LATERAL (SELECT coalesce(sum((line->>'amount')::numeric), 0) AS amount FROM jsonb_array_elements(a.lines) line) c
        WHERE a.amount <> a.amount_after - coalesce(a.amount_before, 0) OR a.amount_after <> c.amount OR a.status_after <> 'priced'
        """,
    ),
    Rule(
        "adjustment_chain",
        "The adjustments of a record are numbered without a gap; the first begins with the cost of the record and of the entry"
        " of its charge, each other one where the one before it ended, and none was recorded before its re-rating was requested.",
        "SELECT count(*) FROM billing_costadjustment",
        """
        SELECT 'event evt_' || a.usage_record_id,
               format('adjustment %s begins with %s, what stood there is %s', a.number, a.amount_before,
                      coalesce(p.amount_after, u.cost_amount, e.amount))
        FROM billing_costadjustment a
        JOIN billing_rerating r ON r.id = a.rerating_id
        LEFT JOIN billing_costadjustment p ON p.usage_record_id = a.usage_record_id AND p.number = a.number - 1
        LEFT JOIN billing_usagerecord u ON a.number = 1 AND u.id = a.usage_record_id AND u.occurred_at = a.occurred_at
        LEFT JOIN (SELECT transaction_id, sum(provider_cost) AS amount FROM billing_ledgerentry
                   WHERE kind = 'charge' GROUP BY transaction_id) e ON a.number = 1 AND e.transaction_id = a.usage_record_id
        WHERE a.recorded_at < r.requested_at
           OR CASE WHEN a.number = 1
                   THEN u.cost_amount IS DISTINCT FROM a.amount_before AND u.id IS NOT NULL
                        OR u.cost_status <> a.status_before
                        OR e.transaction_id IS NOT NULL AND e.amount IS DISTINCT FROM a.amount_before
                   ELSE p.id IS NULL OR (p.status_after, p.amount_after, p.currency) IS DISTINCT FROM
                                        (a.status_before, a.amount_before, a.currency) END
        """,
    ),
    Rule(
        "idempotency",
        "Every usage record and every charge has its idempotency key, so that it can never be charged again.",
        "SELECT count(*) FROM billing_usagerecord",
        """
        SELECT 'event evt_' || u.id, format('%s keys', count(k.key))
        FROM billing_usagerecord u
        LEFT JOIN billing_idempotencykey k ON k.operation = 'event' AND k.effect_id = u.id AND k.project_id = u.project_id
        GROUP BY u.id HAVING count(k.key) <> 1
        UNION ALL
        SELECT 'transaction ' || e.transaction_id, 'a charge without its key'
        FROM billing_ledgerentry e
        WHERE e.kind = 'charge' AND NOT EXISTS (
            SELECT FROM billing_idempotencykey k WHERE k.operation = 'event' AND k.effect_id = e.transaction_id)
        """,
    ),
    Rule(
        "deposit",
        "Every deposit has its payment or an approver, fills its lot, and the lots of a payment are worth what was paid.",
        "SELECT count(*) FROM billing_ledgerentry WHERE kind = 'deposit'",
        """
        SELECT 'entry ' || e.id, format('deposit of %s worth %s into a lot of %s worth %s', e.credits, e.value, l.granted, l.value)
        FROM billing_ledgerentry e JOIN billing_lot l ON l.id = e.lot_id LEFT JOIN billing_payment p ON p.id = e.payment_id
        WHERE e.kind = 'deposit'
          AND (p.id IS NULL AND e.approved_by_id IS NULL OR e.payment_id IS DISTINCT FROM l.payment_id
               OR e.credits <> l.granted OR e.value <> l.value)
        UNION ALL
        SELECT 'payment ' || p.id, format('paid %s, lots worth %s', p.amount, coalesce(sum(l.value), 0))
        FROM billing_payment p LEFT JOIN billing_lot l ON l.payment_id = p.id
        GROUP BY p.id HAVING p.amount <> coalesce(sum(l.value), 0)
        """,
    ),
    Rule(
        "reversal",
        "Reversals go back to the lot of their original and never exceed it.",
        "SELECT count(*) FROM billing_ledgerentry WHERE reverses_id IS NOT NULL",
        """
        SELECT 'entry ' || o.id, format('%s worth %s, reversed by %s worth %s', o.credits, o.value, sum(r.credits), sum(r.value))
        FROM billing_ledgerentry r JOIN billing_ledgerentry o ON o.id = r.reverses_id
        GROUP BY o.id
        HAVING bool_or(r.lot_id <> o.lot_id) OR bool_or(r.credits * o.credits >= 0)
            OR abs(sum(r.credits)) > abs(o.credits) OR abs(sum(r.value)) > abs(o.value)
        """,
    ),
    Rule(
        "transfer",
        "A transfer takes as many credits as it gives.",
        "SELECT count(*) FROM billing_ledgerentry WHERE kind = 'transfer'",
        """
        SELECT 'transaction ' || transaction_id, format('sum %s', sum(credits))
        FROM billing_ledgerentry WHERE kind = 'transfer' GROUP BY transaction_id HAVING sum(credits) <> 0
        """,
    ),
    Rule(
        "hold",
        "A captured hold names a charge of what the hold says.",
        "SELECT count(*) FROM billing_hold WHERE status = 'captured'",
        """
        SELECT 'hold ' || h.id, format('captured %s, entries %s', h.captured_credits, coalesce(e.credits, 0))
        FROM billing_hold h
        LEFT JOIN (SELECT transaction_id, -sum(credits) AS credits FROM billing_ledgerentry WHERE kind = 'charge' GROUP BY transaction_id) e
               ON e.transaction_id = h.usage_record_id
        WHERE h.status = 'captured' AND coalesce(e.credits, 0) <> h.captured_credits
        """,
    ),
    Rule(
        "topup",
        "Every paid top-up has one payment of its own at Stripe, worth what was sold, and brought the credits that were sold; and"
        " every payment through Stripe paid one.",
        "SELECT count(*) FROM billing_topup WHERE status = 'paid'",
        """
        SELECT 'top-up ' || t.id, format('sold %s and %s credits for %s by %s, payment %s of %s, lots of %s', t.credits, t.bonus_credits,
                                         t.book_value, t.payment_intent, p.external_id, p.amount, l.credits)
        FROM billing_topup t LEFT JOIN billing_payment p ON p.id = t.payment_id
        LEFT JOIN (SELECT payment_id, sum(granted) AS credits FROM billing_lot WHERE payment_id IS NOT NULL GROUP BY payment_id) l
               ON l.payment_id = p.id
        WHERE t.status = 'paid'
          AND ((p.source, p.external_id, p.amount, p.wallet_id) IS DISTINCT FROM ('stripe', t.payment_intent, t.book_value, t.wallet_id)
               OR l.credits IS DISTINCT FROM t.credits + t.bonus_credits)
        UNION ALL
        SELECT 'payment ' || p.id, format('%s of Stripe without a top-up', p.external_id)
        FROM billing_payment p WHERE p.source = 'stripe' AND NOT EXISTS (SELECT FROM billing_topup t WHERE t.payment_id = p.id)
        """,
    ),
    Rule(
        "money_back",
        "Refunds of top-ups and disputes took the credits that they say, and put back those of one that failed or was won.",
        "SELECT count(*) FROM billing_topuprefund WHERE withdrawal IS NOT NULL",
        """
        WITH back AS (
            SELECT 'refund ' || r.id AS subject, r.credits, array_remove(ARRAY[r.withdrawal], NULL) AS withdrawals, r.given_back,
                   r.state = 'failed' AS is_undone, t.payment_id, r.state IN ('pending', 'succeeded') AS is_away, true AS is_once
            FROM billing_topuprefund r JOIN billing_topup t ON t.id = r.topup_id
            UNION ALL
            SELECT 'dispute ' || d.id, d.credits, array_remove(d.earlier_withdrawals || d.withdrawal, NULL), d.given_back,
                   d.state IN ('won', 'closed'), t.payment_id, d.state IN ('open', 'lost'), false
            FROM billing_dispute d JOIN billing_topup t ON t.id = d.topup_id
        )
        SELECT b.subject, format('took %s by transactions %s, whose withdrawals are %s, less %s given back; the last by %s', b.credits,
                                 b.withdrawals, e.credits, g.credits, b.given_back)
        FROM back b
        CROSS JOIN LATERAL (SELECT coalesce(-sum(credits), 0) AS credits, coalesce(bool_and(payment_id = b.payment_id), true) AS is_of_it,
                                   count(DISTINCT transaction_id) AS transactions
                            FROM billing_ledgerentry WHERE transaction_id = ANY(b.withdrawals) AND kind = 'withdrawal') e
        CROSS JOIN LATERAL (SELECT coalesce(sum(r.credits), 0) AS credits
                            FROM billing_ledgerentry r JOIN billing_ledgerentry o ON o.id = r.reverses_id
                            WHERE o.transaction_id = ANY(b.withdrawals) AND o.kind = 'withdrawal') g
        WHERE NOT e.is_of_it OR e.transactions <> cardinality(b.withdrawals)
           OR b.credits > e.credits OR b.is_once AND b.credits <> e.credits
           -- A dispute that was won and lost after all took what it had left in the wallet, and holds what it says.
           OR b.is_away AND b.credits <> e.credits - g.credits
           OR NOT b.is_undone AND b.given_back IS NOT NULL
           -- Where a refund and a dispute were about the same money, the one that stays keeps the credits of the other.
           OR b.is_undone AND NOT EXISTS (SELECT FROM back o WHERE o.payment_id = b.payment_id AND o.is_away)
              AND e.credits <> g.credits
        """,
    ),
    Rule(
        "money_gone",
        "Of the credits that a top-up sold, as many are gone as of its money; where refunds and disputes overlap, it counts once.",
        "SELECT count(DISTINCT topup_id) FROM (SELECT topup_id FROM billing_topuprefund UNION SELECT topup_id FROM billing_dispute) t",
        """
        SELECT 'top-up ' || t.id, format('%s of %s are gone, and %s of %s credits', m.gone, t.amount_minor, c.gone, t.credits)
        FROM billing_topup t
        JOIN LATERAL (SELECT least(coalesce(sum(amount), 0), t.amount_minor) AS gone FROM (
                          SELECT amount_minor AS amount FROM billing_topuprefund
                          WHERE topup_id = t.id AND unapplied_id IS NULL AND state IN ('pending', 'succeeded')
                          UNION ALL
                          SELECT CASE currency WHEN t.currency THEN amount_minor ELSE t.amount_minor END FROM billing_dispute
                          WHERE topup_id = t.id AND state IN ('open', 'lost')) back) m ON true
        JOIN LATERAL (SELECT coalesce(-sum(e.credits), 0) AS gone
                      FROM billing_ledgerentry e JOIN billing_lot l ON l.id = e.lot_id
                      WHERE e.wallet_id = t.wallet_id AND e.payment_id = t.payment_id AND e.kind = 'withdrawal'
                        AND NOT (l.kind = 'promotional' AND l.payment_id = t.payment_id)) c ON true
        WHERE t.status = 'paid'
          AND (t.id IN (SELECT topup_id FROM billing_topuprefund) OR t.id IN (SELECT topup_id FROM billing_dispute))
          AND abs(c.gone - t.credits * m.gone / t.amount_minor) > 0.000001
        """,
    ),
    Rule(
        "platform_fee",
        "A fee is that of its balance transaction, which belongs to the payment: of its top-up, or of a refund or a dispute of it.",
        "SELECT count(*) FROM billing_platformfee",
        """
        SELECT 'fee of ' || f.balance_transaction, format('%s %s of payment %s; Stripe says %s %s, about %s', f.amount_minor, f.currency,
                                                          f.payment_id, b.fee_minor, b.currency, b.source)
        FROM billing_platformfee f JOIN billing_balancetransaction b ON b.stripe_id = f.balance_transaction
        WHERE (f.amount_minor, f.currency) <> (b.fee_minor, b.currency)
           OR NOT EXISTS (
               SELECT FROM billing_topup t WHERE t.payment_id = f.payment_id AND (
                   b.source <> '' AND t.charge = b.source OR b.payment_intent <> '' AND t.payment_intent = b.payment_intent
                   OR EXISTS (SELECT FROM billing_topuprefund r WHERE r.topup_id = t.id AND r.stripe_id = b.source)
                   OR EXISTS (SELECT FROM billing_dispute d WHERE d.topup_id = t.id AND d.stripe_id = b.source)))
        """,
    ),
    Rule(
        "payout",
        "The balance transactions of a payout that is reconciled add up to it.",
        "SELECT count(*) FROM billing_payout WHERE is_reconciled",
        """
        SELECT 'payout ' || p.stripe_id, format('paid out %s, its balance transactions are %s', p.amount_minor, coalesce(b.net, 0))
        FROM billing_payout p
        LEFT JOIN LATERAL (SELECT sum(net_minor) AS net FROM billing_balancetransaction
                           WHERE payout_id = p.id AND currency = p.currency AND source <> p.stripe_id) b ON true
        WHERE p.is_reconciled AND p.amount_minor IS DISTINCT FROM b.net
        """,
    ),
    Rule(
        "budget",
        "What a budget spent in a window is the sum of the usage in it, with what re-rating found since, as far as it has been counted.",
        f"SELECT count(*) FROM billing_budgetwindow w WHERE {_OF_LATE}",
        f"""
        SELECT 'budget ' || b.name, format('%s in the window from %s, usage %s', w.spent, w.starts_at, r.amount + coalesce(a.amount, 0))
        FROM billing_budgetwindow w JOIN billing_budget b ON b.id = w.budget_id AND b.ended_at IS NULL
        CROSS JOIN (SELECT coalesce(max(record_id), 0) AS record_id, coalesce(max(adjustment_id), 0) AS adjustment_id
                    FROM billing_budgetfold) f
        CROSS JOIN (SELECT {BOOK_CURRENCY} AS currency) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(CASE b.measure
                WHEN 'credits' THEN r.credits
                WHEN 'cost' THEN CASE WHEN r.cost_currency = s.currency THEN coalesce(r.cost_amount, 0) ELSE 0 END
                WHEN 'tokens' THEN r.input_tokens + r.output_tokens
                ELSE greatest(r.requests, 1) END), 0) AS amount
            FROM billing_usagerecord r
            WHERE r.occurred_at >= w.starts_at AND r.occurred_at < w.ends_at
              AND (b.action = 'block' OR r.id <= f.record_id) AND {_OF_BUDGET}
        ) r
        LEFT JOIN LATERAL (
            SELECT sum(CASE WHEN a.currency = s.currency THEN a.amount ELSE 0 END) AS amount
            FROM billing_costadjustment a JOIN billing_usagerecord r ON r.id = a.usage_record_id AND r.occurred_at = a.occurred_at
            WHERE r.occurred_at >= w.starts_at AND r.occurred_at < w.ends_at AND a.id <= f.adjustment_id AND {_OF_BUDGET}
        ) a ON b.measure = 'cost'
        WHERE {_OF_LATE} AND w.spent <> r.amount + coalesce(a.amount, 0)
        """,
    ),
)
