"""What decides, with a text, what is found in it: code, word lists and libraries; and what becomes of it."""

from __future__ import annotations

from importlib.metadata import version

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.phi import Phi
from clinadapt.models.base_model import BaseModel
from clinadapt.privacy.second_opinion import described
from clinadapt.privacy.surrogates import key_id, phi_key
from clinadapt.privacy.term_files import terms_digest

_READ_BY = ("torch", "transformers", "tokenizers")  # a second opinion
_LIBRARIES = ("names", "symspellpy", "phonenumbers", "python-crfsuite")  # the word lists are in the first two


def detector_version() -> str:
    """The version of the detector: of its code and a digest of the libraries, `0.1.0+1a2b3c4d5e6f.0f1e2d3c`."""
    libraries = sha256_json({name: version(name) for name in _LIBRARIES})
    return f"{code_version('clinadapt.privacy.detector')}.{libraries[7:15]}"


def screening_digest(settings: Phi, opinion: BaseModel | None = None) -> str:
    """Digest of all that decides what screening makes of texts: settings, key, lists, detector, second opinion and what
    replaces; empty where it is off.

    Args:
        settings: of the profile.
        opinion: its second opinion where that is described already, which hashes its weights.

    Raises:
        UserError: a list cannot be read, the second opinion cannot be used, or the key is missing.
    """
    if settings.policy == "off":
        return ""
    files = [terms_digest(uri) for uri in (settings.staff_file, settings.protect_file)]
    key = key_id(phi_key()) if settings.invents else ""
    choices = settings.model_dump(
        exclude={"staff_file", "protect_file", "known_columns", "seconds_per_note", "second_opinion"}
    )
    code = [detector_version(), code_version("clinadapt.privacy.screening")]
    return sha256_json([choices, files, key, *code, *_second_opinion(settings, opinion)])


def _second_opinion(settings: Phi, opinion: BaseModel | None) -> list[str]:
    if not settings.second_opinion:
        return []
    return [(opinion or described(settings)).digest, *(f"{name} {version(name)}" for name in _READ_BY)]
