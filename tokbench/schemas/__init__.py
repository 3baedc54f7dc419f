"""JSON Schemas of the files tokbench writes, and a checker of documents against them."""
