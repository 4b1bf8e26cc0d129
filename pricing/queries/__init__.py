"""What can be asked about prices."""
