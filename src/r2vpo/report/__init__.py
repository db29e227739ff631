"""The report of a run: a self-contained page and a picture, drawn from the files of its folder."""
