"""Reading the CSV files that people download from Stripe. Pure; no database.

| file | amounts | says |
|---|---|---|
| payout reconciliation, itemized | major units | each movement, and the payout that took it along |
| balance change from activity, itemized | major units | each movement |
| itemized payouts of the dashboard | major units | which payout took which movement along, not what it is about |
| balance transactions, as tools export them | minor units | each movement, mostly with its payout |
| payouts, as tools export them | minor units | each payout |

Where Stripe's dashboard offers them is in `WHERE`.

Which one it is, its header says: further columns, and their order, do not matter. Stripe separates columns with commas; what a
spreadsheet saved with semicolons or tabs is read as well, unless an amount has a comma, which might be a decimal one. Times
without a zone are UTC, as Stripe writes them unless told otherwise. Errors name the line; with any of them nothing of the
file is read.

No file says whether it is of real money or of Stripe's test mode, but for a column `livemode` that some tools add: whoever
brings the file says it. Which payouts are automatic, only the column `automatic` says; without it that is left open.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

from billing.balance import Movement, PaidOut
from billing.minor_units import UnknownCurrency, exponent
from config.base.database import EARLIEST, LATEST
from config.base.errors import DomainError

MOST_BYTES: Final = 10_000_000
MOST_ROWS: Final = 200_000
_MOST_PROBLEMS: Final = 50
# No account moves so much at once: of most currencies a hundred thousand million. All rows of a file add up to what a bigint holds.
_MAX_MINOR: Final = 10**13
# Clocks differ, so a movement may seem to come from tomorrow. Money is on its way, or held back by Stripe, for weeks.
_AHEAD: Final = timedelta(days=2)
_ON_ITS_WAY: Final = timedelta(days=120)
_RATE_PLACES: Final = 15
_MAX_RATE: Final = 10**9
_WORD: Final = re.compile(r"[A-Za-z0-9_ \-]{0,60}")
_NAME: Final = re.compile(r"[A-Za-z0-9_\-]{1,200}")
_MAJOR: Final = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_MINOR: Final = re.compile(r"-?\d{1,15}")
_GROUPED: Final = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d{1,15})?")
_HOUR: Final = re.compile(r"^(\d{4}-\d{2}-\d{2})[ T](\d):")


class Kind(StrEnum):
    PAYOUT_RECONCILIATION = "Payout reconciliation, itemized"
    BALANCE_CHANGE = "Balance change from activity, itemized"
    ITEMIZED_PAYOUTS = "Itemized payouts"
    BALANCE_TRANSACTIONS = "Balance transactions"
    PAYOUTS = "Payouts"


WHERE: Final[Mapping[Kind, str]] = {
    Kind.PAYOUT_RECONCILIATION: "Reports → Payout reconciliation → Download → Itemized",
    Kind.BALANCE_CHANGE: "Reports → Balance summary → Balance change from activity → Download → Itemized",
    Kind.ITEMIZED_PAYOUTS: "Reports → Balance summary → Payouts → Download → Itemized",
    Kind.BALANCE_TRANSACTIONS: "no page of the dashboard: what tools read from Stripe's API, amounts in cents",
    Kind.PAYOUTS: "no page of the dashboard: what tools read from Stripe's API, amounts in cents",
}

# In this order: a narrower header comes before one that it contains.
_HEADERS: Final[tuple[tuple[Kind, frozenset[str]], ...]] = (
    (
        Kind.PAYOUT_RECONCILIATION,
        frozenset({"automatic_payout_id", "balance_transaction_id", "created", "currency", "gross", "fee", "net", "reporting_category"}),
    ),
    (
        Kind.ITEMIZED_PAYOUTS,
        frozenset({"payout_id", "effective_at", "balance_transaction_id", "currency", "gross", "fee", "net", "reporting_category"}),
    ),
    (Kind.BALANCE_CHANGE, frozenset({"balance_transaction_id", "created", "currency", "gross", "fee", "net", "reporting_category"})),
    (Kind.BALANCE_TRANSACTIONS, frozenset({"id", "amount", "fee", "net", "currency", "type", "source", "created"})),
    (Kind.PAYOUTS, frozenset({"id", "amount", "arrival_date", "currency", "status", "created"})),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line of the file; the header is line 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"Line {self.line}: {self.message}"


class UnreadableFile(DomainError):
    """Mend the lines, or download the file anew."""

    code = "unreadable_stripe_file"

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems[:_MOST_PROBLEMS]
        more = f" and {len(problems) - _MOST_PROBLEMS:,} more." if len(problems) > _MOST_PROBLEMS else ""
        super().__init__("\n".join(map(str, self.problems)) + more)


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says, by the number of its line. Of ITEMIZED_PAYOUTS, movements are only names, sums and payouts."""

    kind: Kind
    movements: Mapping[int, Movement]
    payouts: Mapping[int, PaidOut]


class _Wrong(ValueError):
    """A field of the line is wrong."""


def decoded(content: bytes) -> str:
    """Return the text of a file. Raises UnreadableFile."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile([Problem(1, "This is not a text file in UTF-8. Download the CSV from Stripe, not a workbook.")]) from None
    if "\0" in text:
        raise UnreadableFile([Problem(1, "This is no CSV file: it holds binary data.")])
    return text


def read(text: str, *, is_live: bool = False, now: datetime = LATEST) -> Read:
    """Read a whole file, which is of real money or of the test mode. Raises UnreadableFile, which names each line that is wrong."""
    head = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
        header = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise UnreadableFile([Problem(1, f"This is no CSV file: {error}.")]) from error
    kind = _kind(header)
    reader.fieldnames = header
    movements: dict[int, Movement] = {}
    payouts: dict[int, PaidOut] = {}
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for line, row in _rows(reader, problems):
        try:
            if delimiter != ",":
                _without_commas(row)
            _of_mode(row, is_live=is_live)
            one = _payout(row, is_live, now) if kind is Kind.PAYOUTS else _movement(kind, row, is_live, now)
        except _Wrong as wrong:
            problems.append(Problem(line, str(wrong)))
            continue
        if first := seen.get(one.stripe_id):
            problems.append(Problem(line, f"{one.stripe_id} stands on line {first} already."))
            continue
        seen[one.stripe_id] = line
        if isinstance(one, PaidOut):
            payouts[line] = one
        else:
            movements[line] = one
    if problems:
        raise UnreadableFile(problems)
    if not seen:
        raise UnreadableFile([Problem(2, "The file has a header and no rows.")])
    return Read(kind, movements, payouts)


def _kind(header: list[str]) -> Kind:
    if twice := {name for name in header if name and header.count(name) > 1}:
        raise UnreadableFile([Problem(1, f"The column {min(twice)!r} stands there twice.")])
    columns = set(header) | ({"created"} if "created_utc" in header else set())
    for kind, needed in _HEADERS:
        if needed <= columns:
            return kind
    nearest, missing = min(((kind, needed - columns) for kind, needed in _HEADERS), key=lambda one: len(one[1]))
    raise UnreadableFile(
        [
            Problem(
                1,
                "The header is of none of Stripe's files that can be imported. Nearest is"
                f" “{nearest}”, which lacks: {', '.join(sorted(missing))}. Find that file under: {WHERE[nearest]}.",
            )
        ]
    )


def _rows(reader: "csv.DictReader[str]", problems: list[Problem]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row that is not empty with the number of its line."""
    for count in range(MOST_ROWS + 1):
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(Problem(reader.line_num, f"This is no CSV: {error}."))
            return
        if None in row or None in row.values():
            problems.append(Problem(reader.line_num, "It has another number of columns than the header."))
            continue
        if count == MOST_ROWS:
            problems.append(Problem(reader.line_num, f"A file may have {MOST_ROWS:,} rows. Download a shorter period."))
            return
        yield reader.line_num, {name: value.strip() for name, value in row.items()}


def _without_commas(row: Mapping[str, str]) -> None:
    """Refuse what 1,234 may mean: a thousand, or one and a bit, as the spreadsheet wrote it that chose these separators."""
    for name in ("gross", "amount", "fee", "net"):
        if "," in row.get(name, ""):
            raise _Wrong(
                f"{name} is {row[name][:40]!r}: a comma may be a decimal one in a file that a spreadsheet saved."
                " Import the file as Stripe wrote it, separated with commas."
            )


def _of_mode(row: Mapping[str, str], *, is_live: bool) -> None:
    said = row.get("livemode", "").lower()
    if said not in {"", "true", "false"}:
        raise _Wrong(f"livemode is {said[:40]!r}: it must be TRUE or FALSE.")
    if said and (said == "true") is not is_live:
        file, asked = ("real money", "the test mode") if said == "true" else ("the test mode", "real money")
        raise _Wrong(f"livemode says that this is of {file}, and the file was imported as one of {asked}. Import it as of {file}.")


def _movement(kind: Kind, row: dict[str, str], is_live: bool, now: datetime) -> Movement:
    currency = _currency(row["currency"])
    is_report = kind is not Kind.BALANCE_TRANSACTIONS
    amount, fee, net = (_amount(row, name, currency, is_major=is_report) for name in ("gross" if is_report else "amount", "fee", "net"))
    if net != amount - fee:
        raise _Wrong(f"net {row['net']} is not {'gross' if is_report else 'amount'} less fee.")
    if not is_report:
        payout = row.get("payout_id", "")
    else:
        payout = row.get("automatic_payout_id", "") or (row.get("payout_id", "") if kind is Kind.ITEMIZED_PAYOUTS else "")
    if kind is Kind.ITEMIZED_PAYOUTS and not payout:
        raise _Wrong("payout_id is empty.")
    created = row.get("created_utc") or row.get("created") or row.get("effective_at", "")
    return Movement(
        stripe_id=_name(row, "balance_transaction_id" if is_report else "id", "txn_"),
        kind=_kind_of(row, is_report=is_report),
        amount_minor=amount,
        fee_minor=fee,
        net_minor=net,
        currency=currency,
        created_at=_time(created, "created", now + _AHEAD),
        reporting_category=_word(row, "reporting_category"),
        source=_optional(row, "source_id" if is_report else "source"),
        charge=_optional(row, "charge_id"),
        payment_intent=_optional(row, "payment_intent_id"),
        payout=_name({"payout": payout}, "payout", "po_") if payout else "",
        status=row.get("status", "")[:20] if not is_report else "",
        description=row.get("description", "")[:500],
        exchange_rate=_rate(row.get("exchange_rate", "")),
        available_on=_time(row["available_on"], "available_on", now + _ON_ITS_WAY) if row.get("available_on") else None,
        is_live=is_live,
        is_from_file=True,
    )


def _payout(row: dict[str, str], is_live: bool, now: datetime) -> PaidOut:
    currency = _currency(row["currency"])
    automatic = row.get("automatic", "").lower()
    if automatic not in {"", "true", "false"}:
        raise _Wrong(f"automatic is {automatic!r}: it must be TRUE or FALSE.")
    if row["status"] not in {"pending", "in_transit", "paid", "failed", "canceled"}:
        raise _Wrong(f"status is {row['status'][:40]!r}, which is no state of a payout.")
    return PaidOut(
        stripe_id=_name(row, "id", "po_"),
        amount_minor=_amount(row, "amount", currency, is_major=False),
        currency=currency,
        status=row["status"],
        is_automatic=automatic == "true" if automatic else None,
        arrives_at=_time(row["arrival_date"], "arrival_date", now + _ON_ITS_WAY),
        created_at=_time(row["created"], "created", now + _AHEAD),
        failure=(row.get("failure_message") or row.get("failure_code") or "")[:500],
        is_live=is_live,
    )


def _kind_of(row: Mapping[str, str], *, is_report: bool) -> str:
    kind = _word(row, "reporting_category") if is_report else _word(row, "type")
    if not kind:
        raise _Wrong(f"{'reporting_category' if is_report else 'type'} is empty: it must say what the movement is.")
    return kind


def _word(row: Mapping[str, str], column: str) -> str:
    text = row.get(column, "")
    if not _WORD.fullmatch(text):
        raise _Wrong(f"{column} is {text[:40]!r}: it must be one of Stripe's words, such as charge.")
    return text


def _currency(text: str) -> str:
    try:
        exponent(text)
    except UnknownCurrency:
        raise _Wrong(f"currency is {text[:20]!r}, which is none that Stripe uses.") from None
    return text.upper()


def _amount(row: dict[str, str], name: str, currency: str, *, is_major: bool) -> int:
    """Return an amount in minor units, whichever the file uses."""
    text = row[name]
    if is_major and _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not (_MAJOR if is_major else _MINOR).fullmatch(text):
        wanted = "an amount such as 12.34" if is_major else "a whole number of minor units"
        raise _Wrong(f"{name} is {row[name][:40]!r}: it must be {wanted}.")
    minor = Decimal(text).scaleb(exponent(currency)) if is_major else Decimal(text)
    if minor != minor.to_integral_value():
        raise _Wrong(f"{name} {text} has more places than {currency} has.")
    if abs(minor) > _MAX_MINOR:
        most = f"{Decimal(_MAX_MINOR).scaleb(-exponent(currency) if is_major else 0):,f} {currency}"
        unit = "" if is_major else " in its smallest unit"
        raise _Wrong(f"{name} {text} is more than {most}{unit}, which no account moves at once. Look whether the columns are in order.")
    return int(minor)


def _name(row: Mapping[str, str], column: str, start: str) -> str:
    text = row[column]
    if not (_NAME.fullmatch(text) and text.startswith(start)):
        raise _Wrong(f"{column} is {text[:40]!r}: it must be one of Stripe's ids, which begin with {start}.")
    return text


def _optional(row: dict[str, str], column: str) -> str:
    text = row.get(column, "")
    if text and not _NAME.fullmatch(text):
        raise _Wrong(f"{column} is {text[:40]!r}, which is none of Stripe's ids.")
    return text


def _time(text: str, column: str, latest: datetime) -> datetime:
    padded = _HOUR.sub(r"\1 0\2:", text.removesuffix(" UTC"))
    try:
        at = datetime.fromisoformat(padded)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        is_near = EARLIEST <= at < LATEST
    except (ValueError, OverflowError):
        raise _Wrong(f"{column} is {text[:40]!r}: it must be a time such as 2026-04-30 10:00:00.") from None
    if not is_near:
        raise _Wrong(f"{column} is {text[:40]!r}, which is not of this time.")
    if at > latest:
        raise _Wrong(f"{column} is {text[:40]!r}, which is still to come. Mend the date, or download the file anew.")
    return at


def _rate(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        rate = Decimal(text)
    except InvalidOperation:
        raise _Wrong(f"exchange_rate is {text[:40]!r}, which is no number.") from None
    exponent_ = rate.as_tuple().exponent
    if not (isinstance(exponent_, int) and 0 < rate < _MAX_RATE):
        raise _Wrong(f"exchange_rate is {text[:40]!r}, which is no rate.")
    if exponent_ < -_RATE_PLACES:
        raise _Wrong(f"exchange_rate {text[:40]} has more than {_RATE_PLACES} places.")
    return rate
