"""Students: the model, its training, its evaluation, its checkpoints (the only room besides teach that needs jax)."""
