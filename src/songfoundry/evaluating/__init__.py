"""Judge what the verbs make, beside baselines, and write the tables."""
