"""What identifies a patient: found in texts, measured, and replaced."""
