"""Trained things, opened from where they lie: models, tokenizers, texts, judges.

A work directory goes in, and functions on arrays come out; whether it was trained here
or converted makes no difference. Nothing is drawn or judged here, and nothing trained.
In reading order:

    saved          the config beside a model, and whether another one fits it
    checkpoint_tokenizer      the tokenizer that a work directory holds
    tokenizers     by config: a palette, none, or that of a work directory
    vocabularies   the vocabulary of a model, beside it or with its records
    run_records    which records a run has learned from, and whether others are the same
    decoders       what a model draws -> what people see, output by output
    encoders       tokens -> vectors, by a run whose task gives some
    representations    vectors of examples, as records hold them
    model          task, mesh, weights and decoders of a work directory
    export         a model as it is passed on
    hub            a model of a hub, by its name
    texts          texts of raw examples, as records hold them
    feature_judge  networks of others, and what they say of real examples
"""
