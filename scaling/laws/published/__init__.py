"""Published laws and rules with their numbers; `scaling.laws.presets` finds them by name."""
