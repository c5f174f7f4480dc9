"""What can be done to a pair: one module for each kind of fault."""
