"""`clinadapt registry serve`: the champion on a running vLLM server, swapped without a restart."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.options import DEFAULT_STORE, StoreUri, as_uri


def serve(
    adapter: Annotated[str, typer.Argument(help="NAME, whose champion answers, or NAME/VERSION, which stays.")],
    to: Annotated[Path, typer.Option(help="Folder of `registry fetch --hot-swap`, which vLLM reads at the same path.")],
    server: Annotated[str, typer.Option(help="URL of the vLLM server.")] = "http://127.0.0.1:8000",
    splits: Annotated[
        str | None,
        typer.Option(
            help="Splits of the runs: a folder or URI to search by digest, such as the artifact root of KFP.",
            envvar="CLINADAPT_SPLITS",
        ),
    ] = None,
    questions: Annotated[int, typer.Option(help="Questions of a comparison, at most.", min=10)] = 100,
    canary: Annotated[
        float, typer.Option(help="Percent of the notes that a new version gets first.", min=0, max=99)
    ] = 0,
    canary_minutes: Annotated[float, typer.Option(help="How long, before it gets all.", min=0)] = 60,
    interval: Annotated[float, typer.Option(help="Seconds between two looks at the champion.", min=0.1)] = 30,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="To listen on; 0 for any.", min=0, max=65535)] = 8080,
    store: StoreUri = DEFAULT_STORE,
) -> None:
    """Answer as the champion by a running vLLM, and follow it without a restart.

    A new champion is fetched, verified, loaded beside the version that answers and asked the same held-out
    instructions on this server. It answers if it scores there what it scored in its evaluation and, unless a person
    chose it, not less than the version before it; 2 points and a single answer are tolerated. Else the version before
    goes on, and the log and the page at / say why. `clinadapt registry rollback` goes back the same way.

    Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and, if it has a key, VLLM_API_KEY. Clients ask for the model
    NAME; the reply's `model` and its header X-Clinadapt-Adapter name the version that answered.
    Chat completions are counted without text for `clinadapt monitor`; CLINADAPT_MONITORING=off counts none.

        clinadapt registry fetch demo-instruct --to served/ --hot-swap

        VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve --config served/vllm.yaml --host 127.0.0.1 --port 8000

        clinadapt registry serve demo-instruct --to served/ --splits .clinadapt/outputs
    """
    from clinadapt.monitoring.recorder import switched_on
    from clinadapt.serving.counting import Counter
    from clinadapt.serving.gateway import Gateway
    from clinadapt.serving.hot_swap import Canary, HotSwap
    from clinadapt.serving.questions import comparer
    from clinadapt.serving.vllm_server import VllmServer
    from clinadapt.storage import open_store

    opened, vllm = open_store(as_uri(store)), VllmServer(server, os.environ.get("VLLM_API_KEY", ""))
    compare = comparer(opened, adapter.partition("/")[0], vllm, splits and as_uri(splits), questions)
    swap = HotSwap(opened, adapter, vllm, to, compare, Canary(canary, canary_minutes))
    counter = Counter(swap, opened.uri) if switched_on() else None
    gateway = Gateway(host, port, vllm.url, swap, interval, counter)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    threading.Thread(target=gateway.follow_forever, daemon=True).start()
    print(f"{adapter} at http://{host}:{gateway.server_port}/v1", file=sys.stderr, flush=True)
    try:
        gateway.serve_forever()
    finally:
        gateway.server_close()


def _exit(*_: Any) -> None:
    raise SystemExit(0)
