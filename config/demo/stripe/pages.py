"""The pages of the simulation: where a buyer pays, and where whoever runs the demo plays the banks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from billing import minor_units
from config.demo.stripe import control
from config.demo.stripe.account import Account
from config.demo.stripe.cards import CARDS
from config.demo.stripe.errors import Refusal, missing
from config.demo.stripe.objects import Fields

HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'", "Cache-Control": "no-store"}
_SHOWN = 15
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --main: #4f46e5; }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 }
header { background: #b45309; color: #fff; padding: .75rem 1rem; text-align: center; font-weight: 600 }
main { max-width: 28rem; margin: 2rem auto; padding: 0 1rem } main.wide { max-width: 64rem }
h1 { font-size: 1.25rem; margin: 0 0 .25rem } h2 { font-size: 1rem; margin: 2rem 0 .5rem }
.amount { font-size: 2.25rem; font-weight: 600; margin: .25rem 0 1rem; font-variant-numeric: tabular-nums }
.note { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin: 1rem 0; background: var(--soft) }
form { display: inline } form.pay { display: grid; gap: .6rem } label { font-size: .9rem }
select, button, .button { font: inherit; width: 100%; padding: .6rem .8rem; border-radius: .5rem; border: 1px solid var(--line);
  background: Field; color: FieldText; cursor: pointer; display: block; text-align: center; text-decoration: none }
button:focus-visible, select:focus-visible, a:focus-visible { outline: 3px solid #818cf8; outline-offset: 2px }
button.main { background: var(--main); border-color: var(--main); color: #fff; font-weight: 600 }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th, td { text-align: left; padding: .5rem .75rem .5rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top } td.figure, th.figure { text-align: right; white-space: nowrap }
td button { width: auto; display: inline-block; padding: .2rem .6rem; margin: 0 .3rem .3rem 0; font-size: .85rem }
.row button { width: auto; display: inline-block; margin: 0 .5rem .5rem 0 } select { text-align: left }
td:last-child { width: 40% } small { opacity: .75 } code { overflow-wrap: anywhere } a { color: light-dark(#4338ca, #a5b4fc) }
@media (max-width: 45rem) { th { display: none } td, td:last-child { border: 0; padding: .15rem 0; width: auto }
  tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--line); padding: .5rem 0 }
  td:nth-child(n + 3) { grid-column: 1 / -1 } }
"""


@dataclass(frozen=True, slots=True)
class Page:
    """HTML, or where the browser goes next."""

    html: str = ""
    goes_to: str = ""
    status: int = 200


def show(account: Account, path: str) -> Page:
    """Return the page at `path`. Raises Refusal (404)."""
    if path.startswith("/pay/"):
        return _pay_page(account, account.checkout.find(path.removeprefix("/pay/")))
    if path in {"/", "/simulation"}:
        return _control_page(account)
    raise missing("page", path)


def press(account: Account, path: str, body: str) -> Page:
    """Do what a button stands for. Raises Refusal."""
    fields = dict(parse_qsl(body))
    button = fields.pop("button", "")
    if path.startswith("/pay/"):
        return _pressed_by_buyer(account, path.removeprefix("/pay/"), button, fields)
    if path == "/simulation":
        asked: dict[str, Any] = {name: value == "yes" if name in _YES_OR_NO else value for name, value in fields.items()}
        if button not in _BUTTONS:
            raise missing("button", button)
        try:
            control.do(account, button, asked)
        except Refusal as refusal:
            return _control_page(account, str(refusal))
        return Page(goes_to="/simulation")
    raise missing("page", path)


_BUTTONS = {"bank_answers", "refund", "settle_refund", "open_dispute", "escalate", "close_dispute", "warn", "pay_out"}
_YES_OR_NO = {"pays", "succeeds", "is_inquiry", "fails"}


def _pressed_by_buyer(account: Account, name: str, button: str, fields: dict[str, str]) -> Page:
    session = account.checkout.find(name)
    if button == "cancel":
        return Page(goes_to=session["cancel_url"] or f"/pay/{name}")
    if session["status"] != "open":
        return Page(goes_to=f"/pay/{name}")
    card = {"pay": fields.get("card", "visa"), "decline": "declined", "later": "bank"}.get(button)
    if card is None:
        raise missing("button", button)
    session = account.pay(name, card)
    if session["status"] != "complete":
        return _pay_page(account, session, "The bank declined. Nothing was paid; try another card.")
    return Page(goes_to=str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", name))


def _pay_page(account: Account, session: Fields, problem: str = "") -> Page:
    is_setup = session["mode"] == "setup"
    title = "Save a card" if is_setup else _what(account, session)
    head = f"<h1>{escape(title)}</h1>"
    if not is_setup:
        head += f'<p class="amount">{_amount(session["amount_total"], session["currency"])}</p>'
    if problem:
        head += f'<p class="note" role="alert">{escape(problem)}</p>'
    if session["status"] != "open":
        words = {"complete": "This is done; there is nothing left to pay.", "expired": "This link has ended. Ask for a new one."}
        return _whole(title, f'{head}<p class="note">{words[session["status"]]}</p>{_link(session["success_url"], "Back to the shop")}')
    cards = [card for card in CARDS.values() if not card.is_bank]
    options = "".join(f'<option value="{card.name}">{escape(card.label)}</option>' for card in cards)
    form = (
        f'<form class="pay" method="post"><label for="card">Card (none of them is real)</label>'
        f'<select id="card" name="card">{options}</select>'
        f'<button class="main" name="button" value="pay">{"Save" if is_setup else "Pay"}</button>'
        '<button name="button" value="decline">Decline</button>'
    )
    if not is_setup:
        form += '<button name="button" value="later">Pay later by bank</button>'
    if session["cancel_url"]:
        form += '<button name="button" value="cancel">Cancel</button>'
    hint = '<p><small>"Pay later by bank" waits until the bank answers: <a href="/simulation">play the bank</a>.</small></p>'
    return _whole(title, head + form + "</form>" + ("" if is_setup else hint))


def _what(account: Account, session: Fields) -> str:
    items = account.state.facts(session["id"])["params"]["line_items"]
    return ", ".join(str(item["price_data"]["product_data"]["name"]) for item in items)


def _control_page(account: Account, problem: str = "") -> Page:
    charges = account.state.all("charge")[:_SHOWN]
    parts = ["<h1>Play the banks</h1><p>What a buyer's bank or Stripe itself would do. The desk hears of it by webhook.</p>"]
    if problem:
        parts.append(f'<p class="note" role="alert">{escape(problem)}</p>')
    parts += ["<h2>Payments</h2>", _table(("Time", "Amount", "Status", ""), (_charge_row(account, charge) for charge in charges))]
    for title, kind, row in (("Refunds", "refund", _refund_row), ("Disputes", "dispute", _dispute_row), ("Payouts", "payout", _payout_row)):
        rows = [row(one) for one in account.state.all(kind)[:_SHOWN]]
        if rows:
            parts += [f"<h2>{title}</h2>", _table(("Time", "Amount", "Status", ""), rows)]
    pay_out = _button("pay_out", "Pay out what is there") + _button("pay_out", "Pay out, and the bank refuses", fails="yes")
    parts.append(f'<h2>Balance</h2><div class="row">{pay_out}</div>')
    waiting = len(account.state.data["deliveries"])
    if waiting:
        parts.append(f"<p>{waiting} events wait for the desk to answer; they are sent again and again.</p>")
    return _whole("Play the banks", "".join(parts), is_wide=True)


def _charge_row(account: Account, charge: Fields) -> tuple[str, ...]:
    name, buttons = charge["id"], ""
    intent = account.state.find("payment_intent", charge["payment_intent"])
    if intent["status"] == "processing" and intent["latest_charge"] == name:
        buttons += _button("bank_answers", "The bank pays", payment=name, pays="yes")
        buttons += _button("bank_answers", "The bank refuses", payment=name, pays="no")
    elif charge["paid"] and not charge["disputed"]:
        if not charge["refunded"]:
            buttons += _button("refund", "Refund", payment=name) + _button("refund", "Refund, pending", payment=name, status="pending")
        buttons += _button("open_dispute", "Dispute", payment=name)
        buttons += _button("open_dispute", "Inquiry", payment=name, is_inquiry="yes") + _button("warn", "Fraud warning", payment=name)
    return _row(charge, _status(charge), buttons)


def _status(charge: Fields) -> str:
    if charge["disputed"]:
        return "disputed"
    if charge["amount_refunded"]:
        return "refunded" if charge["refunded"] else f"{_amount(charge['amount_refunded'], charge['currency'])} refunded"
    return str(charge["failure_message"] or charge["status"])


def _refund_row(refund: Fields) -> tuple[str, ...]:
    buttons = ""
    if refund["status"] == "pending":
        buttons += _button("settle_refund", "It arrives", refund=refund["id"], succeeds="yes")
    if refund["status"] in {"pending", "succeeded"}:
        buttons += _button("settle_refund", "It fails", refund=refund["id"], succeeds="no")
    return _row(refund, refund["status"], buttons)


def _dispute_row(dispute: Fields) -> tuple[str, ...]:
    name, status, buttons = dispute["id"], dispute["status"], ""
    if status == "needs_response":
        buttons = _button("close_dispute", "We win", dispute=name, outcome="won")
        buttons += _button("close_dispute", "We lose", dispute=name, outcome="lost")
    if status == "warning_needs_response":
        buttons = _button("escalate", "It becomes a dispute", dispute=name)
        buttons += _button("close_dispute", "It ends", dispute=name, outcome="won")
    return _row(dispute, status.replace("_", " "), buttons)


def _payout_row(payout: Fields) -> tuple[str, ...]:
    return _row(payout, payout["status"], "")


def _row(thing: Fields, status: str, buttons: str) -> tuple[str, ...]:
    at = datetime.fromtimestamp(thing["created"], UTC)
    what = f"<br>{escape(thing['description'])}" if thing.get("description") else ""
    return (
        f"{at:%d %b %H:%M}{what}<br><small><code>{thing['id']}</code></small>",
        _amount(thing["amount"], thing["currency"]),
        escape(status),
        buttons,
    )


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    classes = {"Amount": ' class="figure"'}
    top = "".join(f"<th{classes.get(head, '')}>{head}</th>" for head in heads)
    lines = "".join(f'<tr><td>{a}</td><td class="figure">{b}</td><td>{c}</td><td>{d}</td></tr>' for a, b, c, d in rows)
    return f"<table><tr>{top}</tr>{lines}</table>" if lines else "<p>None yet.</p>"


def _button(action: str, label: str, **fields: str) -> str:
    hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())
    return f'<form method="post" action="/simulation">{hidden}<button name="button" value="{action}">{label}</button></form>'


def _amount(minor: int, currency: str) -> str:
    return f"{minor_units.to_major(minor, currency):,} {currency.upper()}"


def _link(url: str, label: str) -> str:
    return f'<a class="button" href="{escape(url)}">{label}</a>' if url.startswith(("http://", "https://")) else ""


def _whole(title: str, body: str, *, is_wide: bool = False) -> Page:
    width = ' class="wide"' if is_wide else ""
    return Page(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)} - simulation</title><style>{_STYLE}</style></head>"
        f"<body><header>Simulation - no money moves</header><main{width}>{body}</main></body></html>"
    )
