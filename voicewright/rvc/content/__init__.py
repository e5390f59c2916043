"""What RVC voices hear with."""
