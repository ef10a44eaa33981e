"""Figures that judge samples and likelihoods."""
