"""Recognisers that metrics ask what a word says and whose face this is: a file an engine, each a light import."""
