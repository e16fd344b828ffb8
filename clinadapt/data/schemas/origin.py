"""The columns of a Parquet table that say whose note a row is and when it was written."""

from __future__ import annotations

import pyarrow as pa

# Null where the source does not say; made by clinadapt.data.patients
ORIGIN = [
    ("patient", pa.string()),  # keyed hash, 16 hex digits; without CLINADAPT_PATIENT_KEY a number within the dataset
    ("encounter", pa.string()),  # the same of an admission or a visit
    ("date", pa.timestamp("ms")),  # UTC where the zone is known
]
