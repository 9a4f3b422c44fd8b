"""Which source frames anchor which output instants."""
