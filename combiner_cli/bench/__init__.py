"""Data sets coded by combiner and by other codecs, and what comes of it as tables, curves and a report."""
