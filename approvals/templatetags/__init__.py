"""What templates of this app may ask for."""
