"""What is promised, shown with real processes that are killed without mercy."""
