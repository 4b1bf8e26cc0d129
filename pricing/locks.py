"""The lock between charging and repricing.

A charge takes it shared for as long as its transaction lasts, a publication takes it exclusively: so no charge is in
flight while a price changes, and every charge that commits afterwards has seen the new version.
"""

from typing import Final

PRICES_LOCK: Final = 7_300_001
share_prices_lock_sql: Final = f"SELECT pg_advisory_xact_lock_shared({PRICES_LOCK})"
take_prices_lock_sql: Final = f"SELECT pg_advisory_xact_lock({PRICES_LOCK})"

# Imports of provider rates, decisions about them and corrections, one at a time: each reads the catalogue before it writes.
take_rates_lock_sql: Final = "SELECT pg_advisory_xact_lock(7300007)"
