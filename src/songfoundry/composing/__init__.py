"""Go on with a piece: what was asked for, what the prompt is, rules for writing, and the files that come of it."""
