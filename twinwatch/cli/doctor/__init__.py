"""What this machine gives to a pair, and what is lost without it. No pair's files are opened."""
