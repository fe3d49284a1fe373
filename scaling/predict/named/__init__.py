"""Models and teachers that people know by name: sizes, data and where the figures come from."""
