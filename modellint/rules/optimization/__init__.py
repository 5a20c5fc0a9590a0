"""Rules about the order of events in a training loop."""
