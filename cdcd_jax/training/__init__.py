"""From a config to trained parameters: one loop, for every task.

In reading order: `optimizer`, `step` (one update, a pure function), `program` (task,
mesh, state and compiled step of a config), `inputs` (the stream of batches), `start`
(what a run begins with), `workdir` (whose it is), `observe` (speed), `loop`.
"""
