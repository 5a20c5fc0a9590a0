"""Rules about what training and evaluation are fed with, and what is kept of it."""
