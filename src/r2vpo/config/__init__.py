"""Recipes, the folders of runs, and how numbers and progress are written."""
