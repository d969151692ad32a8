"""Pictures of a study: what they show, and how they are drawn."""
