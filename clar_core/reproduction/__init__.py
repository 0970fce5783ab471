"""The tables of the CLAR paper: its figures, what of them can run here, and the page that sets both side by side."""
