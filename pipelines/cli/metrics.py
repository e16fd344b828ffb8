"""`clinadapt metrics`: numbers to watch, for Prometheus."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.options import DEFAULT_STORE, StoreUri, as_uri


def metrics(
    store: StoreUri = DEFAULT_STORE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, for node_exporter's textfile collector.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Serve /metrics at this port until Ctrl-C or SIGTERM.", min=0, max=65535)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on, with --port.")] = "127.0.0.1",
) -> None:
    """Print outcomes, durations, gate figures and champions for Prometheus.

    They are read from the run summaries and champion pointers of the store. The dashboard for them is
    `manifests/components/metrics/dashboard.json`.

        clinadapt metrics --port 9464
    """
    from clinadapt.errors import UserError
    from clinadapt.registry.metrics import exposition, serve, write
    from clinadapt.storage import open_store

    if output is not None and port is not None:
        raise UserError("give either --output FILE or --port PORT")
    opened = open_store(as_uri(store))
    if port is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _exit)
        address = serve(opened, host, port)
        print(f"metrics at http://{address[0]}:{address[1]}/metrics", file=sys.stderr, flush=True)
        signal.pause()
    elif output is not None:
        write(opened, output)
    else:
        print(exposition(opened), end="")


def _exit(*_: Any) -> None:
    raise SystemExit(0)
