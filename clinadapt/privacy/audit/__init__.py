"""What an adapter remembers of the notes that it was trained on."""
