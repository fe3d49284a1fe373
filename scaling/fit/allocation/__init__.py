"""How a budget is best split between model size and data: from a law, from budgets, from the envelope of the runs."""
