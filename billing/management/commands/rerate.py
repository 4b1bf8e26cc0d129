"""Cost usage again by the catalogue as it is now; what changed is written down as adjustments.

python manage.py rerate --since 2026-10-01 --model my-model --dry-run
python manage.py rerate --since 2026-10-01 --model my-model --reason "Rates of October added"
"""

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from billing.models import Basis, Rerating
from billing.services import rerating, unpriced
from billing.services.rerating import RerateRefusedError, Scope
from config.base.exact import plain

_USUAL_PERIOD = timedelta(days=30)


def moment(text: str) -> datetime:
    """Read a day (its start) or a moment, UTC unless it names a zone."""
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write 2026-10-01 or 2026-10-01T12:00.")
    return at if timezone.is_aware(at) else at.replace(tzinfo=UTC)


def number(text: str) -> int:
    """Read the number of a row."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of a row: write it as its page shows it, such as 12.")
    return int(text)


class Command(BaseCommand):
    help = "Cost usage again by the catalogue of provider rates as it is now."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--since", type=moment, help="records from then on; 30 days ago unless said otherwise, of rates since they hold"
        )
        parser.add_argument("--until", type=moment, help="records before then; now unless said otherwise")
        parser.add_argument("--provider", help="of this provider only, as apps report it")
        parser.add_argument("--model", help="of this model only, as apps report it")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--rate", type=number, action="append", default=[], help="records costed by this rate; may be repeated")
        which.add_argument("--all", action="store_true", help="every record costed by the catalogue, not the unpriced only")
        parser.add_argument("--reason", default="", help="why; kept with the re-rating")
        parser.add_argument("--dry-run", action="store_true", help="say what would be found, and write nothing")
        parser.add_argument("--resume", type=number, metavar="ID", help="go on with a re-rating that was interrupted")

    def handle(self, **options: Any) -> None:
        if options["resume"] is not None:
            self._resume(options)
            return
        now = timezone.now()
        basis = Basis.RATES if options["rate"] else Basis.ALL if options["all"] else Basis.UNPRICED
        since = options["since"] or rerating.since_of(options["rate"]) or now - _USUAL_PERIOD
        scope = Scope(since, options["until"] or now, basis, options["provider"], options["model"], tuple(options["rate"]))
        try:
            if options["dry_run"]:
                self._preview(scope, now)
                return
            row = rerating.request(scope=scope, reason=options["reason"], actor="system:rerate", now=now)
        except RerateRefusedError as refusal:
            raise CommandError(refusal.detail) from refusal
        self._run(row.pk)

    def _resume(self, options: dict[str, Any]) -> None:
        if any(options[name] for name in ("since", "until", "provider", "model", "rate", "all", "reason", "dry_run")):
            raise CommandError("--resume goes on with what was asked for then: leave the other options out.")
        if not Rerating.objects.filter(pk=options["resume"]).exists():
            raise CommandError(f"There is no re-rating {options['resume']}.")
        self._run(options["resume"])

    def _run(self, rerating_id: int) -> None:
        row = rerating.run(rerating_id=rerating_id, clock=timezone.now, told=self._tell)
        unpriced.count(now=timezone.now())
        self.stdout.write(
            f"Re-rating {row.pk}: {row.examined:,} records, {row.adjusted:,} adjusted, {row.still_unpriced:,} still unpriced."
        )
        for model in row.by_model:
            name = "/".join(part for part in (model["provider"], model["model"]) if part) or "no model named"
            self.stdout.write(f"  {name}: {model['before']} -> {model['after']} {model['currency']}, {model['records']:,} records")

    def _tell(self, row: Rerating) -> None:
        self.stderr.write(f"{row.position_at:%Y-%m-%d %H:%M}: {row.examined:,} records, {row.adjusted:,} adjusted")

    def _preview(self, scope: Scope, now: datetime) -> None:
        """Look at what a run would, with the patience that a run has."""
        rerating.check(scope=scope, now=now)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '10min'")
            found = rerating.preview(scope=scope, counts_all=True)
        about = "" if found.is_exact else f", estimated from {found.looked_at:,}"
        self.stdout.write(f"{found.records:,} records{about}: {found.adjusted:,} would change, {found.unpriced:,} stay unpriced.")
        for currency, amount in found.differences.items():
            self.stdout.write(f"  {plain(amount)} {currency}")
        self.stdout.write("Nothing was written.")
