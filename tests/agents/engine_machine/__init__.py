"""A state machine over everything that can happen to runs: `world` outside, `drivers` with their fates, the `record`
that the database keeps of every write, the `promises` of the engine, and the `machine` that plays all of it."""
