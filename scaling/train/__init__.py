"""Students: the model, its training, its evaluation, its checkpoints. Needs jax."""
