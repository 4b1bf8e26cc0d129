"""Running the ledger check and keeping what it found."""

import time
from dataclasses import asdict
from datetime import datetime

from billing import checks
from billing.models import CheckRun


def check(*, now: datetime, actor: str) -> CheckRun:
    """Prove the money rules from one snapshot and store the result for the page and the badge."""
    began = time.monotonic()
    report = checks.run()
    return CheckRun.objects.create(
        started_at=now,
        duration_ms=round((time.monotonic() - began) * 1000),
        entry_count=report.entry_count,
        is_clean=report.is_clean,
        rules=[asdict(rule) for rule in report.rules],
        sealed_until=report.sealed_until,
        head_digest=report.head_digest,
        actor=actor,
    )
