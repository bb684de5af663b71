"""What a reader of a case sees besides its label map."""
