"""What a run tells and leaves behind: files, numbers, pictures, sounds, a page.

Arrays and names come in; what is worth telling is decided above. Whatever needs more
than numpy is imported where it is used. In reading order:

    files        files that appear whole or not at all, and strict JSON
    pictures     png files, and grids of pictures
    sound        wav files and spectrograms
    skeleton, video     dancers, drawn and filmed with their music
    sheets       many samples on one sheet, of one medium or several
    notebook     whether somebody looks on from a notebook
    terminal     tables, and the line that says how far a run is
    events       what TensorBoard shows
    metrics_log  metrics.jsonl, events and that line
    samples      a folder of what a model drew
    model_card   what goes with a model that is passed on
    curves, page        one HTML page of figures, curves, pictures and sounds
"""
