"""The yardstick: pgbench running the same transaction as one function in the database, without HTTP, Python or JSON.

`bench_charge` does what a single call does: lock the wallet, read its lots, claim the key, write the full usage record and
the ledger entry, whose trigger moves lot and wallet. `bench_charge_many` does the same for a thousand events in one
statement each: the limit of what set-based writing can reach.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.benchmarks.stage import WALLETS

# {} is the number of events of a call; the record is the one that the API writes for the documented body.
_RECORD = """
    INSERT INTO billing_usagerecord (id, occurred_at, recorded_at, request_id, trace_id, gateway_log_id, batch_job_id, project_id,
        api_key_id, environment, team_id, cost_center, customer_id, "user", service_account, workflow, run_id, job_id, agent_type,
        event_type_id, quantity, provider, model, endpoint, modality, service_tier, route_group, final_route, input_tokens,
        output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens,
        audio_output_tokens, images, video_seconds, requests, fallbacks, retries, is_batch, is_stream, is_accepted, status, status_code,
        error_class, timeout_reason, latency_ms, ttft_ms, duration_ms, credits, price_version_id, price_lines, cost_status,
        cost_amount, cost_currency, cost_lines, balance_after, available_after, hold_id, metadata)
    SELECT c.record_id, now(), now(), 'req_' || md5(c.record_id::text), '', '', '', p.id, 1, 'production', NULL, '', c.customer_id, '', '',
        'support', '', '', '', t.id, 1, 'anthropic', 'claude-sonnet-4-5', 'chat.completions', 'text', 'standard', 'default', '', 847,
        312, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, false, true, true, 'ok', 200, '', '', 812, 140, NULL, 4, v.id,
        '[{"kind":"event","unit":"event","quantity":"1","per":"1","rate":"4","credits":"4","model_class":""}]', 'priced', 0.007221, 'USD',
        '[{"unit":"input","quantity":"847","rate_id":"1","price":"3","per":"1000000","amount":"0.002541"},'
        '{"unit":"output","quantity":"312","rate_id":"2","price":"15","per":"1000000","amount":"0.00468"}]',
        c.balance - 4 * c.nth, c.balance - 4 * c.nth, NULL, '{}'
    FROM charged c, pricing_priceversion v, pricing_eventtype t, billing_project p;
    INSERT INTO billing_ledgerentry (transaction_id, wallet_id, lot_id, kind, credits, value, provider_cost, balance_after, actor,
        reason, request_id, project_id, event_type_id, model, usage_record_id, price_version_id, occurred_at, recorded_at)
    SELECT c.record_id, c.wallet_id, c.lot_id, 'charge', -4, 0, 0.007221, c.balance - 4 * c.nth, 'key:benchmark', '',
        'req_' || md5(c.record_id::text), p.id, t.id, 'claude-sonnet-4-5', c.record_id, v.id, now(), now()
    FROM charged c, pricing_priceversion v, pricing_eventtype t, billing_project p;
"""
_FUNCTIONS = f"""
    CREATE TYPE bench_charged AS (record_id bigint, wallet_id bigint, customer_id bigint, lot_id bigint, balance numeric, nth bigint);
    CREATE FUNCTION bench_charge(named bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        wallet billing_wallet; lot billing_lot; number bigint := nextval('billing_effect_seq'); one bench_charged;
    BEGIN
        SELECT * INTO wallet FROM billing_wallet WHERE id = named FOR UPDATE;
        SELECT * INTO lot FROM billing_lot WHERE wallet_id = named AND is_open;
        INSERT INTO billing_idempotencykey (project_id, key, operation, body_hash, effect_id, occurred_at)
            SELECT id, md5(number::text), 'event', decode(md5(number::text), 'hex'), number, now() FROM billing_project
            ON CONFLICT DO NOTHING;
        one := (number, named, wallet.customer_id, lot.id, wallet.balance, 1);
        {_RECORD.replace("FROM charged c,", "FROM (SELECT (one).*) c,")}
    END $$;
    CREATE FUNCTION bench_charge_many(first bigint, wallets bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM billing_wallet WHERE id BETWEEN first AND first + wallets - 1 ORDER BY id FOR UPDATE;
        CREATE TEMP TABLE IF NOT EXISTS charged OF bench_charged ON COMMIT DELETE ROWS;
        INSERT INTO charged
            SELECT nextval('billing_effect_seq'), w.id, w.customer_id, l.id, w.balance, row_number() OVER (PARTITION BY w.id ORDER BY n)
            FROM generate_series(0, 999) n JOIN billing_wallet w ON w.id = first + n % wallets
            JOIN billing_lot l ON l.wallet_id = w.id AND l.is_open;
        INSERT INTO billing_idempotencykey (project_id, key, operation, body_hash, effect_id, occurred_at)
            SELECT p.id, md5(record_id::text), 'event', decode(md5(record_id::text), 'hex'), record_id, now()
            FROM charged, billing_project p ON CONFLICT DO NOTHING;
        {_RECORD}
    END $$;
"""
_SCRIPTS = {
    "single_uniform": "\\set wallet random(2, {wallets})\nSELECT bench_charge(:wallet);",
    "single_hot": "SELECT bench_charge(1);",
    "batch_uniform": "\\set wallet random(2, {wallets} - 1000)\nSELECT bench_charge_many(:wallet, 1000);",
    "batch_hot": "SELECT bench_charge_many(1, 1);",
}


def install() -> None:
    """Put the functions into the database."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_FUNCTIONS)
    connection.close()


def grow(records: int, *, var_dir: Path) -> None:
    """Charge `records` events on many wallets, as fast as the database alone can."""
    pgbench("batch_uniform", callers=2, var_dir=var_dir, calls=records // 2000)


def pgbench(kind: str, *, callers: int, seconds: float = 0, calls: int = 0, var_dir: Path) -> dict[str, Any]:
    """Run pgbench with `callers` connections for `seconds`, or `calls` each; return transactions per second."""
    from config import embedded
    from config.embedded.postgres import binaries

    script = var_dir / f"{kind}.sql"
    script.write_text(_SCRIPTS[kind].format(wallets=WALLETS))
    command = [
        *(
            str(binaries() / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            str(callers),
            "-j",
            "1",
            *(("-t", str(calls)) if calls else ("-T", str(int(seconds)))),
        ),
        *("-h", str(embedded.socket_dir(var_dir)), "-U", embedded.ROLE, "-f", str(script), embedded.DATABASE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PGOPTIONS": "-c statement_timeout=60s"})
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return {"per_second": float(found[1])}
