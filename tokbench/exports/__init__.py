"""Results in other people's formats: CSV, Parquet, LaTeX, Markdown, model-card metadata."""
