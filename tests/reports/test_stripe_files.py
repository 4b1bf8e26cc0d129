"""Stripe's files: all of one or nothing, each error at its line, the same file twice no more than once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from billing.balance import movement
from billing.models import BalanceTransaction, Payout, PlatformFee, TopUp
from billing.services import settlements, topups
from config.base.exact import ZERO
from reports import stripe_files, stripe_imports
from reports.queries import reconciliation
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

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            (GOOD.replace("2026-03-02", "2026-04-05"), "created is '2026-04-05 12:00:00', which is still to come. Mend the date"),
            (
                GOOD.replace("20.00", "900000000000.00"),
                "gross 900000000000.00 is more than 100,000,000,000.00 USD, which no account moves at once.",
            ),
            (GOOD.replace("charge", "c" * 61), f"reporting_category is '{'c' * 40}': it must be one of Stripe's words, such as charge."),
            (GOOD.replace("charge", ""), "reporting_category is empty: it must say what the movement is."),
        ],
    )
    def test_refuses_what_cannot_be(self, row: str, said: str) -> None:
        with pytest.raises(UnreadableFile) as refusal:
            stripe_files.read(f"{HEADER}\n{GOOD.replace('txn_1', 'txn_0')}\n{row}", now=NOW)
        [problem] = refusal.value.problems
        assert str(problem).startswith(f"Line 3: {said}")

    @pytest.mark.parametrize(
        ("rate", "is_taken"), [("0.912345678901234", True), ("0.9123456789012345", False), ("NaN", False), ("1e9", False)]
    )
    def test_refuses_a_rate_that_would_be_rounded(self, rate: str, *, is_taken: bool) -> None:
        text = f"{HEADER},exchange_rate\n{GOOD},{rate}"
        if is_taken:
            assert stripe_files.read(text).movements[2].exchange_rate == Decimal(rate)
        else:
            assert refused(f"{GOOD},{rate}", header=f"{HEADER},exchange_rate")[0].startswith("Line 2: exchange_rate ")

    def test_leaves_open_who_made_a_payout_where_the_file_does_not_say(self) -> None:
        text = "id,amount,arrival_date,currency,status,created\npo_1,700,2026-03-12,usd,paid,2026-03-11 01:02:57"
        assert stripe_files.read(text).payouts[2].is_automatic is None

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_reads_what_a_spreadsheet_separated_otherwise_but_guesses_no_amount(self, separator: str) -> None:
        header = HEADER.replace(",", separator)
        told = stripe_files.read(f"{header}\n{GOOD.replace(',', separator)}").movements[2]
        assert (told.amount_minor, told.fee_minor, told.source) == (2000, 88, "ch_1")
        decimal = GOOD.replace(",", separator).replace("20.00", "20,00").replace("0.88", "0,88").replace("19.12", "19,12")
        [said] = refused(decimal, header=header)
        assert said.startswith("Line 2: gross is '20,00': a comma may be a decimal one")

    @pytest.mark.parametrize(("gross", "minor"), [('"1,020.00"', 102_000), ('"1020,00"', 0), ('"10,20.00"', 0)])
    def test_takes_a_comma_between_thousands_only(self, gross: str, minor: int) -> None:
        row = GOOD.replace("20.00", gross).replace("19.12", "1019.12")
        if minor:
            assert stripe_files.read(f"{HEADER}\n{row}").movements[2].amount_minor == minor
        else:
            assert "it must be an amount such as 12.34" in refused(row)[0]

    def test_says_where_the_nearest_file_is(self) -> None:
        header = HEADER.replace(",created", "")
        said = "Find that file under: Reports → Balance summary → Balance change from activity → Download → Itemized."
        assert refused("1", header=header)[0].endswith(said)

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
        done = stripe_imports.import_text(sample("payout_reconciliation"), now=NOW, is_live=False)
        assert (done.rows, done.new, done.fees) == (4, 4, 1)
        fee = PlatformFee.objects.get()
        assert (fee.payment, fee.amount, fee.kind) == (topup.payment, Decimal("0.88"), "payment")
        assert stripe_imports.import_text(sample("payouts"), now=NOW, is_live=False).new == 2
        assert {payout.stripe_id: payout.is_reconciled for payout in Payout.objects.all()} == {"po_march": True, "po_back": False}

    def test_changes_nothing_the_second_time(self) -> None:
        for name in ("payout_reconciliation", "balance_change", "itemized_payouts", "payouts"):
            stripe_imports.import_text(sample(name), now=NOW, is_live=False)
        rows = list(BalanceTransaction.objects.values()), list(Payout.objects.values())
        for name in ("payouts", "itemized_payouts", "balance_change", "payout_reconciliation"):
            assert stripe_imports.import_text(sample(name), now=NOW, is_live=False).new == 0
        assert (list(BalanceTransaction.objects.values()), list(Payout.objects.values())) == rows

    def test_refuses_what_contradicts_the_books_and_keeps_nothing_of_the_file(self) -> None:
        told = stripe_objects.balance_transaction(id="txn_b", source="ch_b", amount=5001, fee=175, net=4826)
        settlements.keep([movement(told)], now=NOW)
        with pytest.raises(UnreadableFile, match="Line 3: txn_b is known here with amount minor 5001, and this says 5000"):
            stripe_imports.import_text(sample("payout_reconciliation"), now=NOW, is_live=False)
        assert BalanceTransaction.objects.count() == 1

    def test_refuses_a_payout_of_another_amount(self) -> None:
        stripe_imports.import_text(sample("payouts"), now=NOW, is_live=False)
        with pytest.raises(UnreadableFile, match="Line 2: Payout po_march is known here"):
            stripe_imports.import_text(sample("payouts").replace("5487", "5488"), now=NOW, is_live=False)

    def test_does_not_invent_movements_of_a_file_that_does_not_say_what_they_are_about(self) -> None:
        with pytest.raises(UnreadableFile, match="Line 2: txn_a is not known here"):
            stripe_imports.import_text(sample("itemized_payouts"), now=NOW, is_live=False)

    @pytest.mark.parametrize(
        ("row", "fees"),
        [
            ("txn_a,2026-03-02 12:00:00,usd,20.00,0.88,19.12,charge,ch_a,pi_a", 1),
            ("txn_a,2026-03-02 12:00:00,usd,21.00,0.88,20.12,charge,ch_a,pi_a", 0),  # another amount than was paid
            ("txn_a,2026-03-02 12:00:00,eur,20.00,0.88,19.12,charge,ch_a,pi_a", 0),  # another currency, without a rate
            ("txn_a,2026-03-02 12:00:00,usd,20.00,20.01,-0.01,charge,ch_a,pi_a", 0),  # a fee above the payment
            ("txn_a,2026-03-02 12:00:00,usd,20.00,-0.88,20.88,charge,ch_a,pi_a", 0),
        ],
    )
    def test_records_a_fee_only_of_a_movement_that_agrees_with_its_payment(self, topup: TopUp, row: str, fees: int) -> None:
        done = stripe_imports.import_text(f"{HEADER},payment_intent_id\n{row}", now=NOW, is_live=False)
        assert (done.new, done.fees, PlatformFee.objects.count()) == (1, fees, fees)
        assert settlements.record_fees(now=NOW) == 0
        found = {one.kind for one in reconciliation.matched(since=NOW - timedelta(days=90), until=NOW, is_live=False, now=NOW).breaks}
        assert bool(found) is (fees == 0)

    def test_records_one_fee_of_a_payment_whatever_files_say(self, topup: TopUp) -> None:
        rows = [f"txn_{name},2026-03-02 12:00:00,usd,20.00,0.88,19.12,charge,ch_a,pi_a" for name in "ab"]
        text = "\n".join([f"{HEADER},payment_intent_id", *rows])
        assert stripe_imports.import_text(text, now=NOW, is_live=False).fees == 1
        assert settlements.record_fees(now=NOW) == 0

    def test_records_the_fee_once_stripe_itself_tells_of_the_movement(self, topup: TopUp) -> None:
        row = "txn_a,2026-03-02 12:00:00,usd,21.00,0.88,20.12,charge,ch_a,pi_a"
        stripe_imports.import_text(f"{HEADER},payment_intent_id\n{row}", now=NOW, is_live=False)
        told = stripe_objects.balance_transaction(id="txn_a", source="ch_a", amount=2100, fee=88, net=2012)
        assert settlements.keep([movement(told)], now=NOW) == settlements.Kept(0, 1)
        assert not BalanceTransaction.objects.get().is_from_file

    def test_takes_a_payout_for_automatic_once_a_movement_names_it(self) -> None:
        payouts = "id,amount,arrival_date,currency,status,created\npo_march,5487,2026-03-10,usd,paid,2026-03-08 01:02:57"
        stripe_imports.import_text(payouts, now=NOW, is_live=False)
        assert Payout.objects.get().is_automatic is None
        stripe_imports.import_text(sample("payout_reconciliation"), now=NOW, is_live=False)
        payout = Payout.objects.get()
        assert (payout.is_automatic, payout.is_reconciled) == (True, True)

    def test_takes_what_a_later_file_says_of_who_made_a_payout(self) -> None:
        bare = "id,amount,arrival_date,currency,status,created\npo_back,-700,2026-03-12,usd,failed,2026-03-11 01:02:57"
        stripe_imports.import_text(bare, now=NOW, is_live=False)
        stripe_imports.import_text(sample("payouts"), now=NOW, is_live=False)
        assert Payout.objects.get(stripe_id="po_back").is_automatic is False
        stripe_imports.import_text(bare, now=NOW, is_live=False)
        assert Payout.objects.get(stripe_id="po_back").is_automatic is False


@pytest.mark.django_db(transaction=True)
class TestModes:
    """Real money and Stripe's test mode never meet."""

    def test_refuses_movements_of_a_top_up_of_the_other_mode(self) -> None:
        selling.an_order(a_wallet(a_caller()), amount_minor=2000, book_value=Decimal(20), payment_intent="pi_a")
        with pytest.raises(
            UnreadableFile, match=r"Line 2: pi_a paid Top-up \d+. .* is of Stripe's test mode, and this was said to be of real"
        ):
            stripe_imports.import_text(sample("payout_reconciliation"), now=NOW, is_live=True)
        assert not BalanceTransaction.objects.exists()

    def test_refuses_what_is_known_of_the_other_mode(self) -> None:
        stripe_imports.import_text(f"{HEADER}\n{GOOD}", now=NOW, is_live=True)
        with pytest.raises(UnreadableFile, match=r"Line 2: txn_1 is of real money, and this was said to be of Stripe's test mode\."):
            stripe_imports.import_text(f"{HEADER}\n{GOOD}", now=NOW, is_live=False)

    def test_refuses_a_file_that_says_that_it_is_of_the_other(self) -> None:
        with pytest.raises(UnreadableFile, match=r"Line 2: livemode says that this is of the test mode.* Import it as of the test mode\."):
            stripe_imports.import_text(sample("payouts"), now=NOW, is_live=True)

    @pytest.mark.parametrize(("key", "is_live"), [("sk_live_1", True), ("rk_live_1", True), ("sk_test_1", False), ("", True)])
    def test_are_that_of_the_key_unless_somebody_says_another(self, settings: Any, key: str, *, is_live: bool) -> None:
        settings.STRIPE_API_KEY = key
        stripe_imports.import_text(f"{HEADER}\n{GOOD}", now=NOW)
        assert BalanceTransaction.objects.get().is_live is is_live

    def test_do_not_meet_in_a_payout(self) -> None:
        stripe_imports.import_text(sample("payouts"), now=NOW, is_live=False)
        stripe_imports.import_text(sample("payout_reconciliation"), now=NOW, is_live=True)
        assert not Payout.objects.filter(is_reconciled=True).exists()
        with pytest.raises(DatabaseError, match="of the mode of its payout"), transaction.atomic():
            BalanceTransaction.objects.update(payout=Payout.objects.earliest("pk"))

    def test_are_kept_by_the_database(self) -> None:
        stripe_imports.import_text(f"{HEADER}\n{GOOD}", now=NOW, is_live=True)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            BalanceTransaction.objects.update(is_live=False)
        order = selling.an_order(a_wallet(a_caller()), amount_minor=2000, book_value=Decimal(20))
        facts = topups.Facts(payment_intent="pi_a", charge="ch_a")
        topups.settle(topup_id=order.pk, paid=topups.Paid(2000, "USD", is_live=False, facts=facts), now=NOW)
        told = movement(stripe_objects.balance_transaction(source="ch_a"), is_live=True)
        with pytest.raises(DatabaseError, match="of the mode of its top-up"), transaction.atomic():
            settlements.keep([told], now=NOW)
        order.refresh_from_db()
        assert order.payment
        fee = {"payment": order.payment, "balance_transaction": "txn_9", "amount_minor": 1, "currency": "USD", "kind": "payment"}
        with pytest.raises(DatabaseError, match="of the mode of its payment"), transaction.atomic():
            PlatformFee.objects.create(**fee, is_live=True, happened_at=NOW, recorded_at=NOW)


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
