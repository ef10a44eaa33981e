"""From what is asked to what is drawn: conditions, canvases, windows, samples.

What people have (names, sentences, files, arrays) becomes rows of conditions, and an
edit becomes a canvas of tokens, of which some stand. One batch of samples is drawn by
the task; here it is known how many batches and windows a wish takes, and what of them
is shown. In reading order:

    prompts          what is asked, or rows of records -> rows of conditions, titles
    classes          classes by name or number
    media_files      pictures, sounds and samples in files
    condition_files  motion, pictures and other arrays, from files or memory
    code_files       sounds and pictures as codes of a tokenizer
    rows             what samples are drawn under where nothing is asked
    windows          what is larger than a model, piece by piece
    edit_files       inputs and masks of an edit
    canvases         which tokens stand, which are drawn, and how windows join
    editing          what an edit asks for, checked before a model is read
    time_profile     the loss by time, for grids that are optimised
    generate         a model and what is asked of it -> samples
    samples          what was drawn: arrays to look at, listen to and keep
    asked            the keywords of a Python call in the words that flags have
    called           such a call -> samples, and their files
    progress         sheets that are drawn while a model is trained
"""
