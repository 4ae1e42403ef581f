"""One answer to many questions: what can be decided together, how it is chosen, and the job that does it."""
