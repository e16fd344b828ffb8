"""Claims: what an answer states about a patient, each held against the note.

`check(answer, note)` reads drugs with dose, route, frequency and status, measurements with their values, findings with
side, negation, certainty and whose they are, dates, ages, sex, durations and other quantities, and says of each claim
whether the note supports it, contradicts it or does not contain it, with the words of the note that show it.

The rules are those of NegEx and ConText (Chapman et al. 2001, doi:10.1006/jbin.2001.1029; Harkema et al. 2009,
doi:10.1016/j.jbi.2009.05.002) on lexicons of this package: offline, deterministic, without a model. medspaCy has the
same rules on spaCy's pipeline, which reads some ten notes a second; this reads hundreds.
"""

from clinadapt.clinical.claims.checked import CheckedClaim
from clinadapt.clinical.claims.checking import check, missing_claims, stated_claims, unsupported
from clinadapt.clinical.claims.kinds import KINDS

__all__ = ["KINDS", "CheckedClaim", "check", "missing_claims", "stated_claims", "unsupported"]
