"""The commands about approval, and what else of the registry says where a version stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from approvals import NAME, VERDICT, age, approve_on_page, await_approval, key_of, people, policy, publish
from prometheus_client.parser import text_string_to_metric_families

from clinadapt.errors import UserError
from clinadapt.registry.adapters import locate_adapter, published_recipe, refuse_unapproved
from clinadapt.registry.metrics import StoreMetrics, exposition
from clinadapt.registry.vllm import fetch_served
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.preflight.checks import check_approval
from components.publish.lookup import _waiting
from pipelines.cli.main import main

ANNA, BEN, CARL = people("anna", "ben", "carl")
BOARD = policy([ANNA.entry, BEN.entry, CARL.entry])
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def version(store: Store, tmp_path: Path) -> str:
    made = publish(store, tmp_path, 1, BOARD, started_by="dora")
    await_approval(store, made, "dora")
    return made


@pytest.fixture
def registry(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`clinadapt registry ...`: exit status, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["clinadapt", "registry", *arguments, "--store", store.uri])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_who_approves_sees_what_the_gate_said(store: Store, tmp_path: Path, registry: Command) -> None:
    failed = {"name": "few wrong refusals", "passed": False, "detail": "9.0%; required: at most 5.0%"}
    lacks = {"name": "exactly right answers", "passed": False, "detail": "70.0%", "more_notes": 250,
             "lacking": "held-out notes"}  # fmt: skip
    open_ = {**VERDICT, "decision": "not enough evidence", "checks": [failed, lacks]}
    loose, other, silent = (
        publish(store, tmp_path, number, None, verdict=verdict)
        for number, verdict in ((7, VERDICT), (8, open_), (9, None))
    )
    texts = [" ".join(registry("show", f"{NAME}/{version}")[1].split()) for version in (loose, other, silent)]
    meaning = "How much worse it may be for <b>a</b> group of notes"
    assert f"verdict of the gate {VERDICT['outcome']} {meaning}: switched off (default: at most 15 points)" in texts[0]
    assert "verdict of the gate Not enough evidence." in texts[1]
    assert "failed: Few wrong refusals: 9.0%; required: at most 5.0%" in texts[1]
    assert "not enough evidence: Exactly right answers: 70.0%; 250 more held-out notes are needed" in texts[1]
    assert "verdict of the gate Not recorded: an earlier release" in texts[2]
    assert json.loads(registry("show", f"{NAME}/{loose}", "--json")[1])["verdict"] == VERDICT
    key = f"adapters/{NAME}/{loose}/verdict.json"
    store.put(key, store.get(key)[0].replace(b"Passed a loosened gate", b"Passed the default gate"))
    status, output, errors = registry("show", f"{NAME}/{loose}")
    assert status == 2 and "Passed" not in output and f"{key} is not what was published" in errors


@pytest.mark.parametrize(
    "verdict",
    [[], {"decision": "pass"}, {**VERDICT, "checks": [{"name": "x"}]}, {**VERDICT, "checks": [7]},
     {**VERDICT, "loosened": None}, {**VERDICT, "loosened": {"group_margin": {}}}],
    ids=["a list", "no checks", "no result", "a number", "nothing loosened", "no words"],
)  # fmt: skip
def test_what_is_no_verdict_is_one_line(store: Store, tmp_path: Path, registry: Command, verdict: Any) -> None:
    version = publish(store, tmp_path, 7, None, verdict=verdict)
    for command in (["show"], ["documents", "--to", str(tmp_path / "documents")]):
        status, output, errors = registry(command[0], f"{NAME}/{version}", *command[1:])
        assert status == 2 and not output and len(errors.splitlines()) == 1
        assert f"adapters/{NAME}/{version}/verdict.json is not what was published (no verdict)" in errors


def test_two_people_approve(store: Store, version: str, registry: Command) -> None:
    adapter = f"{NAME}/{version}"
    with key_of(ANNA):
        status, _, errors = registry("approve", adapter, "--reason", "subgroups look right")
    assert status == 0 and re.search(f"^{adapter}: awaiting approval: 1 of 2, until 20.* UTC$", errors, re.M)
    listed = registry("list")[1].splitlines()
    assert listed[2].startswith("    awaiting approval: 1 of 2, until 20") and listed[1].startswith("  ")
    with key_of(BEN):
        status, output, errors = registry("approve", adapter, "--reason", "read it", "--json")
    assert status == 0 and json.loads(output)["state"] == "champion" and errors == f"{adapter}: champion\n"
    assert registry("list")[1].splitlines()[1].startswith(f"* {version}")
    shown = registry("show", NAME)[1].splitlines()
    assert any(line.endswith("approval  anna: subgroups look right") for line in shown)
    assert "  2 of anna, ben, carl within 14 days" in shown and "  champion" in shown
    assert all(len(line) <= 80 for line in [*listed, *shown])
    decisions = json.loads(registry("show", NAME, "--json")[1])["approval"]["decisions"]
    assert [each["by"] for each in decisions] == ["anna", "ben"] and all(each["key"] for each in decisions)
    assert registry("verify")[0] == registry("provenance", NAME)[0] == 0


def test_one_refuses_and_another_is_revoked(version: str, registry: Command, tmp_path: Path) -> None:
    adapter, key = f"{NAME}/{version}", tmp_path / "carl.pem"
    key.write_text(CARL.public)
    assert registry("revoke", str(key), "--reason", "laptop lost")[0] == 0
    with key_of(CARL):
        status, _, errors = registry("refuse", adapter, "--reason", "no")
    assert status == 2 and "your decision would not count: the key or name was revoked" in errors
    with key_of(ANNA):
        assert registry("refuse", adapter, "--reason", "x " * 100)[0] == 0
    listed = registry("list")[1].splitlines()
    assert listed[2].startswith("    refused by anna: x x") and all(len(line) <= 80 for line in listed)
    with key_of(BEN):
        status, _, errors = registry("approve", adapter, "--reason", "still")
    assert status == 2 and "that is final: train another version" in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["approve", NAME, "--reason", "x"], "'specialty' has no version: write NAME/VERSION"),
        (["approve", f"{NAME}/none", "--reason", "x"], "nobody signs this: set CLINADAPT_APPROVER_KEY"),
        (["promote", f"{NAME}/VERSION"], "is awaiting approval: 0 of 2, until .* by clinadapt registry approve"),
        (["fetch", f"{NAME}/VERSION", "--to", "served"], "only champions are served: give specialty alone"),
        (["export", f"{NAME}/VERSION", "--to", "merged"], "only champions are served"),
        (["show", NAME], "'specialty' has no champion yet, its versions need approval: .* as in specialty/"),
        (["revoke", "sha256:12", "--reason", "x"], "give the name of a user, an ed25519 public key"),
    ],
)
def test_the_commands_say_what_is_wrong(
    version: str, registry: Command, tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, errors = registry(*(each.replace("VERSION", version) for each in arguments))
    assert status == 2 and re.search(message, errors) and len(errors.splitlines()) == 1
    assert not (tmp_path / "served/vllm.yaml").exists() and not (tmp_path / "merged").exists()


def test_a_forged_approval_is_a_problem_of_verify_and_provenance(store: Store, version: str, registry: Command) -> None:
    approve_on_page(store, version, "anna")
    approve_on_page(store, version, "ben")
    key = next(key for key in store.list("approvals/") if "-approval-" in key)
    store.put(key, store.get(key)[0].replace(b"seen", b"been"))
    status, _, errors = registry("verify")
    assert status == 2 and "is not the approval that the champion's history names" in errors
    assert registry("provenance", NAME)[0] == 2


def test_champions_alone_are_served(store: Store, version: str) -> None:
    adapter = f"{NAME}/{version}"
    assert published_recipe(adapter, store.uri) == "classify"  # to try it, it is named
    with pytest.raises(UserError, match="only champions are served"):
        fetch_served(adapter, store.uri, Path("nowhere"))
    approve_on_page(store, version, "anna")
    approve_on_page(store, version, "ben")
    refuse_unapproved(adapter, store.uri)
    assert locate_adapter(NAME, store.uri)[1] == f"adapters/{adapter}"


def test_lookup_trains_nothing_that_waits_or_was_refused(store: Store, version: str, tmp_path: Path) -> None:
    adapter = f"{NAME}/{version}"
    waiting = _waiting(store, NAME, version)
    assert waiting.startswith(f"nothing new: {adapter}") and waiting.endswith(f"clinadapt registry approve {adapter}")
    age(store, "approvals/", 15)
    assert _waiting(store, NAME, version) == ""  # it expired: judged again, and proposed anew
    await_approval(store, version)
    other = publish(store, tmp_path, 2, BOARD)
    await_approval(store, other)
    for login in ("anna", "ben"):
        approve_on_page(store, other, login)
    assert _waiting(store, NAME, version) == ""  # another champion: judged again
    await_approval(store, version)
    with key_of(CARL):
        from approvals import refuse

        refuse(store, version, CARL)
    assert _waiting(store, NAME, version).endswith("is refused by carl: worse for children; train another version")
    assert _waiting(store, NAME, "none") == _waiting(store, NAME, publish(store, tmp_path, 3, None)) == ""


def test_lookup_goes_by_the_clock_of_the_store(store: Store, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=100)

    monkeypatch.setattr("clinadapt.registry.approval.standing.datetime", Ahead)
    assert "is awaiting approval: 0 of 2" in _waiting(store, NAME, version)


def count(store: Store) -> float:
    families = {family.name: family for family in text_string_to_metric_families(exposition(store))}
    (sample,) = families["clinadapt_versions_awaiting_approval"].samples
    assert sample.labels == {"adapter": NAME}
    return sample.value


def test_what_waits_is_counted(store: Store, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await_approval(store, publish(store, tmp_path, 2, BOARD))
    publish(store, tmp_path, 3, None)
    assert count(store) == 2
    metrics = StoreMetrics(store)
    for login in ("anna", "ben"):
        approve_on_page(store, version, login)
    assert count(store) == 1
    assert [sample.value for sample in metrics._awaiting().samples] == [1]
    monkeypatch.setattr("clinadapt.registry.metrics.waits", lambda *key: key[2] != version or pytest.fail("read again"))
    assert [sample.value for sample in metrics._awaiting().samples] == [1]

    def unreadable(*_: object) -> bool:
        raise UserError("a record is damaged")

    metrics = StoreMetrics(store)
    with monkeypatch.context() as patched:
        patched.setattr("clinadapt.registry.metrics.waits", unreadable)
        assert [sample.value for sample in metrics._awaiting().samples] == [0]
    monkeypatch.undo()
    assert [sample.value for sample in metrics._awaiting().samples] == [1], "what cannot be read once is read again"


def test_a_run_says_who_starts_it(store: Store, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    from clinadapt.config.gate import Approval

    rule = Approval.model_validate(BOARD)
    for started_by, message in (("", "started_by on the run form is empty"), ("\x1b", "is no name")):
        with pytest.raises(UserError, match=message):
            check_approval(store, NAME, rule, started_by)
    with pytest.raises(UserError, match="needs 2 signers, and 1 are left without anna, who starts this run"):
        check_approval(store, "other", Approval.model_validate(policy([ANNA.entry, BEN.entry])), "anna")
    check_approval(store, "other", None, "")
    with pytest.raises(UserError, match="needs approval by 2, as specialty/"):
        check_approval(store, NAME, None, "anna")
    check_approval(store, NAME, rule, "anna")
    assert "waits for approval: 2 of 2 people, 14 days" in capsys.readouterr().err


def test_a_pipeline_that_asks_for_approval_says_so_by_its_last_step(tmp_path: Path) -> None:
    """By which `runs list` knows what became of a run; the others' files are as before."""
    import yaml

    from pipelines.compile import compile_profile
    from pipelines.named_settings import load_cluster, load_profile

    profile = load_profile("cpu-demo")
    profile = type(profile).model_validate(
        profile.model_dump() | {"gate": profile.gate.model_dump() | {"approval": BOARD}}
    )
    text = compile_profile(profile, load_cluster("default"), tmp_path).read_text()
    tasks: dict[str, Any] = {}
    for component in next(yaml.safe_load_all(text))["components"].values():
        tasks |= component.get("dag", {}).get("tasks", {})
    assert tasks["publish"]["taskInfo"]["name"] == "publish-for-approval"
    assert "PRIVATE" not in text and profile.gate.approval and profile.gate.approval.of[0].key in text
