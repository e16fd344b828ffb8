"""People with keys of their own, and versions that wait for their approval."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinadapt.artifacts.code_version import run_key
from clinadapt.artifacts.hashing import sha256_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import APPROVER_KEY, sign_manifest
from clinadapt.config.gate import Approval
from clinadapt.registry.approval.decisions import decide, propose
from clinadapt.registry.approval.standing import Standing
from clinadapt.registry.champion import champion
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import upload_folder

NAME = "specialty"
METRICS = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}
FIELDS = {"accuracy": METRICS["accuracy"], "code_version": "0.1.0+code"}


# What the gate said of a version, as a demo's profile loosens it; of published ones all checks have passed
VERDICT = {
    "decision": "pass",
    "outcome": "Passed a loosened gate. One of the default checks is switched off in this profile, so this verdict is "
    "no evidence of safe use.",
    "checks": [{"name": "more accurate than the majority class", "passed": True, "detail": "+20.0", "judged": True}],
    "loosened": {"group_margin": {"meaning": "How much worse it may be for <b>a</b> group of notes",
                                  "default": "at most 15 points", "here": "switched off"}},
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Somebody with a name and an ed25519 key, as PEM text."""

    name: str
    private: str
    public: str

    @property
    def entry(self) -> dict[str, str]:
        """Of `gate.approval.of`."""
        return {"name": self.name, "key": self.public}


def people(*names: str) -> list[Person]:
    """People with new keys."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    made = []
    for name in names:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        made.append(Person(name, private, public))
    return made


def policy(of: Sequence[Any], signers: int = 2, days: int = 14) -> dict[str, Any]:
    """`gate.approval` as a manifest has it."""
    return Approval(of=list(of), signers=signers, days=days).model_dump()


def publish(
    store: Store,
    folder: Path,
    number: int,
    approval: dict[str, Any] | None,
    name: str = NAME,
    started_by: str = "",
    adapter: Path | None = None,
    verdict: Any = None,
) -> str:
    """A version as publish writes it, with the files of an adapter and what the gate said if they are given; `number`
    tells it from others."""
    folder = folder / f"{name}-{number}"
    folder.mkdir()
    write_json(folder / "clinadapt.json", {"recipe": "classify", "base_digest": "sha256:base"})
    if adapter:
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
    if verdict is not None:
        write_json(folder / "verdict.json", verdict)
    settings = {"seed": number}
    gate = {"champion_margin": 0.02} | ({"approval": approval} if approval else {})
    version = run_key("sha256:splits", "sha256:base", settings, "0.1.0+code", gate)
    (folder / "report.html").write_text("<p>report</p>")
    write_json(folder / "training.json", {"settings": settings})
    write_json(folder / "evaluation.json", {"models": {"candidate": {"metrics": METRICS}}})
    fields = {
        "name": name, "version": version, "recipe": "classify", "dataset_digest": "sha256:data",
        "splits_digest": "sha256:splits", "base_model": "builtin://minilm", "base_digest": "sha256:base",
        "settings": settings, "settings_digest": sha256_json(settings), "code_version": "0.1.0+code", "gate": gate,
        "metrics": METRICS, "created": f"2026-01-{number:02}T00:00:00Z", "published_by": "a-run",
        **({"started_by": started_by} if started_by else {}),
    }  # fmt: skip
    write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, fields)))
    upload_folder(store, folder, f"adapters/{name}/{version}")
    return version


def await_approval(store: Store, version: str, started_by: str = "", name: str = NAME, report: str = "") -> Standing:
    """What publish does with a version that needs approval."""
    current = (champion(store, name) or ("", ""))[0]
    return propose(store, name, version, current, "a-run", started_by, FIELDS, report)


@contextmanager
def key_of(person: Person) -> Iterator[None]:
    """A machine on which a person has the own key."""
    before = os.environ.get(APPROVER_KEY)
    os.environ[APPROVER_KEY] = person.private
    try:
        yield
    finally:
        del os.environ[APPROVER_KEY]
        os.environ |= {APPROVER_KEY: before} if before else {}


def approve(store: Store, version: str, person: Person, reason: str = "the report convinces me") -> Standing:
    """With the own key."""
    with key_of(person):
        return decide(store, NAME, version, "approval", reason)


def refuse(store: Store, version: str, person: Person, reason: str = "worse for children") -> Standing:
    """With the own key."""
    with key_of(person):
        return decide(store, NAME, version, "refusal", reason)


def approve_on_page(store: Store, version: str, login: str) -> Standing:
    """As the review page does for somebody who has signed in."""
    return decide(store, NAME, version, "approval", "seen on the page", login)


def age(store: Store, prefix: str, days: float) -> None:
    """Let what a store in a folder has below a prefix have been written earlier; of approvals, the proposals."""
    folder = Path(store.uri.removeprefix("file://"))
    for key in (key for key in store.list(prefix) if "-proposal-" in key or not key.startswith("approvals/")):
        written = (folder / key).stat().st_mtime - days * 86400
        os.utime(folder / key, (written, written))
