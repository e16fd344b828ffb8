"""A profile and the run form resolved into the settings of each step.

Preflight resolves them once; every later step, the lookup in the registry and a TrainJob take the dictionary that is
theirs and derive nothing again. A step's dictionary holds what the step reads, so that Kubeflow Pipelines' cache, which
compares inputs, is precise; preflight adds the digests of data and code (components/preflight/checks.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, NamedTuple, TypeVar

from clinadapt.config.base import outcome_settings
from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import BUILTIN_LLAMA, InstructProfile, allowed_hosts
from clinadapt.config.profile import AnyProfile

Settings = dict[str, Any]
P = TypeVar("P", ClassifyProfile, InstructProfile)

_TRAINING = ("base_model", "quantization", "num_train_epochs", "learning_rate")
# Field of the run form -> the settings of the profile that it sets, as dotted paths. A path through a section that
# the profile does not have is left out.
FORM: dict[str, dict[str, list[str]]] = {
    "classify": {
        "source": ["source"],
        "feedback": ["feedback.uri"],
        "columns": ["notes.columns"],
        "labels": ["notes.labels"],
        "top_labels": ["notes.top_labels"],
        "min_notes_per_label": ["split.min_notes_per_label"],
        "test": ["split.test"],
        **{field: [f"train.{field}"] for field in _TRAINING},
        "seed": ["train.seed", "split.seed"],
        "adapter_name": ["adapter_name"],
    },
    "instruct": {
        "sources": ["sources"],
        "teacher": ["synthesis.teacher"],
        "test": ["examples.test"],
        **{field: [f"instruct.{field}"] for field in _TRAINING},
        "seed": ["instruct.seed", "pretrain.seed", "preference.seed", "synthesis.seed", "examples.seed"],
        "adapter_name": ["adapter_name"],
    },
}


class PinnedModel(NamedTuple):
    """A base model pinned by content: a URI that always refers to the same files, and their digest."""

    uri: str
    digest: str


def form_defaults(profile: AnyProfile) -> Settings:
    """Field of the run form -> the profile's value."""
    values = profile.model_dump()
    return {field: _section(values, paths[0].split(".")) for field, paths in FORM[profile.recipe].items()}


def apply_form(profile: P, form: Mapping[str, Any]) -> P:
    """The profile with the values of the run form, validated.

    Raises:
        ValidationError: a value is wrong.
    """
    values = profile.model_dump()
    for field, value in {**form_defaults(profile), **form}.items():
        for path in FORM[profile.recipe][field]:
            *sections, name = path.split(".")
            section = _section(values, sections)
            if section is not None:
                section[name] = value
    return type(profile).model_validate(values)


def _section(values: Settings, path: list[str]) -> Any:
    """The value at a path; None if a section on the way is missing."""
    return reduce(lambda section, key: section and section[key], path, values)


def resolve(profile: AnyProfile, form: Mapping[str, Any], base: PinnedModel | None = None) -> dict[str, Settings]:
    """The settings of each step.

    Args:
        profile: the profile.
        form: field of the run form -> value; the profile's own where a field is missing.
        base: the base model that training begins with, pinned; the URI as it was given and no digest when None.

    Returns:
        step -> its settings as JSON.

    Raises:
        ValidationError: a value of the form is wrong.
    """
    if isinstance(profile, ClassifyProfile):
        return _classify(apply_form(profile, form), base)
    return _instruct(apply_form(profile, form), base)


def _classify(profile: ClassifyProfile, base: PinnedModel | None) -> dict[str, Settings]:
    base = base or PinnedModel(profile.train.base_model, "")
    training = profile.train.model_copy(update={"base_model": base.uri})
    return {
        "download": {
            "source": profile.source,
            "notes": profile.notes.model_dump(),
            "feedback": profile.feedback.model_dump(),
            "known_columns": profile.phi.known_columns,
        },
        "screen": {"phi": profile.phi.model_dump()},
        "format": {"split": profile.split.model_dump()},
        "lookup": _lookup(profile.adapter_name, outcome_settings(training), base, profile.gate.model_dump()),
        "train": {"training": training.model_dump(), "base_digest": base.digest},
        "evaluate": {
            "adapter_name": profile.adapter_name,
            "evaluation": profile.evaluation.model_dump(),
            "seed": training.seed,
            "review": profile.review.model_dump(),
            "private": not profile.source.startswith("builtin://"),
        },
        "gate": _gate(profile),
        "publish": _publish(profile),
    }


def _instruct(profile: InstructProfile, base: PinnedModel | None) -> dict[str, Settings]:
    base = base or PinnedModel(profile.instruct.base_model, "")
    training = profile.instruct.model_copy(update={"base_model": base.uri})
    builtin, pretraining = base.uri == BUILTIN_LLAMA, profile.pretraining
    outcome = outcome_settings(training)
    if profile.preference:
        outcome["preference"] = outcome_settings(profile.preference)
    steps: dict[str, Settings] = {
        "download": {
            "sources": [source.model_dump() for source in profile.sources],
            "max_note_characters": profile.examples.max_note_characters,
            "known_columns": profile.phi.known_columns,
        },
        "screen": {"phi": profile.phi.model_dump(exclude={"audit"})},
        "synthesize": {
            "synthesis": profile.synthesis.model_dump(),
            "allowed_hosts": allowed_hosts([source for source in profile.sources if source.kind in ("cases", "notes")]),
        },
        "format": {
            "examples": profile.examples.model_dump(),
            "base_model": base.uri,
            "tokenizer_digest": "" if builtin else base.digest,
            "vocab_size": pretraining.llama.vocab_size if pretraining and builtin else 0,
            "corpus": pretraining is not None,
        },
        "lookup": _lookup(profile.adapter_name, outcome, base, profile.gate.model_dump()),
        "train": {"training": training.model_dump(), "base_digest": base.digest},
        "evaluate": {
            "adapter_name": profile.adapter_name,
            "evaluation": profile.evaluation.model_dump(exclude_none=True),
            "allowed_hosts": allowed_hosts(profile.sources),
            "seed": training.seed,
            "review": profile.review.model_dump(),
        },
        "gate": _gate(profile),
        "publish": _publish(profile),
    }
    if profile.phi.audit:
        steps["format"]["canaries"] = profile.examples.seed
    if pretraining:
        steps["lookup"]["pretraining"] = outcome_settings(pretraining) | {"base_model": base.uri}
        steps["pretrain"] = {
            "training": pretraining.model_dump(), "base_model": base.uri, "base_digest": base.digest
        }  # fmt: skip
    if profile.preference:
        steps["prefer"] = {"training": profile.preference.model_dump()}
    return steps


def _gate(profile: AnyProfile) -> Settings:
    return {
        "adapter_name": profile.adapter_name,
        "thresholds": profile.gate.model_dump(),
        "change_control": profile.change_control.model_dump(),
    }


def _publish(profile: AnyProfile) -> Settings:
    return {
        "adapter_name": profile.adapter_name,
        "reviewers": profile.review.reviewers,
        "change_control": profile.change_control.model_dump(),
    }


def _lookup(adapter_name: str, settings: Settings, base: PinnedModel, thresholds: Settings) -> Settings:
    """What identifies the adapter that this run would train, but for the data and the code."""
    return {"adapter_name": adapter_name, "settings": settings, "base_digest": base.digest, "thresholds": thresholds}
