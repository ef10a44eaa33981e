"""Programs as figures: what a step computes, moves and sends, without running it.

Reads jaxprs and the text of compiled modules; which program is planned, and for which
machines, is decided in `modes`. In reading order:

    chips            data-sheet figures of accelerators
    topology         TPUs that are not there, as devices to compile for
    flops            of a traced program: matrix products and convolutions
    hlo_text         the text of a compiled module as data
    hlo_flops        FLOPs of its instructions
    hlo_collectives  what they send to other devices
    hlo_memory       what they read and write
    hlo              all of that, as often as loops run
    plan_report      the figures of a plan as text
"""
