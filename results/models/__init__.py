"""Model files: the forms a network is written in for others, and the card beside them."""
