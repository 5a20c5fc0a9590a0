"""Rules about a loss and the values that reach it."""
