"""What this machine gives to a pair, measured from outside on a pair made for it (`doctor --bench`)."""
