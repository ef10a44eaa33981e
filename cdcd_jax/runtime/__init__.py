"""Devices, processes and checkpoints: what a run stands on, whatever it trains.

Trees of arrays go in and out; what they mean is known above. In reading order:

    sharding     the mesh, and which axes of which arrays lie along it
    hosts        several processes as one program, and one agreed stop
    lock         one writer in a work directory
    lock_files   files that only one can create
    checkpoint   saving, resuming, and parts of other runs
    checkpoint_reading        one of them, whole or damaged
    lean_saving  saving what a converter read, with little memory
    exported     the weights of a model that is passed on, without checkpoints
    leaf_table   names, shapes and checksums, by which damage shows
    targets      leaves as orbax takes them
    memory       what there is, what arrays take, and when it runs out
    storage      what goes wrong on disks and in object stores
    orbax_noise  what orbax need not tell
"""
