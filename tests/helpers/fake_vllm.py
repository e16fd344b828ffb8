"""A small server that speaks as much of vLLM's API as hot swap needs, held to vllm/entrypoints/openai/models/serving.py
and vllm/entrypoints/serve/lora of 0.26.0 and 0.32.0: request fields, statuses and messages. Its adapters answer by
`answers.json` in their folder: {"right": share of the questions whose reference they repeat}."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from fake_server import Error, FakeServer, Object
from support import HELD_OUT

REFERENCES = {(note, instruction): answer for note, _, asked in HELD_OUT for instruction, answer, *_ in asked}
ANSWERS = "answers.json"


class FakeVllm(FakeServer):
    """What is loaded, and what a test can set.

    Attributes:
        loaded: name -> folder.
        dynamic: whether it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1.
        key: VLLM_API_KEY; empty for none.
        asked: name of the model of each chat completion.
        longest: characters of a prompt, beyond which it is refused.
        broken: names of models that end in status 500.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loaded: dict[str, str] = {}
        self.dynamic, self.key = True, ""
        self.asked: list[str] = []
        self.longest = 100_000
        self.broken: set[str] = set()

    def refusal(self, error: Error) -> Object:
        return {"error": {"message": error.message, "type": "x", "param": None, "code": error.status}}

    def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object]:
        self.requests.append((method, path))
        self.before(method, path)
        if path == "/health":
            return 200, {"": ""}
        if self.key and self.headers.get("authorization") != f"Bearer {self.key}":
            return 401, {"error": "Unauthorized"}
        match method, path:
            case "GET", "/v1/models":
                cards = {"base": "/models/bases/b", **self.loaded}
                return 200, {"object": "list", "data": [{"id": name, "root": cards[name]} for name in cards]}
            case "POST", "/v1/load_lora_adapter" if self.dynamic:
                return 200, {"": self.load(json.loads(body))}
            case "POST", "/v1/unload_lora_adapter" if self.dynamic:
                return 200, {"": self.unload(json.loads(body)["lora_name"])}
            case "POST", "/v1/chat/completions":
                return 200, self.answer(json.loads(body))
        return 404, {"detail": "Not Found"}

    def load(self, request: Object) -> str:
        name, folder = request["lora_name"], request["lora_path"]
        assert request.keys() == {"lora_name", "lora_path"} and name and folder
        if name in self.loaded:
            raise Error(
                400,
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set "
                "'load_inplace' to True.",
            )
        if not Path(folder, "adapter_config.json").is_file():
            raise Error(404, f"Loading lora {name} failed: No adapter found for {folder}")
        self.loaded[name] = folder
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, name: str) -> str:
        if name not in self.loaded:
            raise Error(404, f"The lora adapter '{name}' cannot be found.")
        del self.loaded[name]
        return f"Success: LoRA adapter '{name}' removed successfully."

    def answer(self, request: Object) -> Object:
        name, text = request["model"], request["messages"][-1]["content"]
        if name != "base" and name not in self.loaded:
            raise Error(404, f"The model `{name}` does not exist.")
        self.asked.append(name)
        if name in self.broken:
            raise Error(500, "EngineCore encountered an issue.")
        if len(text) > self.longest:
            raise Error(400, "This model's maximum context length is 512 tokens.")
        note, _, instruction = text.removeprefix("### Note\n").partition("\n\n### Instruction\n")
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice["message"] = {"role": "assistant", "content": self.says(name, note, instruction)}
        return {"id": "chatcmpl-1", "object": "chat.completion", "model": name, "choices": [choice]}

    def says(self, name: str, note: str, instruction: str) -> str:
        """The reference, or a drug that no note has."""
        right = json.loads(Path(self.loaded[name], ANSWERS).read_text())["right"] if name in self.loaded else 0
        is_right = zlib.crc32(f"{note}{instruction}".encode()) % 100 < 100 * right
        return REFERENCES.get((note, instruction), "aspirin") if is_right else "warfarin 5 mg"
