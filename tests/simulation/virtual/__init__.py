"""A kernel in memory: processes are greenlets that run the project's own code, time is a number."""
