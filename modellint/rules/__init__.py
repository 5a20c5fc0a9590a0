"""The rules: one a file, named after it, in a folder a topic. `catalog` finds them by walking this package."""
