"""Students: the model, its training, its evaluation, its checkpoints. Needs jax."""

from scaling.train.arithmetic import fix_arithmetic

# At the door of the room: whatever loads a student, computes with it as everybody does.
fix_arithmetic()
