"""What command-line calls do to a pair. Nothing here prints."""
