"""The judge: scores go to the model that they are about, whatever the order, and a bad reply is no zero."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clinadapt.llm_client import ChatClient
from components.evaluate.judge import judge, parse


class Judge(BaseHTTPRequestHandler):
    """Gives the answer "good" 4 and "bad" 1, and about note 3 says something else."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][1]["content"]
        answers = re.findall(r"### Answer (\w)\n(\w+)", asked)
        text = "\n".join(f"{letter}: {4 if answer == 'good' else 1}" for letter, answer in answers)
        self.server.orders.append(answers[0][1])  # type: ignore[attr-defined]
        text = "I cannot say." if "note 3" in asked else text
        message = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "index": 0}
        reply = json.dumps({"id": "1", "object": "chat.completion", "model": "judge", "choices": [message]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    server.orders = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("CLINADAPT_JUDGE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("CLINADAPT_JUDGE_MODEL", "judge")
    monkeypatch.setenv("CLINADAPT_JUDGE_KEY", "key")
    yield server
    server.shutdown()
    server.server_close()


def test_scores_follow_the_models_and_a_bad_reply_is_no_zero(server: ThreadingHTTPServer) -> None:
    rows = [{"note_text": f"note {i}.", "instruction": "Summarize.", "cluster": i} for i in range(12)]
    client = ChatClient("CLINADAPT_JUDGE", None, allowed_hosts=["127.0.0.1"])
    result = judge(client, rows, {"candidate": ["good"] * 12, "base": ["bad"] * 12}, threads=3, seed=0)
    assert set(server.orders) == {"good", "bad"}  # type: ignore[attr-defined]
    assert result["host"] == "127.0.0.1"
    assert (result["scored"], result["parse_failures"], result["refused"]) == (11, 1, 0)
    assert (result["scores"]["candidate"]["value"], result["scores"]["base"]["value"]) == (4, 1)


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ("A: 3\nB: 4", [3, 4]),
        ("**B**: 1\nAnswer A: 2\n", [2, 1]),
        ("A: 3", None),
        ("A: 3\nB: 5", None),
        ("A: 3\nA: 4\nB: 1", None),
        ("They are both fine.", None),
    ],
)
def test_what_a_reply_says(reply: str, scores: list[int] | None) -> None:
    assert parse(reply, 2) == scores
