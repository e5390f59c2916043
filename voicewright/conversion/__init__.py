"""Speech in, another voice's speech out: the protocol, its drivers, and a model's own voice as one."""
