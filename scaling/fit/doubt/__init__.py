"""How sure a fit is: of its coefficients, and of its forecasts."""
