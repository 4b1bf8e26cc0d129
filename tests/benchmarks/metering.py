"""`python -m tests.benchmarks.metering`: what a charge over HTTP costs beside pgbench running the same transaction.

Everything is measured in one run, in turns, and told as ratios of medians: the machine is shared by PostgreSQL, the web
process and the load generator. JSON on standard output, progress on standard error.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import baseline, stage

CALLERS = 32
BATCH_CALLERS = 8
BATCH = 1_000
TARGETS = {
    "single_uniform_to_pgbench": 0.5,
    "single_hot_to_pgbench": 2.0,
    "batch_uniform_to_one_statement": 0.2,
    "batch_hot_to_one_statement": 0.2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each measurement takes its turn")
    parser.add_argument("--seconds", type=float, default=4, help="how long each measurement lasts")
    parser.add_argument("--grow", type=int, default=0, metavar="RECORDS", help="measure again after so many records, such as 10000000")
    asked = parser.parse_args()
    with stage.servers() as var_dir:
        token = stage.fill()
        baseline.install()
        with stage.web() as port:
            rounds = [_round(port, token, var_dir, asked.seconds, number) for number in range(asked.rounds)]
            summary = _summary(rounds)
            if asked.grow:
                summary["growth"] = _growth(port, token, var_dir, asked.seconds, asked.rounds, asked.grow)
            json.dump(summary, sys.stdout, indent=2)
            print()
        check()


def _round(port: int, token: str, var_dir: Path, seconds: float, number: int) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    for kind in ("single_uniform", "single_hot", "batch_uniform", "batch_hot"):
        callers = BATCH_CALLERS if kind.startswith("batch") else CALLERS
        per_call = BATCH if kind.startswith("batch") else 1
        theirs = baseline.pgbench(kind, callers=callers, seconds=seconds, var_dir=var_dir)
        ours = load(kind, port, token, callers, seconds)
        figures[f"pgbench_{kind}"] = {"per_second": theirs["per_second"] * per_call}
        figures[f"http_{kind}"] = ours | {"per_second": ours["per_second"] * per_call}
    figures["http_no_op"] = load("no_op", port, token, CALLERS, seconds)
    print(f"round {number + 1}: " + ", ".join(f"{k} {v['per_second']:.0f}/s" for k, v in figures.items()), file=sys.stderr)
    return figures


def _growth(port: int, token: str, var_dir: Path, seconds: float, rounds: int, records: int) -> dict[str, Any]:
    """Tell what an event costs on a large database beside what it cost on a small one."""

    def per_second(kind: str, callers: int, per_call: int) -> float:
        return per_call * float(statistics.median(load(kind, port, token, callers, seconds)["per_second"] for _ in range(rounds)))

    before = {"batch": per_second("batch_uniform", BATCH_CALLERS, BATCH), "single": per_second("single_uniform", CALLERS, 1)}
    print(f"charging {records} events to grow the database", file=sys.stderr)
    baseline.grow(records, var_dir=var_dir)
    after = {"batch": per_second("batch_uniform", BATCH_CALLERS, BATCH), "single": per_second("single_uniform", CALLERS, 1)}
    return {
        "records": records,
        "target_cost_ratio": 1.25,
        "batch_cost_ratio": round(before["batch"] / after["batch"], 3),
        "single_cost_ratio": round(before["single"] / after["single"], 3),
    }


def load(kind: str, port: int, token: str, callers: int, seconds: float) -> dict[str, Any]:
    """Let `callers` send events of `kind` for so long; return events or batches a second, and the latencies."""
    plan = {"kind": kind, "port": port, "token": token, "callers": callers, "seconds": seconds, "wallets": stage.WALLETS}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load"], input=json.dumps(plan), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _summary(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    medians = {
        name: {figure: round(statistics.median(r[name][figure] for r in rounds), 2) for figure in rounds[0][name]} for name in rounds[0]
    }

    def ratio(ours: str, theirs: str) -> float:
        return round(float(medians[ours]["per_second"] / medians[theirs]["per_second"]), 3)

    ratios = {
        "single_uniform_to_pgbench": ratio("http_single_uniform", "pgbench_single_uniform"),
        "single_hot_to_pgbench": ratio("http_single_hot", "pgbench_single_hot"),
        "single_hot_to_no_op": ratio("http_single_hot", "http_no_op"),
        "batch_uniform_to_one_statement": ratio("http_batch_uniform", "pgbench_batch_uniform"),
        "batch_hot_to_one_statement": ratio("http_batch_hot", "pgbench_batch_hot"),
        "p99_to_median_uniform": round(medians["http_single_uniform"]["p99_ms"] / medians["http_single_uniform"]["median_ms"], 2),
        "p99_to_median_hot": round(medians["http_single_hot"]["p99_ms"] / medians["http_single_hot"]["median_ms"], 2),
    }
    return {"callers": CALLERS, "rounds": len(rounds), "targets": TARGETS, "ratios": ratios, "medians": medians}


def check() -> None:
    """A fast ledger that is wrong is worth nothing."""
    from billing.checks import run

    report = run()
    # pgbench's own records carry a made-up key, nothing else about them is special.
    assert report.is_clean, report.breaks
    print(f"ledger clean: {report.entry_count} entries", file=sys.stderr)


if __name__ == "__main__":
    main()
