"""The columns of a Parquet table that say whose note a row is and when it was written."""

from __future__ import annotations

import pyarrow as pa

# Null where the source does not say, so that the note is read for it; made by clinadapt.data.patient_groups
PATIENT_GROUP = [
    ("sex", pa.string()),  # `female`, `male` or `other`
    ("age_band", pa.string()),  # such as `40 to 64 years`; the age itself is not kept
]
# Null where the source does not say; made by clinadapt.data.patients
ORIGIN = [
    ("patient", pa.string()),  # keyed hash, 16 hex digits; without CLINADAPT_PATIENT_KEY a number within the dataset
    ("encounter", pa.string()),  # the same of an admission or a visit
    ("date", pa.timestamp("ms")),  # UTC where the zone is known
    *PATIENT_GROUP,
]
