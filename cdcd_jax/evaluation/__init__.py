"""A checkpoint -> figures: draws samples, has them judged, writes what was found.

Here alone it is known where samples come from and what they are compared with; the
judges are in `metrics` and get arrays. In reading order:

    hidden    pixels that are hidden from a model which restores them
    sets      which sets of samples are drawn
    sides     all records that they are drawn for, those of data.path and others
    parts     what was drawn of a set, in parts that outlive a kill
    splits    the real examples that judges learn from and compare with
    held_out  figures of tasks that draw nothing new: reconstructions, vectors
    advice    who could judge the samples of a model that names no judge
    bounds    the bound alone, of examples that somebody names
    evaluate  all of it, down to evaluation.json and its page
    table     the figures as they are printed
"""
