"""The only code that meets the kernel: processes, locks, files, the gate. It decides nothing."""
