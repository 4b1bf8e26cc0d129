"""The field groups of a usage record, as the product's field dictionary names them."""

GROUPS = (
    ("Time", (("occurred", "recorded"), ("hour", "zone"))),
    ("Request identity", (("event_id", "request_id"), ("trace_id", "gateway_log_id"), ("batch_job_id",))),
    (
        "Ownership",
        (("project", "key"), ("user", "service_account"), ("team", "budget_owner"), ("cost_center", "of_customer")),
    ),
    ("Environment and workflow", (("environment", "workflow"), ("run", "job"), ("agent_type",))),
    ("Model and endpoint", (("provider", "model"), ("endpoint", "modality"), ("service_tier", "route_group"), ("final_route",))),
    (
        "Token metrics",
        (
            ("tokens_in", "tokens_out"),
            ("cached_in", "reasoning"),
            ("cached_new", "cached_hour"),
            ("audio_in", "audio_out"),
            ("images", "video"),
        ),
    ),
    ("Request metrics", (("model_requests", "accepted"), ("retries", "fallbacks"), ("batch", "stream"))),
    ("Reliability", (("status", "status_code"), ("error_class", "timeout_reason"), ("latency", "first_token"), ("duration",))),
    (
        "Cost",
        (
            ("event", "how_many"),
            ("charged", "price"),
            ("price_table",),
            ("provider_cost", "cost_label"),
            ("cost_table",),
            ("cost_adjustments",),
            ("invoice_period",),
        ),
    ),
    ("Quota and budget", (("balance", "available"), ("held",))),
    ("Recharge and approval", (("paid_from",), ("refunds",))),
    ("Privacy and retention", (("payload_logging", "kept_until"), ("metadata",))),
)
