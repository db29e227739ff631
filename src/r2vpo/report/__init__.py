"""The report of a run: one self-contained page, and one picture, drawn from the files of its folder."""
