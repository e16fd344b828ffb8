"""Base models, adapters and what runs them: the names a notebook needs, imported on first use.

    >>> from clinadapt.models import Generator, Question
    >>> generator = Generator(Path("adapter"))
    >>> generator.answers([Question("Knee pain after a fall.", "What hurts?")])[0].text

A module that needs no torch, such as `clinadapt.models.lora_targets`, is imported without it.
"""

from importlib import import_module
from typing import Any

# Public name -> module, name in it. Strings, so that a module that needs one of them does not depend on all.
_PUBLIC = {
    "Answer": ("generator", "Answer"),
    "Classifier": ("classifier", "Classifier"),
    "ClassifyCard": ("adapter_card", "ClassifyCard"),
    "Generator": ("generator", "Generator"),
    "InstructCard": ("adapter_card", "InstructCard"),
    "Question": ("chat_template", "Question"),
    "adapted_layers": ("lora_targets", "adapted_layers"),
    "describe_base_model": ("base_model", "describe"),
    "load_causal_lm": ("causal_lm", "load_causal_lm"),
    "load_sequence_classifier": ("classifier", "load_sequence_classifier"),
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
