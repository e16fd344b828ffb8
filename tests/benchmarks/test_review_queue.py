"""Twenty reviewers at once on one queue, through the page's own server in a process of its own, with signed marks:
nothing is lost or stored twice, and how long a click takes, as reviewers and as the server see it.

python -m pytest tests/benchmarks/test_review_queue.py --benchmarks -s
CLINADAPT_PAUSE (1.0) is the mean time between two clicks of a reviewer, in seconds; 20 s is what a case may take.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from queue_server import serving_queue
from review_cases import NAME, VERSION, a_queue, keys
from s3_support import a_store

from clinadapt.artifacts.signing import SIGNING_KEY, VERIFY_KEY
from clinadapt.data.builtin_cases import generate
from clinadapt.feedback.settled import read_reviews

REVIEWERS, CASES, ROUNDS = 20, 60, 6
ANSWERS = ["Lisinopril 40 mg daily; metformin 500 mg twice a day.", "No fever, no cough. The left knee is swollen."]
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


def in_words(seconds: Sequence[float]) -> str:
    ranked = [1000 * each for each in sorted(seconds)]
    most = ranked[int(0.95 * len(ranked))]
    return f"median {statistics.median(ranked):.0f} ms, 95 % within {most:.0f} ms, longest {ranked[-1]:.0f} ms"


@pytest.mark.parametrize("kind", ["folder", "rgw"])
def test_twenty_reviewers_at_once(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    from clinadapt.review.protection import PROXIES, USER_HEADER

    private, public = keys()
    for name, value in (
        ("no_proxy", "localhost,127.0.0.1"), (USER_HEADER, "X-Forwarded-User"), (PROXIES, "127.0.0.1"),
        (SIGNING_KEY, private), (VERIFY_KEY, public),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    store = a_store(kind, request)
    notes = list(dict.fromkeys(row["transcription"] for row in generate(2 * CASES, 7)))[:CASES]
    a_queue(store, risky=CASES, notes=notes, answers=ANSWERS)
    with serving_queue(store.uri) as (url, line):
        reviewers = [Reviewer(url, number) for number in range(REVIEWERS)]
        line.send("begin")
        start = time.monotonic()
        with ThreadPoolExecutor(REVIEWERS) as pool:
            done = sum(pool.map(Reviewer.work, reviewers))
        passed = time.monotonic() - start
        line.send("stop")
        on_server, processor = line.recv()
    seconds = [second for each in reviewers for second in each.seconds]
    print(
        f"\n{kind}: {done} marks by {REVIEWERS} reviewers, {len(seconds) / passed:.1f} clicks a second\n"
        f"  reviewers see: {in_words(seconds)}\n  in the server: {in_words(on_server)}\n"
        f"  processor time of the server: {1000 * processor / len(on_server):.0f} ms a click"
    )
    marks = Counter(
        (mark.case, mark.reviewer) for each in read_reviews(store, NAME, VERSION).cases for mark in each.marks
    )
    assert sum(marks.values()) == done >= REVIEWERS * ROUNDS / 2 and set(marks.values()) == {1}
