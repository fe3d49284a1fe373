"""The C++ of a training step: what there is of it (`parts`), and how it is compiled (`library`)."""
