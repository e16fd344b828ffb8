"""Twenty reviewers at once on one queue, through the page's own server: nothing is lost or stored twice, and how long a
click takes."""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from review_cases import NAME, VERSION, a_queue

from clinadapt.feedback.settled import read_reviews
from clinadapt.feedback.worklist import Worklist
from clinadapt.storage.folder_store import FolderStore

REVIEWERS, CASES, ROUNDS = 20, 60, 6
PAUSE = float(os.environ.get("CLINADAPT_PAUSE", "1.0"))  # seconds between two clicks of a reviewer, on average


class Reviewer:
    """A browser of one reviewer behind a proxy that names them."""

    def __init__(self, url: str, number: int) -> None:
        self.rng = random.Random(number)
        self.session, self.skipped = uuid.uuid4().hex, list[str]()
        self.client = httpx.Client(base_url=url, headers={"X-Forwarded-User": f"reviewer {number}"}, timeout=60)
        config = self.client.get("/config").raise_for_status().json()
        by_event = {each["targets"][0][1]: each["id"] for each in reversed(config["dependencies"])}
        self.show, self.save = by_event["select"], by_event["save"]  # of the first tab
        self.seconds: list[float] = []

    def post(self, function: int, event: dict[str, Any]) -> str:
        """The panel's HTML after an event."""
        start = time.monotonic()
        body = {"data": [self.skipped], "event_data": event, "fn_index": function, "session_hash": self.session}
        data = self.client.post("/gradio_api/run/predict", json=body).raise_for_status().json()["data"]
        self.seconds.append(time.monotonic() - start)
        return data[1] if isinstance(data[1], str) else json.dumps(data)

    def work(self) -> int:
        panel, done = self.post(self.show, {}), 0
        for _ in range(ROUNDS):
            if 'data-case="' not in panel:
                break
            case, content = (panel.partition(f'data-{name}="')[2].partition('"')[0] for name in ("case", "content"))
            time.sleep(self.rng.uniform(0, 2 * PAUSE))
            verdict = {"case": case, "content": content, "verdict": self.rng.choice(["right", "wrong"])}
            panel = self.post(self.save, verdict)
            done += 1
        return done


def test_twenty_reviewers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio as gr

    from clinadapt.review.protection import PROXIES, USER_HEADER, Access
    from clinadapt.review.queue_tab import review_tabs
    from clinadapt.review.server import _launch, warm_up

    warm_up()  # as serve() does
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    monkeypatch.setenv(USER_HEADER, "X-Forwarded-User")
    monkeypatch.setenv(PROXIES, "127.0.0.1")
    store = FolderStore((tmp_path / "store").as_uri())
    a_queue(store, risky=CASES, population=CASES)
    with gr.Blocks(title=NAME, analytics_enabled=False) as page:
        review_tabs(Worklist(store, NAME, VERSION))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    _launch(page, "127.0.0.1", port, None, Access.from_environment(False))
    reviewers = [Reviewer(f"http://127.0.0.1:{port}", number) for number in range(REVIEWERS)]
    with ThreadPoolExecutor(REVIEWERS) as pool:
        done = sum(pool.map(Reviewer.work, reviewers))
    page.close(verbose=False)
    seconds = sorted(second for each in reviewers for second in each.seconds)
    print(
        f"{done} marks by {REVIEWERS} reviewers: median {1000 * statistics.median(seconds):.0f} ms a click, "
        f"95 % within {1000 * seconds[int(0.95 * len(seconds))]:.0f} ms, longest {1000 * seconds[-1]:.0f} ms"
    )
    marks = Counter(
        (mark.case, mark.reviewer) for each in read_reviews(store, NAME, VERSION).cases for mark in each.marks
    )
    assert sum(marks.values()) == done >= REVIEWERS * ROUNDS / 2 and set(marks.values()) == {1}
