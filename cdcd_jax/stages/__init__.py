"""What must exist before a run, in order: records, tokenizers, other models.

Whoever makes a thing from nothing comes here: a stage is trained or tokenized once, in
a folder of its own, and the run after it finds it by `@<stage>`. How one is trained or
judged is known below. In reading order:

    order        which stages a mode needs, each after those that it names
    run          makes them, then trains one model, with its samples and evaluation
    shard_set    the shards of a split: read, encoded, written
    job          what is made where, and whether it was begun there
    repair       files of finished records that are missing or damaged, made again
    pretokenize  raw source -> tokenizer -> records
"""
