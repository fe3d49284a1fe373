"""The best value of a hyperparameter, from runs at several values of it."""
