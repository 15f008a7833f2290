"""What a long-running process offers its operator: health, readiness, metrics, logs, the status page."""
