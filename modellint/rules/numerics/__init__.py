"""Rules about numbers that a run shows to be wrong."""
