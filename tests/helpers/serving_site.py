"""A store with versions of an adapter, and a server that loads them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_vllm import ANSWERS, REFERENCES, FakeVllm

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.evaluation.answer_scores import TEXT_SCORES, answer_scores
from clinadapt.registry.champion import promote, read_pointer
from clinadapt.registry.vllm import fetch_served
from clinadapt.serving.hot_swap import Canary, Compare, HotSwap
from clinadapt.serving.questions import comparer
from clinadapt.serving.vllm_server import VllmServer
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import upload_folder

NAME = "assistant"


@dataclass
class Site:
    """The store, the folder that the server reads, and the server."""

    folder: Path
    adapter: Path
    splits: Path
    fake: FakeVllm
    address: str

    @property
    def store(self) -> Store:
        return open_store((self.folder / "store").as_uri())

    def publish(self, version: str, right: float, evaluated: float | None = None, **changes: Any) -> None:
        """A champion that answers this share of the questions right, here and, unless it is told, in its evaluation;
        `changes` are of its card or its LoRA."""
        folder = Path(shutil.copytree(self.adapter, self.folder / f"made-{version}"))
        for name in ("clinadapt.json", "adapter_config.json"):
            fields = read_json(folder / name)
            write_json(folder / name, fields | {key: value for key, value in changes.items() if key in fields})
        write_json(folder / ANSWERS, {"right": right})
        write_json(folder / "evaluation.json", self.evaluation(right if evaluated is None else evaluated))
        digest = read_json(self.splits / MANIFEST)["digest"]
        fields = {"name": NAME, "version": version, "splits_digest": digest, "metrics": {"token_f1": {"value": 0.5}}}
        others = ("base_model", "base_digest", "settings", "settings_digest", "code_version", "created", "published_by")
        fields |= dict.fromkeys(others, "x")
        write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, fields)))
        upload_folder(self.store, folder, f"adapters/{NAME}/{version}")
        current = read_pointer(self.store, NAME)
        promote(self.store, NAME, version, current[1] if current else "", {"held_out_digest": "sha256:x"})

    def evaluation(self, right: float) -> dict[str, Any]:
        questions, model = list(REFERENCES), FakeVllm()
        model.loaded["it"] = str(self.folder)
        write_json(self.folder / ANSWERS, {"right": right})
        scores = [
            answer_scores(model.says("it", note, asked), REFERENCES[note, asked], note, asked, False)
            for note, asked in questions
        ]
        by_row = {name: [score[name] for score in scores] for name in TEXT_SCORES}
        return {"max_new_tokens": 32, "by_row": {"index": list(range(len(questions))), **by_row}}

    def start(self, canary: Canary | None = None, splits: str | None = "", compare: Compare | None = None) -> HotSwap:
        """A process that follows the champion. `splits` None: there are none."""
        if not (self.folder / "served/vllm.yaml").exists():
            fetch_served(NAME, self.store.uri, self.folder / "served", hot_swap=True)
        server, splits = VllmServer(self.address), self.splits.parent.as_uri() if splits == "" else splits
        compare = compare or comparer(self.store, NAME, server, splits, 100)
        return HotSwap(self.store, NAME, server, self.folder / "served", compare, canary or Canary())

    def loaded(self) -> list[str]:
        return sorted(self.fake.loaded)
