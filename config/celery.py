"""The Celery app. Redis only carries work between processes: what must happen is a row in the database first.

So publishing never waits for a Redis that is away. `delay()` raises `kombu.exceptions.OperationalError` at once (after
three seconds when Redis hangs), the caller goes on, and the sweeper that beat runs finds the row later. Celery's own
policy would retry for 19 seconds inside the request. Nothing else may be asked of `delay()`: no `retry=True`.

Three queues, so that nothing waits behind what it has nothing to do with: `deposits` takes Stripe's events into the books and asks
nobody; `stripe` is all that asks Stripe, which may be slow; `celery` is the rest. `up` runs a worker for each. A worker that is told of
no queue takes all three.
"""

import os
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_ready
from kombu.entity import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("meterdesk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_publish_retry=False,
    # Seconds. A worker waits for work with blocking reads of `polling_interval`, so the socket must allow more.
    broker_transport_options={
        "max_retries": 0,
        "socket_connect_timeout": 2,
        "socket_timeout": 3,
        "polling_interval": 1,
    },
    # With REMAP_SIGTERM=SIGQUIT, which `up` sets: running tasks get this long to end before they go back to the queue.
    worker_soft_shutdown_timeout=10,
)
# Each with its routing key: without one, all would be bound to the same key and get each other's tasks.
QUEUES = ("celery", "deposits", "stripe")
app.conf.task_queues = [Queue(name, routing_key=name) for name in QUEUES]
app.conf.task_routes = {
    "billing.tasks.work_off_stripe_events": {"queue": "deposits"},
    "billing.tasks.ask_stripe_about_events": {"queue": "stripe"},
    "billing.tasks.sweep_stripe_events": {"queue": "stripe"},
    "billing.tasks.ask_about_topups": {"queue": "stripe"},
    "billing.tasks.sweep_settlements": {"queue": "stripe"},
    "billing.tasks.charge_saved_cards": {"queue": "stripe"},
    "billing.tasks.send_refunds": {"queue": "stripe"},
}
app.autodiscover_tasks()
app.set_default()  # for every thread of the web server, not only the one that imports this


def _within(seconds: int) -> dict[str, Any]:
    """Drop what no worker took in time: the next one does the same, so they need not pile up while there is none."""
    return {"expire_seconds": seconds}


# What happens by itself. Beat keeps the times in the database and takes these over when it starts.
app.conf.beat_schedule = {
    "Expire holds": {"task": "billing.tasks.expire_holds", "schedule": 15.0},
    "Expire credits": {"task": "billing.tasks.expire_lots", "schedule": 60.0},
    "Seal the ledger": {"task": "billing.tasks.seal_ledger", "schedule": crontab(minute="7,37")},
    "Check the ledger": {"task": "billing.tasks.check_ledger", "schedule": crontab(minute="20")},
    "Send notices": {"task": "pricing.tasks.send_notices", "schedule": 20.0},
    "Compare provider rates": {"task": "pricing.tasks.compare_installed_rates", "schedule": crontab(hour="4", minute="17")},
    "Re-rate usage": {"task": "billing.tasks.rerate", "schedule": 60.0},
    "Count unpriced usage": {"task": "billing.tasks.count_unpriced", "schedule": 300.0},
    "Ask about top-ups": {"task": "billing.tasks.ask_about_topups", "schedule": 60.0},
    "Ask about refunds and disputes": {"task": "billing.tasks.ask_about_money_back", "schedule": 3600.0},
    "Charge saved cards": {"task": "billing.tasks.charge_saved_cards", "schedule": 60.0},
    "Send notices about money": {"task": "billing.tasks.send_notices", "schedule": 20.0},
    "Advise on prices": {"task": "reports.tasks.advise", "schedule": crontab(hour="4", minute="40")},
    "Keep scorecards": {"task": "reports.tasks.keep_scorecards", "schedule": crontab(hour="5", minute="10")},
    "Backtest proposals": {"task": "reports.tasks.backtest_proposals", "schedule": 60.0},
    "Find spikes": {"task": "billing.tasks.find_spikes", "schedule": crontab(minute="3")},
    "Work off Stripe events": {"task": "billing.tasks.work_off_stripe_events", "schedule": 15.0},
    "Ask Stripe about events": {"task": "billing.tasks.ask_stripe_about_events", "schedule": 15.0},
    "Ask Stripe for missed events": {"task": "billing.tasks.sweep_stripe_events", "schedule": 600.0},
    "Ask about fees and payouts": {"task": "billing.tasks.sweep_settlements", "schedule": crontab(minute="*/10")},
    "Find breaks with Stripe": {"task": "reports.tasks.find_breaks", "schedule": crontab(minute="48")},
    "Send refunds of top-ups": {"task": "billing.tasks.send_refunds", "schedule": 60.0},
    "Look at budgets": {"task": "billing.tasks.evaluate_budgets", "schedule": 30.0, "options": _within(30)},
    "Look at wallets": {"task": "billing.tasks.evaluate_wallets", "schedule": 30.0, "options": _within(30)},
    "Look at credits that expire": {"task": "billing.tasks.evaluate_expiring_credits", "schedule": 600.0, "options": _within(600)},
    "Send alerts": {"task": "billing.tasks.send_alerts", "schedule": 15.0, "options": _within(15)},
    "Make partitions": {"task": "billing.tasks.make_partitions", "schedule": crontab(hour="3", minute="11")},
}


@worker_ready.connect
def catch_up(**_: Any) -> None:
    """Ask Stripe at once for what happened while nobody was here, instead of when beat comes round. One of the workers does."""
    if "stripe" in app.amqp.queues.consume_from:
        app.send_task("billing.tasks.sweep_stripe_events")
