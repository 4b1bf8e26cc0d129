"""The metering API: what apps call. One file per resource; `config.api` puts them together."""
