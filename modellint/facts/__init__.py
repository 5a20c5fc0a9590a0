"""What rules may know: plain data, one fact a module. Imports neither libcst nor torch."""
