"""From hypotheses to numbers that may be believed: counts, intervals, laws, tables, figures."""
