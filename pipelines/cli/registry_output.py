"""What `clinadapt registry` prints: lines that fit into 80 columns. Digests are shortened; --json has them in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

from clinadapt.documents import verdict as words

_GROUPS = {
    "published": ("recipe", "started", "started_by", "created", "published_by", "code_version"),
    "trained on": ("dataset_digest", "splits_digest", "base_model", "base_digest", "settings_digest"),
}


def version_lines(versions: Iterable[dict[str, Any]], now: datetime) -> Iterator[tuple[str, bool]]:
    """(line, whether it is a champion's) of `registry list`: a block per adapter with a line per version.

    Args:
        versions: rows of `registry list --json`, adapter by adapter.
        now: time to count ages from.
    """
    adapter = None
    for version in versions:
        if version["name"] != adapter:
            yield from [("", False)] if adapter else []
            adapter = version["name"]
            yield adapter, False
        metric = version["metric"]
        value = f"{metric.replace('_f1', ' F1')} {interval(version[metric])}"
        age = age_of(datetime.fromisoformat(version["created"]), now)
        yield f"{'*' if version['champion'] else ' '} {version['version']:16}  {value}  {age}", version["champion"]
        if version["approval"] and version["approval"]["state"] not in ("champion", "was champion"):
            yield from ((line, False) for line in _wrapped(version["approval"]["sentence"], 4))
    if adapter:
        yield from (("", False), ("* champion; the metric is on held-out notes, with its 95 % interval", False))


def manifest_lines(
    manifest: dict[str, Any], champion: bool, history: list[dict[str, Any]], verdict: dict[str, Any] | None
) -> Iterator[str]:
    """Lines of `registry show`: what the gate said, metrics, origin and champion history of a version."""
    yield f"{manifest['name']}/{manifest['version']}{' (champion)' if champion else ''}"
    yield from _verdict_lines(verdict)
    yield from ("", "metrics on held-out notes (95 % interval)")
    yield from _fields((metric, interval(value)) for metric, value in manifest["metrics"].items())
    texts = {key: value for key, value in manifest.items() if isinstance(value, str) and key not in ("name", "version")}
    grouped = {key for keys in _GROUPS.values() for key in keys}
    groups = {**_GROUPS, "other": tuple(key for key in texts if key not in grouped)}
    for title, keys in groups.items():
        yield from ("", title)
        yield from _fields((key, short(texts[key])) for key in keys if key in texts)
    yield from ("", "champions of this adapter, newest first")
    for entry in reversed(history):
        when = entry["when"].replace("T", " ")[:16]
        yield f"  {when}  {entry['version']:16}  {entry['by']}{' (rollback)' if entry['rollback'] else ''}"


def _verdict_lines(verdict: dict[str, Any] | None) -> Iterator[str]:
    """What the gate said, in the words of the report: the decision, what the profile loosened, and the checks that did
    not pass. `verdict` is the content of verdict.json; None where the version has none."""
    yield from ("", "verdict of the gate")
    if verdict is None:
        yield from _wrapped(words.UNRECORDED, 2)
        return
    yield from _wrapped(f"{words.headline(verdict)}. {words.reasons(verdict)}", 2)
    for meaning, default, here in words.loosened(verdict):
        yield from _wrapped(f"{meaning}: {here} (default: {default})", 4)
    for check in words.checks(verdict):
        if check.result != "passed":
            yield from _wrapped(f"{check.result}: {check.name}: {check.detail}", 4)


def approval_lines(approval: dict[str, Any], sentence: str) -> Iterator[str]:
    """Lines of `registry show` about approval: who has to, where it stands, and each decision with its reason.

    Args:
        approval: as `Standing.to_json` returns it.
        sentence: its state in words.
    """
    policy = approval["policy"]
    people = ", ".join(each["name"] or each["key"][:19] for each in policy["of"])
    yield from ("", "approval")
    yield from _wrapped(f"{policy['signers']} of {people} within {policy['days']} days", 2)
    yield from _wrapped(sentence, 2)
    for each in approval["decisions"]:
        when = each.get("when", "").replace("T", " ")[:16]
        words = f"{when}  {each.get('decision', 'broken record')}  {each['by']}: {each.get('reason', '')}"
        yield from _wrapped(words, 2)
        if "not_counted" in each:
            yield from _wrapped(f"does not count: {each['not_counted']}", 4)


def _wrapped(text: str, indent: int) -> list[str]:
    """Lines of at most 80 columns, indented."""
    return wrap(text, 80, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))


def difference_lines(differences: dict[str, list[Any]]) -> Iterator[str]:
    """Lines of `registry diff`: a key, and below it the value on either side."""
    for key, (one, other) in differences.items():
        yield key
        yield from (f"  {sign} {short(str(value))}" for sign, value in (("-", one), ("+", other)) if value is not None)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every value in nested dictionaries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def interval(metric: dict[str, float]) -> str:
    """A metric with its interval."""
    return f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


def short(value: str) -> str:
    """Text with every SHA-256 shortened to 12 hexadecimal digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1...", value)


def age_of(then: datetime, now: datetime) -> str:
    """An age in the largest unit, such as `3 days ago`."""
    seconds = (now.astimezone(UTC) - then.astimezone(UTC)).total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(seconds // size)) > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _fields(fields: Iterable[tuple[str, str]]) -> Iterator[str]:
    """`key: value` lines, indented; a value that would not fit beside its key goes below it."""
    for key, value in fields:
        if len(line := f"  {key + ':':22} {value}") <= 80:
            yield line
        else:
            yield from (f"  {key}:", f"    {value}")
