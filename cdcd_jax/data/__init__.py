"""From raw files to records, and from records to batches.

A raw source gives pictures, sounds or videos with their conditions, one by one; records
hold the tokens that a tokenizer made of them; the pipeline shuffles either into
batches. No model is known here: tokenizers and text towers are opened where records are
made (`stages`). In reading order:

    sources           the table of raw sources, what each one offers, unreadable files
    names             of files and classes: forms, other names of one file, in print
    walk              the files below a folder, each once; what is passed over
    folders, class_folders          what sources that read folders share: checks, splits
                      drawn by seed; which folders are splits and which are classes
    marks             what a file is that is none of the known formats
    images, levels    pictures of one size; levels of more than 8 bits
    audio, sound_heads        sounds of one rate and length; what is read of a file
    sound_chunks, sound_frames      of wav and its kin; of mp3 and ogg
    image_folder, audio_folder      files in class folders
    audio_clips       what names and places of sound files say
    captions, caption_lists         pictures or sounds with sentences; formats of these
    tfds_source       pictures of TensorFlow Datasets
    segments, aist, tiktok, smpl, pickles   dances with their music
    aist_names, aist_release        what AIST++'s names say, and its official release
    digits, captioned_digits        real handwritten digits, alone and in pairs
    toy_dance, toy_motion, toy_music    synthetic dances
    digit_media, tones, moving_digits   captions of digits with pictures, with
                      melodies, or with videos
    bpe, vocabulary   texts as tokens: of CLIP, and of one's own words
    card              what records say of themselves
    identity          which records these are, by content
    shards            writing records
    negatives_table, negatives_file     who is a negative of whom: drawn, or named
    records           reading them
    raw_examples      pictures and sounds as a tokenizer takes them
    pipeline          checks against the config, batches, single passes
    fields            a batch against what a task says of it
    synthetic         random batches
"""
