"""Rules about where tensors and models are."""
