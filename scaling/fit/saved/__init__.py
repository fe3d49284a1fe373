"""A fit as a file."""
