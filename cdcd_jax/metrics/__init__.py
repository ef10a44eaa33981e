"""Figures that judge samples: do they look, sound and vary as real ones do?

Arrays in, named numbers out, each beside what real or shuffled data get. Where samples
come from, and which of them are judged, is known to `evaluation` alone. In reading
order:

    names        how figures are named after the set that they judge
    estimates    with standard errors over records
    frechet, diversity, manifold    distances, copies and spread of sets
    classifier, pixels, pictures, sounds    judges of class that are trained here
    retrieval    is the nearest vector its own, and are the nearest alike?
    joint, paired, masked, represented    several modalities, drawn from each other
    any_to_any   modalities that share classes, each by a judge of its own
    captions     do two digits stand as their caption says?
    beats, music        rhythm, tempo and genre of music for a dance
    inception_score, clip_score, audio_distance     by networks from elsewhere
    features     all figures by networks from elsewhere
    figures      the sets of figures by name, `eval.figures`
"""
