"""Callbacks for frameworks that own the training loop. Each imports its framework only when it is imported itself."""
