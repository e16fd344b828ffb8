"""The tabs of the review queue, served by a process of their own that tells how long it took over clicks."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from ports import free_ports
from review_cases import NAME, VERSION

from clinadapt.storage import open_store


def serve_queue(store_uri: str, port: int, line: Connection) -> None:
    """Serve the tabs until told to stop, then tell how long each click took, in seconds, and the processor time of all
    of them."""
    import gradio as gr

    from clinadapt.feedback.worklist import Worklist
    from clinadapt.review import server
    from clinadapt.review.protection import Access, Protection
    from clinadapt.review.queue_tab import review_tabs

    seconds: list[float] = []

    class Timed(Protection):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            start = time.monotonic()
            await super().__call__(scope, receive, send)
            if scope.get("path", "").endswith("/predict"):
                seconds.append(time.monotonic() - start)

    server.Protection = Timed
    server.warm_up()  # as serve() does
    with gr.Blocks(title=NAME, analytics_enabled=False) as page:
        review_tabs(Worklist(open_store(store_uri), NAME, VERSION))
    server._launch(page, "127.0.0.1", port, None, Access.from_environment(False))
    line.send("up")
    line.recv()
    start = time.process_time()
    line.recv()
    line.send((seconds, time.process_time() - start))
    page.close(verbose=False)


@contextmanager
def serving_queue(store_uri: str) -> Iterator[tuple[str, Connection]]:
    port = free_ports()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_queue, args=(store_uri, port, theirs))
    process.start()
    try:
        assert ours.poll(120), "the page does not start"
        assert ours.recv() == "up"
        yield f"http://127.0.0.1:{port}", ours
    finally:
        process.join(20)
        process.kill()
