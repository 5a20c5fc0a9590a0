"""What torch's names mean: tables only. Checked against the installed torch by a test; torch is not imported here."""
