"""Forecasts for any size, what they cost in memory and speed, and which size to choose."""
