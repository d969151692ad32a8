"""What a study found, told to a person."""
