"""What the candidate remembers of its training, where canaries were trained along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.artifacts.step_record import log
from clinadapt.privacy.audit.canaries import canaries
from clinadapt.privacy.audit.run import audit
from components.evaluate.answer_cache import AnswerCache
from components.evaluate.generation import CachedModel


def audited(model: CachedModel, splits: Path) -> dict[str, Any]:
    """The audit of a candidate as `audit` of evaluation.json: empty where no canary could be trained; nothing where no
    audit is asked for.

    Args:
        model: the candidate.
        splits: output of format, whose manifest tells of canaries.
    """
    manifest = read_json(splits / MANIFEST)
    planned = manifest.get("canaries")
    if planned is None or not planned["rows"]:
        return {} if planned is None else {"audit": {}}
    seed = planned["seed"]
    pretrained = read_json(model.folder / "training.json")["pretraining"] is not None
    log("evaluate", f"audit: what the adapter remembers of {planned['rows']} examples with canaries")
    cache = AnswerCache(model.store, model.folder, model.card, True, ["audit", manifest["digest"], seed, pretrained])
    result = cache.get("audit", lambda: audit(model.generator, canaries(seed), seed, splits, pretrained))
    log("evaluate", f"audit: {result['verdict']}")
    return {"audit": result}
