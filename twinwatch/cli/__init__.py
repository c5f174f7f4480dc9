"""The command line: one file for each group of commands. It asks `control` and prints; it decides nothing."""
