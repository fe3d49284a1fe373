"""The best coefficients of one law for one set of runs."""
