"""What can be done with prices; every change to one goes through here."""
