"""`replibatch serve`: Replicate's API in front of the queue."""

from __future__ import annotations

import logging

import click

from replibatch import embedded, logs
from replibatch.cli.account import open_account, opened, say_if_no_worker
from replibatch.cli.metrics_port import serve_metrics
from replibatch.cli.options import log_format
from replibatch.errors import SettingsError
from replibatch.logs import LogFormat


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8787, show_default=True, help="Port to listen on.")
@click.option("--public-url", default="", metavar="URL", help="What clients reach it as, behind a proxy.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings.")
@log_format
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    metavar="PORT",
    help="Tell Prometheus of this process's work, on every address.",
)
def serve(
    host: str, port: int, public_url: str, quiet: bool, log_format: LogFormat, metrics_port: int | None
) -> None:
    """Serve Replicate's HTTP API in front of the queue, until SIGTERM or Ctrl-C.

    Any Replicate client uses the queue by changing its base URL. Workers make the predictions; this process holds no
    account token. Without keys (`replibatch keys add`) it answers this machine alone.
    """
    embedded.watch_parent()
    logs.configure(log_format, level=logging.WARNING if quiet else logging.INFO, others=logging.WARNING)
    if public_url and not public_url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{public_url!r} is no address; expected: https://…", param_hint="--public-url")
    try:
        from replibatch.gateway.server import make_server  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed; expected: pip install 'replibatch[serve]'") from None
    producer = opened(open_account().settings.model_copy(update={"replicate_api_token": None}))
    say_if_no_worker(producer)
    if producer.embedded:
        click.echo("replibatch: `replibatch worker` in another terminal does the work", err=True)
    shown = f"[{host}]" if ":" in host else host
    if metrics_port is not None:
        serve_metrics(metrics_port)
    server = make_server(
        producer, host, port, public_url, lambda: click.echo(f"replibatch: Replicate's API at http://{shown}:{port}")
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    try:
        server.run()
    except SystemExit:
        raise SettingsError(f"{shown}:{port} cannot be listened on; expected: a free port, by --port") from None
    finally:
        producer.close()
