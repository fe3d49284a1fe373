"""Forecast beside measured, a row a verification: how the project is judged."""
