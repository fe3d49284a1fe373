"""Forms of law: one formula each, which prints, differentiates and inverts itself; published numbers. NumPy alone."""
