"""Teachers: the language models whose text students learn from."""
