"""File formats of phones: how a student's tensors and tokenizer are laid out in bytes."""
