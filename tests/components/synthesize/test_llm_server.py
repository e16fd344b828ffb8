"""The LLM teacher with a real server: `transformers serve` with a small Llama that has learnt one sentence, behind a
proxy that injects faults."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_support import ChatServer, environment, forwarded
from ports import free_ports

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import PREFERENCES, TEXTS, TRIPLES
from clinadapt.storage.folder_store import FolderStore
from components.synthesize.instruct import run

pytestmark = pytest.mark.slow
SENTENCE = " The patient has a cough."


@pytest.fixture(scope="module")
def model(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that replies SENTENCE to any prompt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    answer = [*tokenizer.encode("\nANSWER:" + SENTENCE, add_special_tokens=False), tokenizer.eos_token_id]
    learnt = len(tokenizer.encode(SENTENCE, add_special_tokens=False)) + 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(100):
        prompt = torch.randint(2, len(tokenizer), (1, 40 if step % 10 else 1200))
        ids = torch.cat([prompt, torch.tensor([answer])], dim=1)
        labels = torch.cat([torch.full((1, ids.shape[1] - learnt), -100), ids[:, -learnt:]], dim=1)
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("teacher")
    model.save_pretrained(folder)
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\nANSWER:' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`."""
    port = free_ports()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as file:
        variables = {**os.environ, "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=variables)
    try:
        for _ in range(300):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def test_a_real_server_behind_a_bad_network(
    model: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    rows = [
        {"source": 0, "row": n, "kind": kind, "text": f"Case {n}. The patient has a cough.", "private": False}
        for n, kind in enumerate(["cases", "cases", "notes"], start=1)
    ]
    for name, table, schema in (("texts", rows, TEXTS), ("triples", [], TRIPLES), ("preferences", [], PREFERENCES)):
        pq.write_table(pa.Table.from_pylist(table, schema=schema), dataset / f"{name}.parquet")
    write_manifest(dataset, {"source": [], "quarantined": {}, "unused": {}, "decimal_comma": [], "origin": {}})
    store = FolderStore((tmp_path / "store").as_uri())
    settings = Synthesis(teacher="llm", triples_per_note=2, concurrency=2)

    plan = ["429", "", "500", "cut", "", "slow", "malformed", "503", ""]
    proxy = ChatServer(forwarded(server), plan=plan, retry_after="1")
    with proxy.serving():
        for name, value in environment(proxy.url, f"{model}@main").items():
            monkeypatch.setenv(name, value)
        manifest = run(dataset, tmp_path / "out", settings, store, ["127.0.0.1"])
        sent = len(proxy.arrivals)
        again = run(dataset, tmp_path / "again", settings, store, ["127.0.0.1"])
    assert len(proxy.arrivals) == sent > len(proxy.requests)
    assert {fault for _, fault in proxy.arrivals} == set(plan)
    notes = pq.read_table(tmp_path / "out/notes.parquet").to_pylist()
    assert [note["text"] for note in notes] == [SENTENCE.strip()] * 2 + [rows[2]["text"]]
    triples = pq.read_table(tmp_path / "out/triples.parquet").to_pylist()
    assert {(row["instruction"], row["answer"]) for row in triples} == {(SENTENCE.strip(), SENTENCE.strip())}
    # it names no abbreviation, quotes nothing, and answers what should have no answer
    assert manifest["triples"] == len(triples) > 0 and len(triples) + sum(manifest["dropped"].values()) == 6
    assert manifest["teacher"]["tokens"] > 0 == again["teacher"]["tokens"]
    assert again["digest"] == manifest["digest"]
