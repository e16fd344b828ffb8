"""What names somebody directly on a model card blocks publishing."""

from typing import Any

import pytest

from clinadapt.config.classify import Windows
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import ClassifyCard
from components.publish.publish_version import refuse_identifiers


def card(*labels: str) -> ClassifyCard:
    return ClassifyCard(
        base_model="builtin://minilm", base_digest="sha256:0", quantization="none", precision="fp32", seed=0,
        labels=list(labels), label_sets=[[0], [1]], windows=Windows(), pooling="mean",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "phi", "message"),
    [
        (
            ("Clinic of Dr. Velnadal", "Surgery"),
            {"policy": "report"},
            r"a label on the model card names somebody \(NAME\)",
        ),
        (
            ("Clinic of Dr. Velnadal", "Surgery"),
            {"policy": "redact", "types": {"NAME": "report"}},
            r"a label on the model card names somebody \(NAME\)",
        ),
        (("Surgery", "Urology"), {"policy": "off", "reason": "ask 708-955-3609"}, r"phi.reason .* \(PHONE\)"),
    ],
)
def test_publishing_is_refused(labels: tuple[str, ...], phi: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        refuse_identifiers(card(*labels), {"phi": phi})
    assert "elnadal" not in str(error.value)


@pytest.mark.parametrize("phi", [{}, {"policy": "off", "reason": "screened by another program"}, {"policy": "redact"}])
def test_specialties_are_published(phi: dict[str, Any]) -> None:
    refuse_identifiers(card("Hospice - Palliative Care", "ENT - Otolaryngology"), {"phi": phi})
