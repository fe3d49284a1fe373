"""Laws of loss, and fitting them to runs with honest doubt."""
