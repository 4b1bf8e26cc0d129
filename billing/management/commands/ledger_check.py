"""`ledger_check`: prove the money rules; exit 1 and name every break."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.models import CheckRun
from billing.services import checking


class Command(BaseCommand):
    help = "Prove from one consistent snapshot that every credit is accounted for; exit 1 if a rule is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        run = checking.check(now=timezone.now(), actor="system:command")
        self.stdout.write(json.dumps(_as_json(run), indent=2) if options["json"] else _as_text(run))
        if not run.is_clean:
            raise SystemExit(1)


def _as_json(run: CheckRun) -> dict[str, Any]:
    return {
        "clean": run.is_clean,
        "entries": run.entry_count,
        "sealed_until": run.sealed_until.isoformat() if run.sealed_until else None,
        "head_digest": run.head_digest,
        "duration_ms": run.duration_ms,
        "rules": run.rules,
    }


def _as_text(run: CheckRun) -> str:
    lines = []
    for rule in run.rules:
        state = f"{rule['break_count']} BREAKS" if rule["break_count"] else "holds"
        lines.append(f"{state:>12}  {rule['rule']}: {rule['statement']} ({rule['examined']} examined)")
        lines += [f"{'':14}- {broken['subject']}: {broken['detail']}" for broken in rule["breaks"]]
    sealed = f"sealed until {run.sealed_until:%Y-%m-%d %H:%M} UTC, head {run.head_digest}" if run.sealed_until else "no hour sealed yet"
    verdict = "The ledger is clean" if run.is_clean else "THE LEDGER HAS BREAKS"
    return "\n".join([*lines, f"{verdict}: {run.entry_count} entries, {sealed}, {run.duration_ms} ms."])
