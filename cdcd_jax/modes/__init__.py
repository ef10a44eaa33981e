"""What a command does: flags in, one call of the handle, a line about it out.

A mode reads what was typed and calls what `api` offers to Python as well; it asks a
task's description, never which task it is. What no model is needed for, records and
plans, has its mode here alone. In reading order:

    help          what --help and --list answer
    flags         the command line as a config and a handful of options
    table         what each --mode does with them
    generate      samples as files, and what they took
    inspect_data  records in words, and a page of examples
    plan          what a config takes on TPUs that are not there
"""
