"""`pentimento evaluate`: measure a model or a run on data."""

import json
from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  pentimento evaluate runs/p1 --data world
  pentimento evaluate runs/p1/best --data world --limit 500 --json scores.json"""
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", "spec", required=True, help="Data specification; its `val` split is used.")
@click.option("--limit", type=click.IntRange(1), help="At most so many samples.  [default: all]")
@click.option("--batch-size", type=click.IntRange(1), help="[default: the system's]")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write them here.")
def command(
    model: Path,
    spec: str,
    limit: int | None,
    batch_size: int | None,
    workers: int,
    json_path: Path | None,
) -> None:
    """Print the validation metrics of MODEL, a run folder or a model folder."""
    import torch

    from pentimento import catalog, models
    from pentimento.engine.data import Validation, describe_bad
    from pentimento.engine.run import evaluate
    from pentimento.engine.settings import Settings

    system = models.load(model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    system.networks.to(device)
    data = catalog.row(catalog.name_of(type(system))).module().open_data(spec, "val", system.config)
    settings = Settings(
        steps=1,
        batch_size=batch_size or system.batch_size,
        workers=workers,
    )
    validation = Validation(system, data, settings, limit=limit or len(data))
    metrics = evaluate(system, validation, device)
    if validation.bad:
        click.echo(f"unreadable: {describe_bad(validation.bad)}", err=True)
    for name, value in metrics.items():
        click.echo(f"{name:24} {value:.6g}")
    if json_path is not None:
        json_path.write_text(json.dumps(metrics, indent=2) + "\n")
