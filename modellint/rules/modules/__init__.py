"""Rules about how a module is built and what its forward calls."""
