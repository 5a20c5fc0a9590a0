"""Rules about the mode and the gradients of validation, inference and training."""
