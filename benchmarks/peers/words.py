"""How rows are called, and how figures are written. Pure."""

from __future__ import annotations

NAMES = {
    "libzmq": "raw, libzmq's proxy", "raw": "raw ZeroMQ (bound)", "fabric": "fabric", "async": "fabric, AsyncNode",
    "fabric_keys": "fabric, keys", "nats_tls": "NATS, TLS and nkeys", "mosquitto_tls": "Mosquitto, TLS",
    "unrepaired": "fabric, repair off", "keeper": "fabric, keeper", "jetstream": "NATS JetStream, memory",
    "jetstream_file": "NATS JetStream, file", "zenoh_advanced": "Zenoh, advanced",
    "three": "fabric, three proxies", "nats": "NATS", "mosquitto": "Mosquitto", "redis": "Redis", "zenoh": "Zenoh",
}  # fmt: skip
COLOURS = {
    "libzmq": "#dddddd", "raw": "#aaaaaa", "fabric": "#1f5fa8", "async": "#6fa8dc", "three": "#6fa8dc",
    "unrepaired": "#a9c7e8", "keeper": "#1f5fa8", "jetstream": "#1c6138",
    "jetstream_file": "#0d3b20", "zenoh_advanced": "#8a5a02",
    "fabric_keys": "#123a66", "nats_tls": "#1c6138", "mosquitto_tls": "#4c3166",
    "nats": "#2e9e5b", "mosquitto": "#7a4fa3", "redis": "#c23b22", "zenoh": "#d98e04",
}  # fmt: skip


def number(value: float) -> str:
    """Three digits, or all of a larger one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(ratio: float) -> str:
    """Two digits, or all of a larger one."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"
