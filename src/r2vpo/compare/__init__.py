"""Comparisons: a matrix of methods, settings and seeds, run restartably and reported with intervals."""
