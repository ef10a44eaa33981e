"""From a config to trained parameters: one loop, for every task.

A task says what its loss is and which parameters learn; this room updates them on any
mesh, stops and goes on. What samples look like it does not know: batches come to the
loop, and sheets go from it, as functions. In reading order:

    optimizer  AdamW, its schedules and its clipping
    step       one update, a pure function; frozen parts stay out of it
    program    task, mesh, state and compiled step of a config
    memory     what a training takes, before it is begun
    inputs     the stream of batches, and the check of its first one
    start      what a run begins with: a checkpoint, other runs' parts, or nothing
    workdir    whose a work directory is
    telling    what a run says at its start
    observe    speed, and traces of some steps
    loop       all of it
"""
