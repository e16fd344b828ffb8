"""A second opinion: what a published token classifier takes for identifiers, united with what the detector finds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from clinadapt.config.phi import Phi
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe_fetched
from clinadapt.privacy.features import tokens
from clinadapt.privacy.spans import Span

if TYPE_CHECKING:
    from clinadapt.models.token_classifier import TokenClassifier

# Type -> labels of i2b2 2014 and of published models that stand for it, without signs; empty: what identifies nobody
_LABELS = {
    "NAME": "name patient doctor hcw staff username person per firstname middlename lastname givenname surname",
    "INITIALS": "initials",
    "DATE": "date dob dateofbirth",
    "AGE90": "age",  # of which those over 89 are taken
    "HOSPITAL": "hospital hosp patorg facility",
    "EMPLOYER": "employer organization org company companyname vendor",
    "STREET": "street streetaddress address buildingnumber",
    "CITY": "city location loc locationother gpe town county",
    "ZIP": "zip zipcode postcode",
    "PHONE": "phone phonenumber telephone telephonenum tel contact",
    "FAX": "fax",
    "EMAIL": "email",
    "URL": "url",
    "IP": "ip ipaddr ipaddress",
    "SSN": "ssn socialnum",
    "MRN": "mrn medicalrecord",
    "ACCOUNT": "account accountnum",
    "PLAN": "plan healthplan",
    "LICENSE": "license driverlicensenum",
    "VEHICLE": "vehicle",
    "DEVICE": "device bioid",
    "OTHERID": "id idnum idcardnum otherphi otherid",
    "": "o none misc state country profession",
}
_TYPES = {label: kind for kind, labels in _LABELS.items() for label in labels.split()}
_PLACE = re.compile(r"^[BIESLU][-_](?=.)")  # of a token in a span, as in B-DATE
_OVER_89 = re.compile(r"(?<!\d)(?:9\d|1[0-2]\d)(?!\d)|ninet|hundred|neunzig|hundert", re.IGNORECASE)


def types_of_labels(labels: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The type of identifier that each label of a model stands for; empty for none.

    Args:
        labels: `id2label` of its configuration.
        own: label, without B- or I-, -> type, of the profile.

    Raises:
        UserError: a label that neither knows, or one of the profile that the model lacks.
    """
    known = _TYPES | {_plain(label): kind for label, kind in own.items()}
    if unknown := sorted({label for label in labels.values() if _plain(label) not in known}):
        names = ", ".join(dict.fromkeys(_PLACE.sub("", label)[:40] for label in unknown[:5]))
        raise UserError(
            f"phi.second_opinion has labels of unknown meaning ({names}): say in phi.second_opinion_labels which type "
            "each is, or '' for no identifier"
        )
    if absent := sorted(own.keys() - {_PLACE.sub("", label) for label in labels.values()}):
        raise UserError(f"phi.second_opinion_labels: the model has no label '{absent[0][:40]}'")
    return {label: known[_plain(label)] for label in labels.values()}


def described(settings: Phi) -> BaseModel:
    """The model of the second opinion, downloaded where it is not in the cache. Raises UserError where it cannot be
    used."""
    try:
        model = describe_fetched(settings.second_opinion)
    except UserError as error:
        raise UserError(f"phi.second_opinion: {error}") from error
    if not _classifies_tokens(model.config.get("architectures")):
        raise UserError(f"phi.second_opinion: '{model.uri}' is no token classifier: use another model")
    _types(model, settings)
    return model


def _classifies_tokens(architectures: Any) -> bool:
    """Whether architectures, as a configuration has them, are a list of names, one of a token classifier."""
    names = architectures if isinstance(architectures, list) else []
    return all(isinstance(name, str) for name in names) and any(
        name.endswith("ForTokenClassification") for name in names
    )


def _types(model: BaseModel, settings: Phi) -> dict[str, str]:
    labels = model.config.get("id2label")
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise UserError(f"phi.second_opinion: config.json of '{model.uri}' names no labels (id2label): add them")
    return types_of_labels(labels, settings.second_opinion_labels)


class SecondOpinion:
    """Identifiers that a token classifier finds."""

    def __init__(self, settings: Phi, model: BaseModel) -> None:
        """`model`: of `described`. Raises UserError where it cannot be used."""
        self._types = _types(model, settings)
        self._model = _loaded(model.pinned_uri(), model.digest)

    def spans(self, text: str) -> list[Span]:
        """Identifiers in a text, of whole words, disjoint and in its order."""
        pieces = [(start, end, kind) for start, end, label in self._model.labels(text) if (kind := self._types[label])]
        spans: list[Span] = []
        number = 0
        for word in tokens(text):
            while number < len(pieces) and pieces[number][1] <= word.start:
                number += 1
            if number == len(pieces) or pieces[number][0] >= word.end:
                continue
            kind = pieces[number][2]
            if spans and spans[-1].type == kind and not text[spans[-1].end : word.start].strip(" \t"):
                spans[-1] = Span(spans[-1].start, word.end, kind)
            else:
                spans.append(Span(word.start, word.end, kind))
        return [span for span in spans if _identifies(text[span.start : span.end], span.type)]


@cache
def _loaded(uri: str, digest: str) -> TokenClassifier:
    """The model of a digest; one that has changed is loaded anew."""
    from clinadapt.models.token_classifier import TokenClassifier  # imports torch, which takes seconds

    return TokenClassifier(uri)


def _identifies(found: str, kind: str) -> bool:
    """Whether what was found can be an identifier: not signs alone, nor an age that many have."""
    if kind == "AGE90":
        return _OVER_89.search(found) is not None
    return any(character.isalnum() for character in found)


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _PLACE.sub("", label).lower())
