"""`--metrics-port`: the metrics of a process of its own, for Prometheus."""

from __future__ import annotations

from prometheus_client import start_http_server

from replibatch.errors import SettingsError


def serve_metrics(port: int) -> None:
    """Answer Prometheus on a port of every address.

    Raises:
        SettingsError: it cannot listen there.
    """
    try:
        start_http_server(port)
    except OSError as error:
        raise SettingsError(f"--metrics-port: cannot listen on {port}: {error.strerror}") from None
