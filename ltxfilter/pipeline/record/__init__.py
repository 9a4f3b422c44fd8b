"""What is looked at while a run goes on, for its report: originals, doubtful pictures, messages."""
