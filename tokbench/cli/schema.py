"""``tokbench schema``: the JSON Schemas of the files tokbench writes."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema (draft 2020-12) of a document, or list the documents there are."""
    import json

    from tokbench.schemas.documents import names, schema_of

    if name is None:
        for each in names():
            click.echo(f"{each:12} {schema_of(each)['title']}")
        return
    click.echo(json.dumps(schema_of(name), indent=2, ensure_ascii=False))
