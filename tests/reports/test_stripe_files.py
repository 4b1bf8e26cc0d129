"""Stripe's files: all of one or nothing, each error at its line, the same file twice no more than once."""

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from billing.balance import movement
from billing.models import BalanceTransaction, Payout, PlatformFee, TopUp
from billing.services import settlements, topups
from config.base.exact import ZERO
from reports import stripe_files, stripe_imports
from reports.stripe_files import Kind, UnreadableFile
from tests import stripe_objects
from tests.billing import selling
from tests.billing.factories import a_caller, a_wallet

NOW = datetime(2026, 4, 2, 9, tzinfo=UTC)
SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "stripe"
HEADER = "balance_transaction_id,created,currency,gross,fee,net,reporting_category,source_id"
GOOD = "txn_1,2026-03-02 12:00:00,usd,20.00,0.88,19.12,charge,ch_1"


def sample(name: str) -> str:
    return stripe_files.decoded((SAMPLES / f"{name}.csv").read_bytes())


def refused(*rows: str, header: str = HEADER) -> list[str]:
    """Read a file that must not be read; returns what is said of it."""
    with pytest.raises(UnreadableFile) as refusal:
        stripe_files.read("\n".join([header, *rows]))
    return [str(problem) for problem in refusal.value.problems]


class TestReading:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("payout_reconciliation", Kind.PAYOUT_RECONCILIATION),
            ("balance_change", Kind.BALANCE_CHANGE),
            ("itemized_payouts", Kind.ITEMIZED_PAYOUTS),
            ("payouts", Kind.PAYOUTS),
        ],
    )
    def test_knows_a_file_by_its_header(self, name: str, kind: Kind) -> None:
        told = stripe_files.read(sample(name))
        assert told.kind is kind
        assert told.movements or told.payouts

    def test_takes_major_units_with_the_places_of_the_currency(self) -> None:
        told = {one.stripe_id: one for one in stripe_files.read(sample("payout_reconciliation")).movements.values()}
        assert (told["txn_b"].amount_minor, told["txn_b"].fee_minor, told["txn_b"].net_minor) == (5000, 175, 4825)
        assert (told["txn_jpy"].amount_minor, told["txn_jpy"].currency) == (1200, "JPY")
        assert told["txn_a"].created_at == datetime(2026, 3, 2, 12, tzinfo=UTC)  # the column in UTC, where there are two
        assert (told["txn_re"].payment_intent, told["txn_re"].payout) == ("pi_b", "po_march")

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            (GOOD.replace("usd", "xyz"), "currency is 'xyz', which is none that Stripe uses."),
            (GOOD.replace("19.12", "19.13"), "net 19.13 is not gross less fee."),
            (GOOD.replace("20.00", "20.001"), "gross 20.001 has more places than USD has."),
            (GOOD.replace("20.00", "NaN"), "gross is 'NaN': it must be an amount such as 12.34."),
            (GOOD.replace("20.00", "1e3"), "gross is '1e3': it must be an amount such as 12.34."),
            (GOOD.replace("txn_1", "=1+1"), "balance_transaction_id is '=1+1': it must be one of Stripe's ids, which begin with txn_."),
            (GOOD.replace("2026-03-02 12:00:00", "soon"), "created is 'soon': it must be a time such as 2026-04-30 10:00:00."),
            (GOOD.replace("2026-03-02", "9999-12-31"), "created is '9999-12-31 12:00:00', which is not of this time."),
            (f"{GOOD},more", "It has another number of columns than the header."),
            (f"{GOOD}\n{GOOD}", "txn_1 stands on line 2 already."),
        ],
    )
    def test_names_the_line_that_is_wrong(self, row: str, said: str) -> None:
        last = 3 if "\n" in row else 2
        assert refused(row) == [f"Line {last}: {said}"]

    def test_tells_of_all_lines_at_once(self) -> None:
        assert [words.partition(":")[0] for words in refused(GOOD, GOOD.replace("usd", "xxx"), "", "txn_3")] == ["Line 3", "Line 5"]

    @pytest.mark.parametrize("header", ["", "a,b,c", "id,amount,currency", "id,id"])
    def test_refuses_another_file(self, header: str) -> None:
        assert refused("1,2,3", header=header)[0].startswith("Line 1: ")

    def test_refuses_a_file_without_rows(self) -> None:
        assert refused() == ["Line 2: The file has a header and no rows."]

    @pytest.mark.parametrize("content", [b"PK\x03\x04\xff\xfe", b"id\0,amount", b"\xff"])
    def test_refuses_what_is_no_text(self, content: bytes) -> None:
        with pytest.raises(UnreadableFile):
            stripe_files.decoded(content)


@pytest.mark.django_db(transaction=True)
class TestImporting:
    @pytest.fixture
    def topup(self) -> TopUp:
        order = selling.an_order(a_wallet(a_caller()), amount_minor=2000, book_value=Decimal(20))
        facts = topups.Facts(payment_intent="pi_a")  # its charge has not been named
        topups.settle(topup_id=order.pk, paid=topups.Paid(2000, "USD", is_live=False, facts=facts), now=NOW)
        order.refresh_from_db()
        return order

    def test_keeps_movements_with_their_fees_and_payouts_that_add_up(self, topup: TopUp) -> None:
        done = stripe_imports.import_text(sample("payout_reconciliation"), now=NOW)
        assert (done.rows, done.new, done.fees) == (4, 4, 1)
        fee = PlatformFee.objects.get()
        assert (fee.payment, fee.amount, fee.kind) == (topup.payment, Decimal("0.88"), "payment")
        assert stripe_imports.import_text(sample("payouts"), now=NOW).new == 2
        assert {payout.stripe_id: payout.is_reconciled for payout in Payout.objects.all()} == {"po_march": True, "po_back": False}

    def test_changes_nothing_the_second_time(self) -> None:
        for name in ("payout_reconciliation", "balance_change", "itemized_payouts", "payouts"):
            stripe_imports.import_text(sample(name), now=NOW)
        rows = list(BalanceTransaction.objects.values()), list(Payout.objects.values())
        for name in ("payouts", "itemized_payouts", "balance_change", "payout_reconciliation"):
            assert stripe_imports.import_text(sample(name), now=NOW).new == 0
        assert (list(BalanceTransaction.objects.values()), list(Payout.objects.values())) == rows

    def test_refuses_what_contradicts_the_books_and_keeps_nothing_of_the_file(self) -> None:
        told = stripe_objects.balance_transaction(id="txn_b", source="ch_b", amount=5001, fee=175, net=4826)
        settlements.keep([movement(told)], now=NOW)
        with pytest.raises(UnreadableFile, match="Line 3: txn_b is known here with amount minor 5001, and this says 5000"):
            stripe_imports.import_text(sample("payout_reconciliation"), now=NOW)
        assert BalanceTransaction.objects.count() == 1

    def test_refuses_a_payout_of_another_amount(self) -> None:
        stripe_imports.import_text(sample("payouts"), now=NOW)
        with pytest.raises(UnreadableFile, match="Line 2: Payout po_march is known here"):
            stripe_imports.import_text(sample("payouts").replace("5487", "5488"), now=NOW)

    def test_does_not_invent_movements_of_a_file_that_does_not_say_what_they_are_about(self) -> None:
        with pytest.raises(UnreadableFile, match="Line 2: txn_a is not known here"):
            stripe_imports.import_text(sample("itemized_payouts"), now=NOW)


@pytest.mark.django_db(transaction=True)
class TestRealFiles:
    """Exports of a live account, through the command."""

    def test_are_imported_once(self, real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        files = [str(real_data / f"stripe_real_{name}.csv") for name in ("balance_transactions", "payouts")]
        for file in files:
            call_command("import_stripe_csv", file)
        assert capsys.readouterr().out.splitlines() == [
            "Balance transactions: 9 rows read, 9 of them new, 0 fees recorded.",
            "Payouts: 15 rows read, 15 of them new, 0 fees recorded.",
        ]
        for file in reversed(files):
            call_command("import_stripe_csv", file)
        assert (BalanceTransaction.objects.count(), Payout.objects.count()) == (9, 15)
        # One of them went out alone: 20,400.00 less 591.90.
        known = Payout.objects.get(stripe_id="po_0IFUKBig6peNXzgDZQM7WPAo")
        assert (known.is_reconciled, known.amount_minor) == (True, 1_980_810)
        assert Payout.objects.filter(is_reconciled=True).count() == 1
        assert all(row.net_minor == row.amount_minor - row.fee_minor for row in BalanceTransaction.objects.all())

    def test_with_an_error_are_not_imported_at_all(self, tmp_path: Path) -> None:
        file = tmp_path / "broken.csv"
        file.write_text(f"{HEADER}\n{GOOD}\n{GOOD.replace('txn_1', 'txn_2').replace('0.88', '0.87')}\n")
        with pytest.raises(CommandError, match=r"Line 3: net 19\.12 is not gross less fee"):
            call_command("import_stripe_csv", str(file))
        assert not BalanceTransaction.objects.exists()

    def test_that_are_not_there_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="cannot be read: No such file"):
            call_command("import_stripe_csv", str(tmp_path / "nowhere.csv"))

    def test_may_come_from_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(f"{HEADER}\n{GOOD}\n".encode())))
        call_command("import_stripe_csv", "-")
        assert BalanceTransaction.objects.get().fee_minor == Decimal(88) + ZERO
