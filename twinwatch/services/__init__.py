"""Internal workers: what is slow or heavy, kept out of the watchers, and guarded like any other worker."""
