"""Workers of a job: what one does, where they run, and what each may use."""
