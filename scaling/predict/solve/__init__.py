"""Forecasts turned round: which size, data, steps or vocabulary a loss or a budget asks for."""
