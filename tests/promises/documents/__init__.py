"""What the documents show is true: their commands are run, their links lead somewhere."""
