"""Rule-based knowledge of clinical text: drugs, doses, dates, abbreviations and sections, and a faithfulness check.

The lexicons are YAML files in this folder. All spans are character offsets into the text, end exclusive.
"""
