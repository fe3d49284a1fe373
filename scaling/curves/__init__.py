"""One-dimensional learning curves: form, fit, forecast."""
