"""What a phone needs to run one student, in one folder: the file, its tokenizer, its manifest and its card."""
