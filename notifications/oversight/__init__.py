"""What people look at: whether everybody is told, in sentences and in numbers."""
