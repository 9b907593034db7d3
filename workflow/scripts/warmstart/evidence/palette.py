"""Colours of figures. The page has others for them in the dark. Standard library only.

Those of series are Okabe and Ito's, which colour-blind readers tell apart
(https://jfly.uni-koeln.de/color/).
"""

COLOURS = [
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
    "#000000",
    "#8C564B",
]
"""Of series, in order; a style beyond them begins anew."""
INK, GRID, EDGE, PAPER = "#1F2933", "#D9DEE4", "#8A94A0", "#FFFFFF"
"""Text and zero lines; the grid; axes; the ground."""
NOTHING = "nothing-to-draw"
"""Id of the note inside a figure for which there is no evidence."""
