"""Run -> telemetry: structured logs and, with extras, metrics and traces."""
