"""What can be asked about what happened."""
