"""Pure decisions and values: no clock, no kernel, no randomness; time and chance are arguments."""
