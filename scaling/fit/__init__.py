"""From a runs table to a law, with honest doubt."""
