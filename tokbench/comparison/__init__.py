"""Two runs side by side: are they alike, how far apart are they, and is that more than chance."""
