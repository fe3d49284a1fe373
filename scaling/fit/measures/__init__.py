"""Laws of what a loss alone does not say: answers, keystrokes, rounding, bits of a text, what was read before."""
